"""What a person watches a run by: sample grids, quick figures, and the card of the model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

import packshot
from packshot.catalog import Catalog
from packshot.core.files import write_json
from packshot.core.progress import Progress as ProgressBar
from packshot.core.runs import RunFolder, append_jsonl
from packshot.evaluation.quick import quick_kid
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import to_rgb
from packshot.images.sheet import contact_sheet
from packshot.models.table import ModelEntry
from packshot.release.door import release
from packshot.sampling.generator import TrainedGenerator, equal_shares, sheet_scale
from packshot.training.config import TrainConfig
from packshot.training.loop import LoopState

LIMITS = {
    "pictures": [
        "Makes pictures of the categories and the kind of photo that it was trained on, at the training size.",
        "May come near to a training photo: packshot evaluate measures how often.",
        "A generated picture shows no real product: do not offer it as a photo of one.",
    ],
    "embeddings": [
        "Knows the words of the texts that it was trained on, and words spelled like them; no others.",
        "Compares pictures of the kind that it was trained on; a high similarity is no proof that two are one product.",
        "Its pictures' features come from EfficientNet-lite0 (Apache-2.0), trained on ImageNet.",
    ],
}
COLUMNS = 8
ROWS = 12


class Monitor:
    """Sample grids and quick figures of a run, of the averaged network, with the same noise every time."""

    def __init__(
        self,
        run: RunFolder,
        photos: Catalog,
        generator: Callable[[], TrainedGenerator],
        config: TrainConfig,
        bar: ProgressBar,
    ) -> None:
        self.run, self.photos, self.generator = run, photos, generator
        self.config, self.bar = config, bar

    def sample_grid(self, state: LoopState) -> Path:
        """Writes `samples/000123kimg.png`: a row for each of the first categories."""
        generator = self.generator()
        rows = min(ROWS, len(generator.categories))
        labels = np.repeat(np.arange(rows), COLUMNS)
        params = {"model": generator.model, "step": state.progress.step, "seed": self.config.seed}
        history = (Operation("sample", "generated", params),)
        pixels = generator.sample(labels.tolist(), self.config.seed)
        pictures = [ProductImage(to_rgb(p), history=history) for p in pixels]
        path = self.run.samples / f"{state.progress.images // 1000:06d}kimg.png"
        release(contact_sheet(pictures, columns=COLUMNS, scale=sheet_scale(generator.spec.size)), path, overwrite=True)
        return path

    def quick_figures(self, state: LoopState) -> None:
        """Adds a row to `metrics.jsonl`: the KID of a few hundred samples against as many test photos."""
        n, generator = self.config.loop.metrics_pictures, self.generator()
        spec = generator.spec
        if not self.photos.summary["splits"].get("test"):
            self.bar.say("No quick figures: the catalogue has no test photos.")
            return
        samples = generator.sample(equal_shares(n, len(generator.categories)).tolist(), self.config.seed)
        real = self.photos.packed("test", spec.size, spec.channels, self.config.data.fit)
        figure = quick_kid(samples, real, n=n, seed=self.config.seed)
        if figure["warning"]:
            self.bar.say(f"No quick figures: {figure['warning']}")
        p = state.progress
        append_jsonl(self.run.metrics_file, {"step": p.step, "kimg": p.images / 1000, **figure})


def write_card(run: RunFolder, photos: Catalog, config: TrainConfig, entry: ModelEntry, images: int) -> None:
    """Writes `card.json`: what the model is, the data and licences it was trained on, and its limits.

    `data.synthetic` is the number of generated pictures in the training split, beside the photos.
    """
    summary = photos.summary
    write_json(
        run.card_file,
        {
            "name": entry.name,
            "summary": entry.summary,
            "source": entry.source,
            "packshot": packshot.__version__,
            "licence": "the photos' licences apply to what was learned from them; see data.licences",
            "data": {
                "catalog_checksum": photos.checksum,
                "categories": list(photos.categories),
                "licences": summary["licences"],
                "sources": summary["sources"],
                "photos": summary["splits"],
                "synthetic": photos.synthetic,
            },
            "origin": run.read().get("origin"),
            "training": {"budget": config.budget, "seed": config.seed, "pictures_seen": images},
            "limits": LIMITS[entry.makes],
        },
    )
