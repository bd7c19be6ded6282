"""Trains the networks of `packshot enhance` from the shared photos; the same command goes on where it was.

    python tools/train_restore.py recipes/restore/scale.toml DATA OUT [--set steps=20000]

DATA holds clothing/metadata.csv, clothing/original/*.jpg and rgba/*.png. Photos of the contributors of the split
"validation", and every sixth picture of rgba, are never read.
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
from packshot.training.restore import RestoreTraining, train_restore

RGBA_SIDE = 720


def read_photos(data: Path, least: int) -> list[Pixels]:
    """Returns the training photos of at least `least` pixels a side, uint8 [H, W, 3 or 4], in a fixed order."""
    with (data / "clothing/metadata.csv").open(newline="") as f:
        stems = sorted(row["image"] for row in csv.DictReader(f) if row["split"] == "train")
    paths = [p for stem in stems if (p := data / f"clothing/original/{stem}.jpg").is_file()]
    photos = [np.asarray(Image.open(p).convert("RGB")) for p in paths]
    packshots = [p for i, p in enumerate(sorted((data / "rgba").glob("*.png"))) if i % 6]
    side = (RGBA_SIDE, RGBA_SIDE)
    cut_out = [np.asarray(Image.open(p).convert("RGBA").resize(side, Image.Resampling.LANCZOS)) for p in packshots]
    # A packshot is seen as often as six photos: text, print and clean edges, which the photos have little of.
    return [p for p in [*photos, *cut_out * 6] if min(p.shape[:2]) >= least]


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
    config = build_config(RestoreTraining, apply_settings(read_toml(arguments.recipe), arguments.set))
    photos = read_photos(arguments.data, config.patch * max(config.net.scales))
    print(f"{len(photos)} pictures")
    train_restore(photos, config, arguments.out, until=arguments.until)


if __name__ == "__main__":
    main()
