"""One competitor in a process of its own: trains for a number of CPU-seconds and leaves pictures behind.

The clock is the process's CPU time. It starts when packages are imported, photos are in memory and networks are built,
and stands still while pictures are drawn at a checkpoint. Peak memory is read at the end of training, before any
picture is drawn for the first checkpoint.

Letters: n pictures.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers.learner import Task
from benchmarks.peers.table import RECIPES, Competitor, find_competitor
from packshot.catalog import Catalog, open_catalog
from packshot.core.errors import PackshotError
from packshot.core.files import write_json
from packshot.core.process import keep_freed_memory, peak_memory
from packshot.core.random import stream_seed
from packshot.models.ranges import to_model
from packshot.sampling.generator import cut_margin, equal_shares, load_generator
from packshot.training.data import Batches

SAMPLE_SEED = 3


def train_peer(competitor: Competitor, photos: Catalog, budgets: list[float], args: argparse.Namespace) -> None:
    """Trains a peer with its own step on the batches that Packshot would draw; leaves pictures at each budget."""
    assert competitor.build is not None
    packed = photos.packed("train", args.size, photos.native.channels, "auto")
    chosen = Batches(packed.images, packed.labels, batch_size=2, seed=args.seed, limit=args.photos).chosen
    torch.manual_seed(stream_seed(args.seed, "weights"))
    learner = competitor.build(Task(packed.images, chosen, len(photos.categories), SAMPLE_SEED))
    batches = Batches(packed.images, packed.labels, batch_size=learner.batch_size, seed=args.seed, limit=args.photos)
    step, used, last = 0, 0.0, max(budgets)
    for budget in sorted(budgets):
        clock = time.process_time() - used
        while (used := time.process_time() - clock) < budget:
            x, y, _ = batches.at(step)
            learner.step(to_model(x), y, min(1.0, used / last))
            step += 1
        facts = {
            "steps": step,
            "images": step * learner.batch_size,
            "cpu_seconds": used,
            "peak_mib": peak_memory() / 2**20,
        }
        samples = learner.sample(equal_shares(args.samples, len(photos.categories)))
        leave(f"{args.stem}-{budget:g}", cut_margin(samples, packed.margin), facts)


def train_packshot(competitor: Competitor, photos: Catalog, budgets: list[float], args: argparse.Namespace) -> None:
    """Trains a model or recipe of Packshot as `packshot train` does, only without grids and figures on the way."""
    from packshot.models.table import MODELS
    from packshot.training.devices import Devices
    from packshot.training.presets import resolve_config
    from packshot.training.run import train

    settings = [
        f"data.limit={args.photos}",
        f"data.channels={photos.native.channels}",
        "loop.samples_every_kimg=0",
        "loop.metrics_every_kimg=0",
    ]
    recipe = RECIPES / f"{competitor.name}.toml"
    for budget in budgets:
        config = resolve_config(
            model=competitor.name if competitor.name in MODELS else None,
            recipe=recipe if recipe.exists() else None,
            settings=settings,
            budget=f"{budget:g}cpu-s",
            seed=args.seed,
            size=args.size,
        )
        path = Path(f"{args.stem}-{budget:g}-run")
        result = train(photos.path, path, config, devices=Devices(accelerator="cpu"), quiet=True)
        if result is None or result.state != "finished":
            raise PackshotError("it was stopped before its budget was used up")
        facts = {
            "steps": result.step,
            "images": result.images,
            "cpu_seconds": result.cpu_seconds,
            "peak_mib": peak_memory() / 2**20,
            "rollbacks": result.rollbacks,
        }
        labels = equal_shares(args.samples, len(photos.categories)).tolist()
        leave(f"{args.stem}-{budget:g}", load_generator(path / "model.safetensors").sample(labels, SAMPLE_SEED), facts)


def leave(stem: str, samples: np.ndarray, facts: dict[str, float]) -> None:
    """Writes STEM.npy, uint8 [n, S, S, C] without margin, and then STEM.json, which says that both are whole."""
    np.save(f"{stem}.npy", samples)
    write_json(Path(f"{stem}.json"), facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--catalog", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--photos", type=int, required=True)
    parser.add_argument("--budgets", required=True, help="CPU-seconds, with commas")
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--stem", required=True, help="the files that are left begin with this")
    parser.add_argument("--packages", type=Path, help="folder of installed peers")
    args = parser.parse_args()
    if args.packages is not None:
        sys.path.append(str(args.packages))
    keep_freed_memory()
    competitor, photos = find_competitor(args.name), open_catalog(args.catalog)
    budgets = [float(b) for b in args.budgets.split(",")]
    run = train_packshot if competitor.build is None else train_peer
    run(competitor, photos, budgets, args)


if __name__ == "__main__":
    try:
        main()
    except Exception as e:
        # The last line of stderr is what the raw log keeps of a competitor that fails.
        import traceback

        traceback.print_exc()
        print(json.dumps({"error": f"{type(e).__name__}: {e}"}), file=sys.stderr)
        sys.exit(1)
