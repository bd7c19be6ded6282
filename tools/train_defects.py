"""Trains the detector of `packshot repair --auto` from the shared photos; the same command goes on where it was.

    python tools/train_defects.py recipes/repair/defects.toml DATA OUT [--set steps=1200]

DATA holds clothing/metadata.csv, clothing/original/*.jpg and rgba/*.png. Photos of the contributors of the split
"validation", and every sixth picture of rgba, are never read; those of every fourth contributor of the split "train"
are kept for tools/ship_defects.py, which chooses thresholds with them.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from packshot.core.config import apply_settings, build_config, read_toml
from packshot.core.process import keep_freed_memory
from packshot.images.resize import Pixels
from packshot.training.defects import DefectTraining, train_defects

RGBA_SIDE = 720
KEPT = 4
"""The photos of one of so many contributors choose the thresholds."""


def list_photos(data: Path, *, kept: bool) -> list[Path]:
    """Returns the training photos that are kept for the thresholds, or those that are not, in a fixed order."""
    with (data / "clothing/metadata.csv").open(newline="") as f:
        rows = [row for row in csv.DictReader(f) if row["split"] == "train"]
    people = sorted({row["contributor"] for row in rows}, key=int)
    chosen = {person for i, person in enumerate(people) if (i % KEPT == 0) == kept}
    stems = sorted(row["image"] for row in rows if row["contributor"] in chosen)
    return [p for stem in stems if (p := data / f"clothing/original/{stem}.jpg").is_file()]


def read_photos(data: Path) -> list[Pixels]:
    """Returns the photos to learn from, uint8 [H, W, 3 or 4], in a fixed order."""
    photos = [np.asarray(Image.open(p).convert("RGB")) for p in list_photos(data, kept=False)]
    packshots = [p for i, p in enumerate(sorted((data / "rgba").glob("*.png"))) if i % 6]
    side = (RGBA_SIDE, RGBA_SIDE)
    cut_out = [np.asarray(Image.open(p).convert("RGBA").resize(side, Image.Resampling.LANCZOS)) for p in packshots]
    return [*photos, *cut_out * 4]


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--until", type=int, help="stop at this step for now; the same command without it goes on")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    config = build_config(DefectTraining, apply_settings(read_toml(arguments.recipe), arguments.set))
    photos = read_photos(arguments.data)
    print(f"{len(photos)} pictures", flush=True)
    train_defects(photos, config, arguments.out, until=arguments.until)


if __name__ == "__main__":
    main()
