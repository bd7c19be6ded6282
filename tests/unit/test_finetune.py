"""Fine-tuning: every weight arrives, categories by name, and what does not fit is refused."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from packshot.core.errors import PackshotError, UsageError
from packshot.models.conditions import Conditions
from packshot.models.spec import PictureSpec
from packshot.models.table import MODELS
from packshot.sampling.generator import load_generator
from packshot.training.finetune import Origin, begin_with, category_axes, check_origin, freeze_first_layers, open_origin
from packshot.training.presets import resolve_config
from packshot.training.run import STEPS

from ..integration.conftest import LICENCE, TINY, run_cli, run_json, write_idx

OLD, NEW = ("Bag", "Ankle boot", "Trouser"), ("Hat", "Trouser", "Bag", "Scarf")
QUIET = ["--set", "loop.metrics_every_kimg=0", "--set", "loop.samples_every_kimg=0"]
GAN = ["--model", "dcgan", "--set", "net.g_width=8", "--set", "net.d_width=8", "--set", "loop.batch_size=16", *QUIET]


def origin_of(model: str, networks: dict[str, torch.nn.Module], spec: PictureSpec, **changes: object) -> Origin:
    entry = MODELS[model]
    states = {role: n.state_dict() for role, n in networks.items()}
    origin = Origin(Path("old"), model, dataclasses.asdict(entry.config()), spec, OLD, Conditions(), states, False)
    return dataclasses.replace(origin, **changes)


@pytest.mark.parametrize("name", ["dcgan", "gan-reference", "stylegan2", "projected", "vae"])
def test_categories_are_copied_by_name_and_others_start_from_the_mean(name: str) -> None:
    entry = MODELS[name]
    old_spec = PictureSpec(size=entry.sizes[0], channels=1, categories=len(OLD))
    spec = dataclasses.replace(old_spec, categories=len(NEW))
    torch.manual_seed(0)
    config = entry.config()
    old = {role: build(config, old_spec).eval() for role, build in entry.networks.items()}
    for network in old.values():
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, 0.0, 0.1)
    new = {role: build(config, spec).eval() for role, build in entry.networks.items()}
    known = begin_with(origin_of(name, old, old_spec), new, entry, config, spec, NEW)
    assert known == ["Trouser", "Bag"]
    sampler, fresh = old[entry.sampler], new[entry.sampler]
    z = torch.randn(2, sampler.z_dim)
    make = [getattr(n, "decode", n) for n in (sampler, fresh)]
    x = make[0](z, torch.tensor([OLD.index("Trouser"), OLD.index("Bag")]))
    torch.testing.assert_close(make[1](z, torch.tensor([NEW.index("Trouser"), NEW.index("Bag")])), x)
    hat, scarf = (make[1](z, torch.full((2,), NEW.index(c))) for c in ("Hat", "Scarf"))
    torch.testing.assert_close(hat, scarf)
    if "discriminator" in old:
        logits = old["discriminator"](x, torch.tensor([2, 0]))
        torch.testing.assert_close(new["discriminator"](x, torch.tensor([1, 2])), logits)


@pytest.mark.parametrize("learns", [Conditions({"fit": ("slim", "wide"), "colour": ("blue", "red")}), None])
def test_attributes_are_copied_by_name_and_new_ones_have_no_effect(learns: Conditions | None) -> None:
    entry, knew = MODELS["latent"], Conditions({"colour": ("red", "yellow")})
    spec = PictureSpec(size=32, channels=1, categories=len(OLD), conditions=learns.groups if learns else ())
    old_spec, config = dataclasses.replace(spec, conditions=knew.groups), entry.config(width=8, z_dim=8)
    torch.manual_seed(0)
    old, new = (entry.networks["latent"](config, s) for s in (old_spec, spec))
    origin = origin_of("latent", {"latent": old}, old_spec, conditions=knew, net=dataclasses.asdict(config))
    check_origin(origin, "latent", config, spec)
    begin_with(origin, {"latent": new}, entry, config, spec, OLD, learns)
    x, t, label = torch.randn(2, 8), torch.full((2,), 0.4), torch.tensor([0, 2])
    torch.testing.assert_close(new.flow(x, t, label), old.flow(x, t, label))
    if learns is None:
        assert new.flow.asked is None
        return
    red, fit = torch.eye(4)[[3, 3]], torch.eye(4)[[0, 1]]
    torch.testing.assert_close(new.flow(x, t, label, red), old.flow(x, t, label, torch.eye(2)[[0, 0]]))
    torch.testing.assert_close(new.flow(x, t, label, fit), old.flow(x, t, label))


def test_category_axes_are_seen_from_the_network() -> None:
    spec = PictureSpec(size=32, channels=1, categories=3)
    entry = MODELS["stylegan2"]
    assert category_axes(entry.networks["generator"], entry.config(), spec) == {"embed.weight": 0, "w_mean": 0}
    entry = MODELS["gan-reference"]
    axes = category_axes(entry.networks["generator"], entry.config(), dataclasses.replace(spec, size=28))
    assert set(axes.values()) == {1}  # One-hot inputs: columns of the first layer.


def test_a_model_file_gives_the_sampler_and_its_average_only() -> None:
    entry, spec = MODELS["dcgan"], PictureSpec(size=32, channels=1, categories=len(OLD))
    config = entry.config()
    torch.manual_seed(0)
    old = {role: build(config, spec) for role, build in entry.networks.items()}
    new = {role: build(config, spec) for role, build in entry.networks.items()}
    new["ema"] = entry.networks["generator"](config, spec)
    before = {k: v.clone() for k, v in new["discriminator"].state_dict().items()}
    origin = origin_of("dcgan", {"sampler": old["generator"]}, spec, sampler_only=True)
    begin_with(origin, new, entry, config, spec, OLD)
    for role in ("generator", "ema"):
        assert all(torch.equal(v, old["generator"].state_dict()[k]) for k, v in new[role].state_dict().items())
    assert all(torch.equal(v, before[k]) for k, v in new["discriminator"].state_dict().items())


def test_another_architecture_is_refused_with_what_to_set() -> None:
    entry, spec = MODELS["dcgan"], PictureSpec(size=32, channels=1, categories=3)
    origin = origin_of("dcgan", {}, spec)
    check_origin(origin, "dcgan", entry.config(), spec)
    with pytest.raises(UsageError, match="--model dcgan"):
        check_origin(origin, "vae", MODELS["vae"].config(), spec)
    with pytest.raises(UsageError, match=r"net\.g_width=32"):
        check_origin(origin, "dcgan", entry.config(g_width=8), spec)
    with pytest.raises(UsageError, match=r"32 px grey pictures, this run 32 px RGB; add --set data\.channels=1"):
        check_origin(origin, "dcgan", entry.config(), dataclasses.replace(spec, channels=3))


def test_settings_that_no_weight_depends_on_may_differ() -> None:
    entry, spec = MODELS["latent"], PictureSpec(size=32, channels=1, categories=3)
    origin = origin_of("latent", {}, spec)
    free = entry.config(guidance=2.0, truncation_psi=0.9, flow_steps=3)
    check_origin(origin, "latent", free, dataclasses.replace(spec, categories=5))
    with pytest.raises(UsageError) as refused:
        check_origin(origin, "latent", dataclasses.replace(free, flow_width=16, flow_blocks=2), spec)
    assert str(refused.value).endswith("add --set net.flow_width=384 --set net.flow_blocks=5.")
    check_origin(origin, "latent", entry.config(), dataclasses.replace(spec, conditions=(4,)))


def test_a_new_run_keeps_its_own_guidance(catalogs: tuple[Path, Path], tmp_path: Path) -> None:
    sizes = ("net.z_dim=8", "net.width=8", "net.flow_width=8", "net.flow_blocks=1", "loop.batch_size=16")
    small = [word for s in sizes for word in ("--set", s)]
    first, second = tmp_path / "first", tmp_path / "second"
    budget = ["--budget", "0.02kimg", *QUIET]
    run_json("train", catalogs[0], "--out", first, "--model", "latent", *small, *budget)
    free = ["--set", "net.guidance=2.5", "--set", "net.flow_steps=3", "--set", "loop.batch_size=16"]
    run_json("train", catalogs[1], "--out", second, "--from", first, *free, *budget)
    net = json.loads((second / "run.json").read_text())["config"]["net"]
    assert (net["guidance"], net["flow_steps"], net["width"]) == (2.5, 3, 8)
    assert load_generator(second / "model.safetensors").network.flow.guidance == 2.5


@pytest.mark.parametrize("name", [n for n, entry in MODELS.items() if "discriminator" in entry.networks])
def test_freeze_d_freezes_the_layers_next_to_the_picture(name: str) -> None:
    entry = MODELS[name]
    spec = PictureSpec(size=entry.sizes[0], channels=1, categories=3)
    torch.manual_seed(0)
    d = entry.networks["discriminator"](entry.config(), spec)
    names = [n for n, _ in d.named_parameters()]
    frozen = freeze_first_layers(d, 2)
    assert frozen == names[: len(frozen)]
    assert [n for n, p in d.named_parameters() if not p.requires_grad] == frozen
    assert len({n.partition(".parametrizations")[0].removesuffix(".weight") for n in frozen if "weight" in n}) >= 2
    with pytest.raises(UsageError, match="only"):
        freeze_first_layers(d, len(names))


def test_a_frozen_layer_is_not_trained_and_the_rest_is() -> None:
    settings = ["objective.freeze_d=2", "net.g_width=8", "net.d_width=8"]
    config = resolve_config(model="dcgan", settings=settings)
    entry, spec = MODELS["dcgan"], PictureSpec(size=32, channels=1, categories=3)
    torch.manual_seed(0)
    networks = {role: build(config.net, spec) for role, build in entry.networks.items()}
    step = STEPS["gan"](networks, config.objective)
    d = networks["discriminator"]
    trained = {p for group in step.optimizers["discriminator"].param_groups for p in group["params"]}
    left_out = [n for n, p in d.named_parameters() if p not in trained]
    assert left_out
    assert set(left_out) == {n for n, p in d.named_parameters() if not p.requires_grad}
    assert all(n.startswith("layers.") for n in left_out)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two small catalogues of drawings that share two of three categories, in another order."""
    made = []
    for i, names in enumerate((OLD, ("Trouser", "Bag", "Hat"))):
        source = tmp_path_factory.mktemp("source")
        write_idx(source, "train", 48, seed=i)
        write_idx(source, "t10k", 12, seed=i + 7)
        made.append(source.with_name(f"catalog-{i}"))
        run_cli("ingest", source, "--out", made[-1], *LICENCE, *(w for n in names for w in ("--category", n)))
    return made[0], made[1]


