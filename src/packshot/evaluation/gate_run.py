"""The copy gate of a run: its index is written when training ends, or made from the catalogue when first asked for."""

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np

from packshot.catalog import Catalog, Packed
from packshot.catalog.dataset import Fit
from packshot.core.errors import PackshotError
from packshot.core.lineage import OWN, TrainingSet
from packshot.core.runs import RunFolder
from packshot.evaluation.copies import Indices
from packshot.evaluation.gate import CopyGate, CopyIndex, build_index, load_index
from packshot.evaluation.report import open_run_catalog, trained_photos

INDEX = "copies.safetensors"


def index_photos(photos: Catalog, packed: Packed, chosen: Indices, fit: Fit) -> CopyIndex:
    """Makes the index of the chosen ones of a catalogue's packed pictures, calibrated on its test photos.

    Raises:
        PackshotError: a shard is damaged, or the disk is full.
    """
    size = packed.images.shape[1]
    channels: Literal[1, 3] = 1 if packed.images.shape[3] == 1 else 3
    held_out = packed.images[:0]
    if photos.summary["splits"].get("test"):
        held_out = photos.packed("test", size, channels, fit).images
    digests = photos.digests([packed.photo_ids[i] for i in chosen])
    about = TrainingSet.of(digests).about()
    return build_index(packed.images, chosen, digests, held_out, about, margin=packed.margin)


def write_index(run: RunFolder, photos: Catalog, packed: Packed, chosen: Indices, fit: Fit) -> None:
    """Writes the index of what a run was trained on into its folder.

    Raises:
        PackshotError: as `index_photos`.
    """
    index_photos(photos, packed, chosen, fit).save(run.path / INDEX)


def open_gate(run: RunFolder, false_alarms: float) -> CopyGate:
    """Returns the gate of a run; where the run has no index, it is made from the catalogue, and kept beside the model.

    Raises:
        UsageError: a rate that the held-out photos cannot tell.
        PackshotError: there is no index, and the catalogue is gone or was changed; or the index is damaged, or is of
            other photos than the model.
    """
    path, about = run.path / INDEX, run.read()
    if not path.is_file():
        index = _index_of_catalog(run)
        if os.access(run.path, os.W_OK):  # Else it is made again each time.
            index.save(path)
        return CopyGate.of(index, false_alarms)
    index = load_index(path)
    said = (about.get("training_set") or {}).get("root")
    if said is not None and index.about.get("root") != said:
        raise PackshotError(
            f"{path} is of other photos than {run.path} was trained on; delete it, and it is made anew from the "
            "run's catalogue."
        )
    return CopyGate.of(index, false_alarms)


def _index_of_catalog(run: RunFolder) -> CopyIndex:
    about = run.read()
    spec, fit = about["spec"], about["config"]["data"]["fit"]
    try:
        if run.is_shipped:
            raise PackshotError(f"its {INDEX} is missing; install Packshot again.")
        photos = open_run_catalog(about, None)
        channels: Literal[1, 3] = 1 if spec["channels"] == 1 else 3
        packed = photos.packed("train", spec["size"], channels, fit, synthetic=True, also_out=True)
        chosen = np.array(_learned_from(run, photos, packed), np.int64)
        if not len(chosen):
            raise PackshotError(f"The catalogue {photos.path} holds none of its training photos any more.")
    except PackshotError as e:
        raise PackshotError(
            f"Pictures of {run.path} cannot be compared with its training photos: {e} To make pictures that are not "
            "compared, add --allow-copies."
        ) from e
    return index_photos(photos, packed, chosen, fit)


def _learned_from(run: RunFolder, photos: Catalog, packed: Packed) -> Sequence[int]:
    """Returns the places of the pictures that the run was trained on; also of those that may not be trained on now."""
    if (run.path / OWN).is_file():
        known = TrainingSet.read(run.path / OWN)
        return [i for i, digest in enumerate(photos.digests(packed.photo_ids)) if digest in known]
    trained = set(trained_photos(packed, run.read(), photos).photo_ids)
    return [i for i, name in enumerate(packed.photo_ids) if name in trained]


def photo_names(run: RunFolder, index: CopyIndex, nearest: Sequence[int]) -> list[str]:
    """Returns the ids of training photos where the run's catalogue is at hand, else `sha256:` and the first digits."""
    first = [index.name(i) for i in nearest]
    try:
        table = open_run_catalog(run.read(), None).manifest(["photo_id", "sha256"]).to_pydict()
    except PackshotError:  # The digits are what is known then.
        return [f"sha256:{digits}" for digits in first]
    known = {digest[: len(first[0])]: name for name, digest in zip(table["photo_id"], table["sha256"], strict=True)}
    return [known.get(digits, f"sha256:{digits}") for digits in first]
