"""The card of a trained model: what it is, from which photos and under which rights, its limits, what it cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric

import packshot
from packshot.catalog import Catalog, Packed
from packshot.core.energy import estimate_energy
from packshot.core.errors import PackshotError
from packshot.core.files import write_json
from packshot.core.lineage import INHERITED, OWN, TrainingSet, inherited_from
from packshot.core.process import peak_memory
from packshot.core.runs import RunFolder
from packshot.images.xmp import is_synthetic
from packshot.models.table import ModelEntry
from packshot.models.text import own_model_file
from packshot.training.config import TrainConfig
from packshot.training.finetune import Origin

LIMITS = {
    "pictures": [
        "Makes pictures of the categories and the kind of photo that it was trained on, at the training size.",
        "Can come near to a training photo: packshot create refuses such pictures (docs/copies.md), sample does not.",
        "A generated picture shows no real product: do not offer it as a photo of one.",
    ],
    "embeddings": [
        "Knows the words of the texts that it was trained on, and words spelled like them; no others.",
        "Compares pictures of the kind that it was trained on; a high similarity is no proof that two are one product.",
        "Its pictures' features come from EfficientNet-lite0 (Apache-2.0), trained on ImageNet.",
    ],
}


class Learned(NamedTuple):
    """What a run learns from.

    Attributes:
        photos: the catalogue.
        chosen: ids of the pictures, as many as the run uses.
        set: their digests.
    """

    photos: Catalog
    chosen: Sequence[str]
    set: TrainingSet

    @classmethod
    def of(cls, photos: Catalog, packed: Packed, chosen: np.ndarray) -> "Learned":
        """Returns what the chosen ones of the packed pictures are."""
        names = [packed.photo_ids[i] for i in chosen]
        return cls(photos, names, TrainingSet.of(photos.digests(names)))

    def about(self) -> dict[str, Any]:
        """Returns what run.json says of it."""
        return {"training_set": self.set.about(), "rights": self.photos.rights.about()}

    def write(self, run: RunFolder, origin: Origin | None, config: TrainConfig) -> None:
        """Writes the digests into the run's folder, also those of what the run begins with."""
        self.set.write(run.path / OWN)
        text = config.data.text_model and own_model_file(Path(config.data.text_model))
        inherited = inherited_from([path for path in (origin and origin.path, text) if path])
        if inherited is not None:
            inherited.write(run.path / INHERITED)

    def check(self, run: RunFolder) -> None:
        """Makes sure that a run that goes on may still learn from the same pictures.

        Raises:
            PackshotError: it may not.
        """
        if not (run.path / OWN).is_file():  # An older Packshot began it.
            self.set.write(run.path / OWN)
            return
        gone = len(set(TrainingSet.read(run.path / OWN).leaves) - set(self.set.leaves))
        if gone:
            raise PackshotError(
                f"{gone:,} of the photos that {run.path} was trained on may not be trained on any more; train a new "
                f"run. See why: packshot rights {self.photos.path}"
            )

    def counts(self) -> dict[str, Any]:
        """Returns how many pictures were learned from, by licence, source and category."""
        columns = ["photo_id", "licence", "source", "category", "source_type"]
        wanted = set(self.chosen)
        table = self.photos.manifest(columns).to_pylist()
        rows = [row for row in table if row["photo_id"] in wanted]
        return {
            "pictures": len(rows),
            "synthetic": sum(is_synthetic(row["source_type"]) for row in rows),
            "licences": _count(rows, "licence"),
            "sources": _count(rows, "source"),
            "categories": _count(rows, "category"),
        }


def _count(rows: Sequence[Mapping[str, Any]], column: str) -> dict[str, int]:
    counts = Counter(row[column] for row in rows if row[column] is not None)
    return dict(sorted(counts.items(), key=lambda c: (-c[1], c[0])))


def measure_cost(run: RunFolder, fabric: Fabric, seconds: float, cpu_seconds: float) -> dict[str, Any]:
    """Returns what a run cost: time, memory, and an estimate of energy.

    Args:
        run: its folder; the memory that an earlier start took is remembered there.
        fabric: the ranks.
        seconds: wall time over all starts.
        cpu_seconds: of this process, over all starts; the other ranks are taken to have used as much.
    """
    ranks, on_gpu = fabric.world_size, fabric.device.type == "cuda"
    memory = max(peak_memory(), (run.read().get("cost") or {}).get("peak_memory_mib", 0) * 2**20)
    device = torch.cuda.get_device_name(fabric.device) if on_gpu else "cpu"
    return {
        "seconds": seconds,
        "cpu_seconds": round(cpu_seconds * ranks, 2),
        "device": device,
        "device_seconds": round(seconds * ranks, 2) if on_gpu else 0.0,
        "ranks": ranks,
        "peak_memory_mib": round(memory / 2**20, 1),
        "energy": estimate_energy(
            seconds=seconds,
            cpu_seconds=cpu_seconds * ranks,
            memory=memory * ranks,
            devices=ranks if on_gpu else 0,
            device=device,
        ),
    }


def write_card(
    run: RunFolder, learned: Learned, config: TrainConfig, entry: ModelEntry, images: int, cost: Mapping[str, Any]
) -> None:
    """Writes `card.json`: what the model is, the data and licences it was trained on, its limits, and what it cost.

    `data.licences`, `data.sources` and `data.photos` count the catalogue's photos, `data.trained_on` the pictures that
    the model has learned from; `data.synthetic` is the number of generated pictures in the training split, beside the
    photos, and `data.rights` says how many were left out, and why. `packshot evaluate` adds the figures.

    Args:
        run: where.
        learned: what from.
        config: the run's settings.
        entry: the model.
        images: pictures seen.
        cost: from `measure_cost`.
    """
    photos = learned.photos
    summary = photos.summary
    write_json(
        run.card_file,
        {
            "name": entry.name,
            "summary": entry.summary,
            "source": entry.source,
            "packshot": packshot.__version__,
            "licence": "the photos' licences apply to what was learned from them; see data.trained_on.licences",
            "data": {
                "catalog_checksum": photos.checksum,
                "categories": list(photos.categories),
                "licences": summary["licences"],
                "sources": summary["sources"],
                "photos": summary["splits"],
                "synthetic": photos.synthetic,
                "trained_on": learned.counts(),
                "training_set": learned.set.about(),
                "rights": photos.rights.about(),
            },
            "origin": run.read().get("origin"),
            "training": {"budget": config.budget, "seed": config.seed, "pictures_seen": images},
            "cost": dict(cost),
            "limits": LIMITS[entry.makes],
        },
    )
