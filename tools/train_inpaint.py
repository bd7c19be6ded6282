"""Trains the inpainter of `packshot repair` from the shared photos; the same command goes on where it was.

    python tools/train_inpaint.py recipes/repair/inpaint.toml DATA OUT [--set steps=3000] [--device cuda]

Then OUT/inpaint.safetensors is what the package ships, in src/packshot/models/inpaint/weights. DATA is as for
tools/train_restore.py, and the same photos are never read.
"""

import argparse
from pathlib import Path

import torch
from train_restore import read_photos

from packshot.core.config import apply_settings, build_config, read_toml
from packshot.core.process import keep_freed_memory
from packshot.training.inpaint import InpaintTraining, train_inpaint


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--until", type=int, help="stop at this step for now; the same command without it goes on")
    parser.add_argument("--device", default="cpu", help="where the networks compute [cpu]")
    parser.add_argument("--threads", default=1, type=int, help="of torch, on a CPU [1]")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    config = build_config(InpaintTraining, apply_settings(read_toml(arguments.recipe), arguments.set))
    photos = read_photos(arguments.data, 160)
    print(f"{len(photos)} pictures")
    train_inpaint(photos, config, arguments.out, device=arguments.device, until=arguments.until)


if __name__ == "__main__":
    main()
