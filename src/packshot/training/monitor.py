"""What a person watches a run by: sample grids and quick figures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from packshot.catalog import Catalog
from packshot.core.progress import Progress as ProgressBar
from packshot.core.runs import RunFolder, append_jsonl
from packshot.evaluation.quick import quick_kid
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import to_rgb
from packshot.images.sheet import contact_sheet
from packshot.release.door import release
from packshot.sampling.generator import TrainedGenerator, equal_shares, sheet_scale
from packshot.training.config import TrainConfig
from packshot.training.loop import LoopState

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
