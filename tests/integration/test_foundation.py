"""`packshot create` with a pipeline of diffusers: a tiny one with random weights, built here; and what is refused.

What needs the extra `foundation` is skipped where it is not installed; cards and licences are read without it.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from packshot.core.errors import UsageError
from packshot.images import xmp
from packshot.images.decode import decode
from packshot.models.foundation import UNKNOWN, load_foundation, read_card
from tests.integration.conftest import run_cli, run_json

README = "---\nlanguage: en\nlicense: creativeml-openrail-m\ntags:\n- tiny\n---\n# A tiny model\n"
TEXT = "a red dress on white"
FAST = ["--steps", "4", "--text", TEXT]
RULES = (
    "licence creativeml-openrail-m: commercial use is allowed under its rules on use, which also bind you; read them"
)
PHOTO, WAYS = (40, 56), ("text", "like", "mask")


def save_tiny_pipeline(folder: Path) -> None:
    """Writes a Stable Diffusion pipeline of 0.1 million random weights that makes 32 x 32 pixels."""
    torch = pytest.importorskip("torch")
    reason = "diffusers is not installed; install it with: pip install 'packshot[foundation]'"
    diffusers = pytest.importorskip("diffusers", reason=reason)
    transformers = pytest.importorskip("transformers", reason=reason)
    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    torch.manual_seed(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{c}</w>" for c in letters), "re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    tokenizer = transformers.CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)}, merges=[("r", "e"), ("re", "d</w>")], model_max_length=24
    )
    text = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        max_position_embeddings=24,
        bos_token_id=len(words) - 2,
        eos_token_id=len(words) - 1,
        pad_token_id=len(words) - 1,
    )
    diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
        ),
        text_encoder=transformers.CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=diffusers.UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(8, 16),
            layers_per_block=1,
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        scheduler=diffusers.DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    (folder / "README.md").write_text(README)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "tiny"
    save_tiny_pipeline(folder)
    return folder


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "Dress.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*PHOTO, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def mask(photo: Path) -> Path:
    path = photo.with_name("mask.png")
    white = np.zeros(PHOTO, np.uint8)
    white[10:30, 20:40] = 255
    Image.fromarray(white).save(path)
    return path


@pytest.fixture(scope="module")
def made(pipeline: Path, photo: Path, mask: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """The results of the three ways, two pictures each."""
    out = tmp_path_factory.mktemp("made")
    like = ["--like", photo, "--variation", "0.5"]
    more: dict[str, list] = {"text": [], "like": like, "mask": ["--like", photo, "--mask", mask]}
    return {way: run_json("create", pipeline, *FAST, "--n", 2, "--out", out, *more[way]) for way in WAYS}


def pixels(path: str | Path) -> np.ndarray:
    return decode(Path(path)).pixels


def index_only(folder: Path, **values: Any) -> Path:
    """A folder that says it is a pipeline, and holds nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **values}))
    return folder


def test_text_to_image_is_a_function_of_seed_and_number(pipeline: Path, made: dict, tmp_path: Path) -> None:
    first = [pixels(path) for path in made["text"]["pictures"]]
    assert first[0].shape == (32, 32, 3)
    assert not np.array_equal(first[0], first[1])
    one = run_json("create", pipeline, *FAST, "--n", 1, "--out", tmp_path / "one")
    assert np.array_equal(pixels(one["pictures"][0]), first[0])
    other = run_json("create", pipeline, *FAST, "--n", 1, "--seed", 1, "--out", tmp_path / "one")
    assert not np.array_equal(pixels(other["pictures"][0]), first[0])
    words = [*FAST[:2], "--text", "blue boot", "--guidance", "3", "--negative", "people", "--size", "48"]
    large = run_json("create", pipeline, *words, "--n", 1, "--out", tmp_path)
    assert pixels(large["pictures"][0]).shape == (48, 48, 3)


def test_with_more_variation_less_of_the_photo_is_left(pipeline: Path, photo: Path, tmp_path: Path) -> None:
    negative = tmp_path / "negative.png"
    Image.fromarray(255 - pixels(photo)).save(negative)
    apart = {}
    for variation in ("0.25", "1"):
        two = []
        for start in (photo, negative):
            words = ["--like", start, "--variation", variation, "--out", tmp_path / variation]
            two.append(pixels(run_json("create", pipeline, *FAST, "--n", 1, *words)["pictures"][0]).astype(float))
        apart[variation] = np.abs(two[0] - two[1]).mean()
        assert two[0].shape == (22, 32, 3)  # The longer side is the pipeline's own size.
    assert apart["0.25"] > 2 * apart["1"] > 0


def test_outside_of_the_mask_the_photo_is_untouched(photo: Path, mask: Path, made: dict) -> None:
    before, inside = pixels(photo), pixels(mask)[..., 0] > 127
    for path in made["mask"]["pictures"]:
        after = pixels(path)
        assert after.shape == before.shape
        assert np.array_equal(after[~inside], before[~inside])
        assert (after[inside] != before[inside]).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("way", WAYS)