def test_from_the_command_line(catalogs: tuple[Path, Path], tmp_path: Path) -> None:
    first, second, third = tmp_path / "first", tmp_path / "second", tmp_path / "third"
    run_json("train", catalogs[0], "--out", first, *GAN, "--budget", "0.1kimg")
    # Without --model and --set the network is that of the origin.
    words = ["--set", "loop.batch_size=16", "--set", "objective.freeze_d=1", "--budget", "0.05kimg", *QUIET]
    run_json("train", catalogs[1], "--out", second, "--from", first, *words)
    about, card = (json.loads((second / name).read_text()) for name in ("run.json", "card.json"))
    assert about["config"]["net"]["g_width"] == 8
    assert about["origin"] == card["origin"]
    assert about["origin"]["known_categories"] == ["Trouser", "Bag"]
    assert len(about["origin"]["sha256"]) == 64
    # A frozen layer is still the first run's.
    origin, now = open_origin(first), open_origin(second)
    weights = [o.networks["discriminator"]["layers.0.weight"] for o in (origin, now)]
    assert torch.equal(*weights)
    others = [o.networks["discriminator"]["layers.2.weight"] for o in (origin, now)]
    assert not torch.equal(*others)
    # From the model file alone; a resumed run keeps its frozen layers, too.
    model = ["--from", first / "model.safetensors"]
    _, err = run_cli("train", catalogs[1], "--out", third, *model, *words, code=2)
    assert "freeze_d" in err
    run_json("train", catalogs[1], "--out", third, *model, *words, "--set", "objective.freeze_d=0")
    assert json.loads((third / "run.json").read_text())["origin"]["networks"] != about["origin"]["networks"]
    run_json("train", "--resume", second, "--budget", "0.1kimg")
    assert torch.equal(weights[0], open_origin(second).networks["discriminator"]["layers.0.weight"])


def test_what_cannot_be_a_beginning_is_refused(catalogs: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_json("train", catalogs[0], "--out", run, *GAN, "--budget", "0.05kimg")
    out = tmp_path / "out"
    _, err = run_cli("train", catalogs[1], "--out", out, "--from", run, "--model", "vae", *TINY, code=2)
    assert "--model dcgan" in err
    _, err = run_cli("train", catalogs[1], "--out", out, "--model", "dcgan", "--set", "objective.freeze_d=1", code=2)
    assert "--from" in err
    _, err = run_cli("train", catalogs[1], "--out", out, "--from", tmp_path / "none", code=1)
    assert "none" in err
    batch = ["--set", "loop.batch_size=16"]
    checkpoint = max((run / "checkpoints").iterdir())
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    _, err = run_cli("train", catalogs[1], "--out", out, "--from", run, *batch, code=1)
    assert "damaged" in err
    assert not out.exists()
    model = run / "model.safetensors"
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(PackshotError, match="damaged"):
        open_origin(model)
