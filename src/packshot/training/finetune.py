"""Fine-tuning: a new run that begins with the weights of another, category by category, by name.

Also FreezeD (Mo et al. 2020, arXiv:2002.10964): the discriminator's first layers keep what they learned before.

Letters: K categories, D discriminator.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from packshot.core.config import build_config, to_table
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import sha256_file
from packshot.core.runs import RunFolder
from packshot.models.conditions import Conditions
from packshot.models.flow import ASKED
from packshot.models.spec import PictureSpec
from packshot.models.table import ModelEntry, find_model, weight_shapes
from packshot.models.weights import load_header, load_into, load_tensors, take_part
from packshot.training.checkpoint import list_checkpoints

# Parts of a GAN's step that belong to its data or its course, not to what it learned.
FRESH = ("augment", "path_length", "reference", "generator_history", "discriminator_history")


@dataclass(frozen=True)
class Origin:
    """Where weights come from.

    Attributes:
        path: the checkpoint or model file.
        model: name in the table of models.
        net: the network's configuration, as a table.
        spec: the pictures that it made.
        categories: their names, by label.
        conditions: what it can be asked for besides these.
        networks: state of each network by role; empty where the weights were not read.
        sampler_only: the file holds only the network that makes pictures.
    """

    path: Path
    model: str
    net: dict[str, Any]
    spec: PictureSpec
    categories: tuple[str, ...]
    conditions: Conditions
    networks: dict[str, dict[str, Tensor]]
    sampler_only: bool

    def settings(self) -> list[str]:
        """Returns the settings, as for `--set`, by which a new run gets the same network and size of pictures.

        Not whether they are grey: photos lose their colours only where that is asked for.
        """
        tables = (("net", self.net), ("data", {"size": self.spec.size}))
        return [
            f"{table}.{key}={json.dumps(value)}"
            for table, values in tables
            for key, value in values.items()
            if value is not None
        ]

    def about(self) -> dict[str, Any]:
        """Returns what run.json and card.json say of it."""
        return {
            "file": str(self.path.resolve()),
            "sha256": sha256_file(self.path),
            "model": self.model,
            "networks": "the generator of pictures alone" if self.sampler_only else "all",
            "categories": list(self.categories),
        }


def open_origin(path: Path, *, weights: bool = True) -> Origin:
    """Opens what a run can begin with: a run folder (its newest checkpoint, else its model), a model file, or the
    name of a generator that comes with the package.

    Args:
        path: one of these.
        weights: read them too; False: `networks` stays empty.

    Raises:
        PackshotError: nothing there, damaged, or made by another version.
    """
    if not path.is_file():
        run = RunFolder.open(path)
        checkpoints = list_checkpoints(run.checkpoints)
        if checkpoints:
            return _from_checkpoint(run, checkpoints[-1], weights)
        if not run.model_file.exists():
            raise PackshotError(f"The run {path} has neither a checkpoint nor a model; train it first.")
        path = run.model_file
    tensors, header = load_tensors(path) if weights else ({}, load_header(path))
    try:
        facts = _facts(header, header["model"], header["net"])
    except (KeyError, TypeError, UsageError) as e:
        raise PackshotError(
            f"{path} is not a model file of this version of Packshot ({str(e).rstrip('.')}); "
            "give a run folder or its model.safetensors."
        ) from e
    return Origin(path, *facts, {"sampler": take_part(tensors, "net/")} if weights else {}, sampler_only=True)


def _from_checkpoint(run: RunFolder, path: Path, weights: bool) -> Origin:
    tensors = load_tensors(path)[0] if weights else {}
    about = run.read()
    try:
        facts = _facts(about, about["config"]["model"], about["config"]["net"])
    except (KeyError, TypeError, UsageError) as e:
        raise PackshotError(
            f"{run.run_file} was written by another version of Packshot ({str(e).rstrip('.')}); train again."
        ) from e
    roles = sorted({name.split("/")[1] for name in tensors if name.startswith("net/")})
    return Origin(path, *facts, {role: take_part(tensors, f"net/{role}/") for role in roles}, sampler_only=False)


def _facts(
    about: Mapping[str, Any], model: str, net: Mapping[str, Any]
) -> tuple[str, dict[str, Any], PictureSpec, tuple[str, ...], Conditions]:
    """Returns an origin's model, configuration (whole, as a table), pictures, categories and conditions, checked."""
    own = to_table(build_config(find_model(model).config, net))
    asked = about.get("conditions")
    conditions = Conditions.of_table(asked) if asked else Conditions()
    return model, own, build_config(PictureSpec, about["spec"]), tuple(map(str, about["categories"])), conditions


def check_origin(origin: Origin, model: str, net: Any, spec: PictureSpec) -> None:
    """Refuses weights of another architecture than the new run's.

    Settings that no shape of a weight depends on may differ: the new run keeps its own.

    Raises:
        UsageError: says what differs, and what to set.
    """
    if origin.model != model:
        raise UsageError(
            f"{origin.path} is a '{origin.model}', this run trains a '{model}'; add --model {origin.model}."
        )
    had, has = ((s.size, s.channels) for s in (origin.spec, spec))
    if had != has:
        kinds = [f"{size} px {'grey' if channels == 1 else 'RGB'}" for size, channels in (had, has)]
        names = [f"--set data.{key}={a}" for key, a, b in zip(("size", "channels"), had, has, strict=True) if a != b]
        raise UsageError(f"{origin.path} makes {kinds[0]} pictures, this run {kinds[1]}; add {' '.join(names)}.")
    wanted = to_table(net)
    if origin.net == wanted:
        return
    entry, ours = find_model(model), weight_shapes(find_model(model), net, spec)
    own = build_config(entry.config, origin.net)
    if weight_shapes(entry, own, spec) == ours:
        return
    wrong = [key for key in wanted if _changed(entry, net, spec, key, origin.net[key]) != ours]
    settings = " ".join(f"--set net.{key}={origin.net[key]}" for key in wrong)
    raise UsageError(f"{origin.path} is a network of other sizes than this run's; add {settings}.")