def test_pictures_say_what_they_are_and_under_which_licence(pipeline: Path, made: dict, way: str) -> None:
    term = "trainedAlgorithmicMedia" if way == "text" else "compositeWithTrainedAlgorithmicMedia"
    result = made[way]
    assert (result["source_type"], result["licence"], result["model"]) == (term, "creativeml-openrail-m", "tiny")
    assert result["notes"] == [f"tiny: {RULES}."]
    for path in [*result["pictures"], result["sheet"]]:
        packet = xmp.Packet.parse(decode(Path(path)).metadata.xmp or b"")
        assert xmp.term_of(packet.get(xmp.SOURCE_TYPE)) == term
        assert packet.get(xmp.USAGE_TERMS) == f"Made with tiny; {RULES}."
        assert packet.get(xmp.AI_SYSTEM) == "tiny"
        assert packet.get(xmp.AI_VERSION) == read_card(pipeline, "tiny").version
        assert packet.get(xmp.AI_PROMPT) == TEXT


def test_a_person_sees_the_licence_and_that_the_text_was_cut(pipeline: Path, tmp_path: Path) -> None:
    words = ["--steps", "1", "--text", "a dress with very many words about it", "--n", "1", "--out", tmp_path]
    printed, _ = run_cli("create", pipeline, *words)
    assert f"tiny: {RULES}." in printed
    assert "its end was left out" in printed


def test_a_blacked_out_picture_is_said(pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers

    def black(self: Any, image: np.ndarray, device: Any, dtype: Any) -> tuple[np.ndarray, list[bool]]:
        return image * 0, [True]

    monkeypatch.setattr(diffusers.StableDiffusionPipeline, "run_safety_checker", black)
    result = run_json("create", pipeline, *FAST, "--n", 1, "--out", tmp_path)
    assert result["notes"][-1] == "The pipeline's own safety checker blacked out 1 of 1 pictures."


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--steps", "2"], "say them by --text"),
        (["--text", " "], "say them by --text"),
        ([*FAST, "--mask", "m.png"], "--mask needs a photo to begin with"),
        ([*FAST, "--variation", "0.5"], "--variation needs a photo to begin with"),
        ([*FAST, "--label", "dress"], "--label does not go with a pipeline"),
        ([*FAST, "--interpolate"], "--interpolate does not go with a pipeline"),
        ([*FAST, "--styles"], "--styles does not go with a pipeline"),
        ([*FAST, "--like", "p.png", "--variation", "0.1"], "leaves none to take; ask for 0.25 or more"),
        ([*FAST, "--like", "p.png", "--variation", "2"], "it can be from 0 to 1"),
        (["--text", TEXT, "--steps", "0"], "--steps is 0"),
        ([*FAST, "--n", "0"], "ask for at least 1 picture"),
        ([*FAST, "--guidance", "nan"], "--guidance is nan"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path: Path, words: list[str], reason: str) -> None:
    folder = index_only(tmp_path / "tiny")
    result = run_json("create", folder, "--out", tmp_path / "out", *words, code=2)
    assert reason in result["error"]
    assert not (tmp_path / "out").exists()


def test_masks_that_do_not_fit_are_refused(photo: Path, tmp_path: Path) -> None:
    folder = index_only(tmp_path / "tiny")
    for size, reason in (((9, 8), "The mask has 8 x 9 pixels and the photo 56 x 40"), (PHOTO, "dark everywhere")):
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / "m.png")
        words = ["--like", photo, "--mask", tmp_path / "m.png", "--out", tmp_path / "out"]
        assert reason in run_json("create", folder, *FAST, *words, code=2)["error"]


def test_a_run_takes_no_option_of_a_pipeline(tmp_path: Path) -> None:
    result = run_json("create", "products-64", "--steps", "5", "--out", tmp_path, code=2)
    assert "products-64 is no pipeline of diffusers" in result["error"]
    result = run_json("create", tmp_path, "--text", TEXT, "--out", tmp_path, code=2)
    assert "neither a run folder (it has no run.json) nor a pipeline" in result["error"]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    result = run_json("create", index_only(tmp_path / "tiny"), *FAST, "--out", tmp_path / "out", code=1)
    assert "pip install 'packshot[foundation]'" in result["error"]


def test_no_cuda_is_said_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="There is no CUDA device here"):
        load_foundation(index_only(tmp_path / "tiny"), "text", "cuda")


