"""Trains the network of `cutout` and writes its weights and card.

    python tools/train_cutout.py recipes/darkroom/cutout.toml --clothing DIR --packshots DIR --objects DIR --out RUN

DIR of --clothing holds metadata.csv, original/ and mattes/; those of --packshots and --objects hold RGBA pictures.
No photo of the contributors of the split "validation", and no sixth packshot, is learned from.
The same command goes on after a stop; tools/ship_cutout.py puts the result into the package.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from packshot.core.config import build_config, read_toml
from packshot.core.process import keep_freed_memory
from packshot.core.random import draw_subset
from packshot.training.cutout import CutoutTraining, train_cutout
from packshot.training.cutout_data import Composer, Sources, read_objects, read_photos

OBJECTS = 900
"""Rendered objects that are read: a part of them, drawn by the seed, is varied enough."""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--clothing", type=Path, required=True)
    parser.add_argument("--packshots", type=Path, required=True)
    parser.add_argument("--objects", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    keep_freed_memory()
    settings = build_config(CutoutTraining, read_toml(args.recipe))
    objects = sorted(args.objects.glob("*.webp"))
    sources = Sources(
        photos=list(read_photos(args.clothing, "train").values()),
        packshots=read_objects([p for i, p in enumerate(sorted(args.packshots.glob("*.png"))) if i % 6]),
        objects=read_objects([objects[i] for i in draw_subset(len(objects), OBJECTS, settings.seed)]),
    )
    train_cutout(settings, Composer(sources, settings.seed), args.out)