def _changed(entry: ModelEntry, net: Any, spec: PictureSpec, key: str, value: Any) -> dict[str, torch.Size] | None:
    """Returns the shapes with one setting changed; None where it does not go with the others."""
    try:
        return weight_shapes(entry, replace(net, **{key: value}), spec)
    except ValueError:
        return None


def begin_with(
    origin: Origin,
    networks: Mapping[str, nn.Module],
    entry: ModelEntry,
    net: Any,
    spec: PictureSpec,
    categories: Sequence[str],
    conditions: Conditions | None = None,
) -> list[str]:
    """Puts the origin's weights into a new run's networks.

    What a category has of its own (rows of embeddings, say) goes to the category of the same name; a category that the
    origin does not know starts from the mean of those it has. So it is with attributes and their values, except that a
    new one starts without any effect.

    Args:
        origin: see `open_origin`; checked by `check_origin`.
        networks: all of the run's, by role, the average (EMA) as "ema".
        entry: the model.
        net: its configuration.
        spec: the new run's pictures.
        categories: their names, by label.
        conditions: what the new run can be asked for besides these; None: nothing.

    Returns:
        The categories that the origin knew.

    Raises:
        PackshotError: the weights do not fit.
    """
    for role, network in networks.items():
        own = entry.sampler if role == "ema" else role
        source = "sampler" if origin.sampler_only and own == entry.sampler else role
        if role in FRESH or (origin.sampler_only and source != "sampler"):
            continue  # Of a model file, the discriminator has to be learned anew.
        if source not in origin.networks:
            raise PackshotError(f"{origin.path} has no '{role}': train it with the same objective.")
        tensors = dict(origin.networks[source])
        if own in entry.networks and list(origin.categories) != list(categories):
            for name, axis in category_axes(entry.networks[own], net, spec).items():
                if name not in tensors:
                    continue  # load_into will say so.
                module = network.get_submodule(name.rpartition(".")[0])
                first = isinstance(module, nn.Embedding)
                tensors[name] = _by_name(tensors[name], axis, first, origin.categories, categories)
        _place_conditions(tensors, network, origin.conditions.places, (conditions or Conditions()).places)
        load_into(network, tensors, str(origin.path))
    return [c for c in categories if c in origin.categories]


def _place_conditions(
    tensors: dict[str, Tensor], network: nn.Module, old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]]
) -> None:
    """Exchanges the columns of what the origin could be asked for by those of what the network can be."""
    had = {name: tensors.pop(name) for name in list(tensors) if name.endswith(ASKED)}
    for name, own in network.state_dict().items():
        if name.endswith(ASKED):
            tensors[name] = torch.zeros_like(own)
            for i, place in enumerate(new):
                if name in had and place in old:
                    tensors[name][:, i] = had[name][:, old.index(place)].to(own)


def category_axes(build: Callable[[Any, PictureSpec], nn.Module], net: Any, spec: PictureSpec) -> dict[str, int]:
    """Returns the tensors of a network's state that grow with the number of categories, and along which axis.

    It is seen from the network itself, built for K and for K + 1 categories, so that no network has to tell.
    """
    with torch.device("meta"):
        few, many = (
            build(net, replace(spec, categories=k)).state_dict() for k in (spec.categories, spec.categories + 1)
        )
    grown = {
        name: [a for a, (m, n) in enumerate(zip(t.shape, many[name].shape, strict=True)) if m != n]
        for name, t in few.items()
    }
    return {name: axes[0] for name, axes in grown.items() if axes}


def _by_name(t: Tensor, axis: int, first: bool, old: Sequence[str], new: Sequence[str]) -> Tensor:
    """Returns `t` with its entries for the categories `old` along `axis` exchanged for those of `new`.

    Args:
        t: any shape; its axis holds an entry for each category, and maybe others.
        axis: which.
        first: the categories' entries come before the others (an embedding's rows), else after (one-hot inputs).
        old: names of the entries.
        new: names of the result's.
    """
    t = t.movedim(axis, 0)
    start = 0 if first else len(t) - len(old)
    head, own, tail = t[:start], t[start : start + len(old)], t[start + len(old) :]
    mean = own.mean(0)
    rows = torch.stack([own[old.index(name)] if name in old else mean for name in new])
    return torch.cat([head, rows, tail]).movedim(0, axis)


def freeze_first_layers(discriminator: nn.Module, n: int) -> list[str]:
    """Takes the gradient from D's first n layers (FreezeD), and returns the names of their parameters.

    A layer is a convolution or dense layer with what follows it up to the next; the order is that of definition, which
    in every network of the table is that of the data's way.

    Raises:
        UsageError: D has no more than n layers.
    """
    owners: dict[str, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in discriminator.named_parameters():
        owner = name.rpartition(".")[0].partition(".parametrizations")[0]
        owners.setdefault(owner, []).append((name, parameter))
    layers: list[list[tuple[str, nn.Parameter]]] = []
    for own in owners.values():
        # Weights of two or more axes make a layer; a norm belongs to the one before.
        if not layers or any(parameter.dim() >= 2 for _, parameter in own):
            layers.append([])
        layers[-1] += own
    if n >= len(layers):
        raise UsageError(f"objective.freeze_d is {n}, but the discriminator has only {len(layers)} layers; set fewer.")
    frozen = [pair for layer in layers[:n] for pair in layer]
    for _, parameter in frozen:
        parameter.requires_grad_(False)
    return [name for name, _ in frozen]