@pytest.mark.usefixtures("pipeline")
class TestFolders:
    """What is refused about a folder, with diffusers there."""

    def refused(self, folder: Path, *more: str | Path, code: int = 1) -> str:
        return str(run_json("create", folder, *FAST, "--out", folder.parent / "out", *more, code=code)["error"])

    def test_pickles(self, pipeline: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(pipeline, tmp_path / "tiny")
        (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(
            folder / "unet" / "diffusion_pytorch_model.bin"
        )
        assert "keeps its weights in unet/diffusion_pytorch_model.bin, a pickle" in self.refused(folder)

    def test_own_code_is_not_run(self, pipeline: Path, tmp_path: Path) -> None:
        for part in ("unet", "."):
            folder = shutil.copytree(pipeline, tmp_path / part / "tiny")
            code = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
            index = json.loads((folder / "model_index.json").read_text())
            if part == "unet":
                index["unet"] = ["mine", "Net"]
            else:
                index["_class_name"] = ["mine", "Pipeline"]
            (folder / part / "mine.py").write_text(code)
            (folder / "model_index.json").write_text(json.dumps(index))
            assert "code of its own, which Packshot never runs" in self.refused(folder)
            assert not (tmp_path / "ran").exists()

    def test_what_is_no_pipeline(self, tmp_path: Path) -> None:
        for name, text in (("a", "[1]"), ("b", "{}"), ("c", "{")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "model_index.json").write_text(text)
            assert "names no class" in (said := self.refused(tmp_path / name)) or "not valid JSON" in said
        assert "cannot be loaded" in self.refused(index_only(tmp_path / "empty"))

    def test_a_kind_that_cannot_do_it(self, photo: Path, mask: Path, tmp_path: Path) -> None:
        sana = index_only(tmp_path / "sana", _class_name="SanaPipeline")
        said = self.refused(sana, "--like", photo, "--mask", mask, code=2)
        assert said == "The pipeline of sana cannot repaint a part of a photo; choose another one."
        ddpm = index_only(tmp_path / "ddpm", _class_name="DDPMPipeline")
        assert "cannot make pictures from a text alone" in self.refused(ddpm, code=2)

    def test_a_size_that_does_not_fit(self, pipeline: Path) -> None:
        assert "--size is 33; with this pipeline it has to be a multiple of 2" in self.refused(
            pipeline, "--size", "33", code=2
        )

    def test_the_hub_is_asked_only_by_name(
        self, pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import diffusers
        import huggingface_hub
        from huggingface_hub.errors import LocalEntryNotFoundError

        snapshot = shutil.copytree(pipeline, tmp_path / "c0ffee")
        (snapshot / "README.md").unlink()
        asked = []

        def download(name: str, **options: Any) -> str:
            asked.append((name, options))
            return str(snapshot)

        def file(name: str, path: str, revision: str) -> str:
            assert (name, revision) == ("shop/tiny", "c0ffee")
            if path != "README.md":
                raise LocalEntryNotFoundError(path)
            (snapshot / path).write_text("---\nlicense: other\nlicense_name: sai-nc-community\n---\n")
            return str(snapshot / path)

        monkeypatch.setattr(diffusers.DiffusionPipeline, "download", download)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", file)
        result = run_json("create", "hub:shop/tiny@v1", *FAST, "--n", 1, "--out", tmp_path / "out")
        assert asked == [("shop/tiny", {"revision": "v1", "use_safetensors": True})]
        assert result["model"] == "hub:shop/tiny"
        assert "do not use the pictures in a shop" in result["notes"][0]
        packet = xmp.Packet.parse(decode(Path(result["pictures"][0])).metadata.xmp or b"")
        assert packet.get(xmp.AI_VERSION) == "c0ffee"
        assert "is no name on the hub" in self.refused(Path("hub:tiny"), "--overwrite", code=2)


@pytest.mark.parametrize(
    ("readme", "licence_file", "licence", "notice"),
    [
        (README, None, "creativeml-openrail-m", "under its rules on use"),
        ("---\nlicense: apache-2.0\n---\n", None, "apache-2.0", ": commercial use is allowed"),
        ("---\nlicense:\n- mit\n---\n", None, "mit", ": commercial use is allowed"),
        ('---\nlicense: "cc-by-nc-4.0" # strict\n---\n', None, "cc-by-nc-4.0", "does not allow commercial use"),
        (
            "---\nlicense: other\nlicense_name: sai-nc-community\n---\n",
            None,
            "sai-nc-community",
            "does not allow commercial use",
        ),
        (
            "---\nlicense: other\nlicense_name: flux-1-dev-non-commercial-license\n---\n",
            None,
            "flux-1-dev-non-commercial-license",
            "does not allow commercial use",
        ),
        (
            "---\nlicense: other\nlicense_name: stabilityai-ai-community\n---\n",
            None,
            "stabilityai-ai-community",
            "read it before",
        ),
        ("---\nlicense: mit\n---\n", "# Non-Commercial Licence\n", "mit", "does not allow commercial use"),
        (
            None,
            "\nCopyright (c) 2022 X\n\nApache License\nVersion 2.0",
            "Apache License",
            ": commercial use is allowed",
        ),
        ("# No header\nlicense: mit\n", None, None, UNKNOWN),
        ("---\ntags: [x]\n---\n", None, None, UNKNOWN),
        (None, None, None, UNKNOWN),
    ],
)
def test_licences_are_read_and_never_guessed(
    tmp_path: Path, readme: str | None, licence_file: str | None, licence: str | None, notice: str
) -> None:
    folder = index_only(tmp_path / "model")
    for name, text in (("README.md", readme), ("LICENSE", licence_file)):
        if text is not None:
            (folder / name).write_text(text)
    card = read_card(folder, "model")
    assert card.licence == licence
    assert notice in card.notice
