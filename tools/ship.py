"""Makes a trained run into a generator of the package: float16 weights, card, and a run.json without paths.

    python tools/ship.py RUN NAME --summary TEXT --recipe recipes/NAME.toml --catalog CATALOG [--set net.guidance=4]
    python tools/ship.py --copies-only NAME --catalog CATALOG

Weights are stored as float16 and used as float32; the figures of the card are measured on the file as it ships. `--set`
changes how the generator samples; a setting of its sizes would be refused when the file is loaded. `--attributes` keeps
only some of those that it was trained with: not asking for the others is what it knows already. `--copies-only` makes
the index of training photos alone (docs/copies.md), of a catalogue with the photos that the generator was trained on.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from packshot.catalog import open_catalog
from packshot.core.config import apply_settings, to_table
from packshot.core.files import read_json, write_json
from packshot.core.runs import SHIPPED, RunFolder
from packshot.evaluation.gate_run import INDEX, index_photos
from packshot.evaluation.run import evaluate_run
from packshot.models.conditions import Conditions
from packshot.models.flow import ASKED
from packshot.models.weights import load_tensors, save_tensors

LARGEST = 12_000_000
KEPT = (
    "packshot",
    "config",
    "spec",
    "conditions",
    "categories",
    "torch",
    "state",
    "step",
    "images",
    "seconds",
    "cpu_seconds",
    "training_set",
)
LARGEST_INDEX = 2_000_000


def keep_attributes(tensors: dict[str, torch.Tensor], about: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Takes the columns of other attributes from `tensors`, and returns header or run.json that say so."""
    known = Conditions.of_table(about["conditions"])
    kept = Conditions({name: values for name, values in known.attributes.items() if name in names})
    columns = [known.places.index(place) for place in kept.places]
    for key, tensor in tensors.items():
        if key.endswith(ASKED) and tensor.shape[1] == known.size:
            tensors[key] = tensor[:, columns]
    return {**about, "conditions": to_table(kept), "spec": {**about["spec"], "conditions": kept.groups}}


def ship_copies(name: str, catalog: Path) -> Path:
    """Writes the index of a shipped generator's training photos, and into run.json and card.json which they are.

    The photos have to be as many as the card says; that they are the same ones is for the caller to see to.
    """
    target, photos = RunFolder(SHIPPED / name), open_catalog(catalog)
    about, card = target.read(), read_json(target.card_file)
    if card["data"]["photos"] != photos.summary["splits"] or about["config"]["data"]["limit"] is not None:
        raise SystemExit(f"{catalog} holds other photos than {name} was trained on.")
    spec, fit = about["spec"], about["config"]["data"]["fit"]
    packed = photos.packed("train", spec["size"], 1 if spec["channels"] == 1 else 3, fit)
    index = index_photos(photos, packed, np.arange(len(packed.images)), fit)
    index.save(target.path / INDEX)
    if (target.path / INDEX).stat().st_size > LARGEST_INDEX:
        raise SystemExit(f"{target.path / INDEX} is larger than {LARGEST_INDEX:,} bytes.")
    target.write({**about, "training_set": dict(index.about)})
    card["data"]["training_set"] = dict(index.about)
    card["limits"] = [COPIES if line.startswith("May come near") else line for line in card["limits"]]
    write_json(target.card_file, card)
    return target.path / INDEX


COPIES = "Can come near to a training photo: packshot create refuses such pictures (docs/copies.md), sample does not."


def ship(
    run: RunFolder,
    name: str,
    *,
    summary: str,
    recipe: str,
    catalog: Path,
    n: int,
    settings: list[str],
    attributes: list[str] | None,
) -> Path:
    """Writes src/packshot/shipped/NAME and returns it."""
    target = RunFolder(SHIPPED / name)
    target.path.mkdir(parents=True, exist_ok=True)
    tensors, header = load_tensors(run.model_file)
    about = run.read()
    if attributes is not None:
        header, about = (keep_attributes(tensors, table, attributes) for table in (header, about))
    half = {k: t.half() if t.is_floating_point() else t for k, t in tensors.items()}
    for key, value in half.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise SystemExit(f"{key} does not fit into float16.")
    header = apply_settings(header, settings)
    save_tensors(target.model_file, half, header)
    if target.model_file.stat().st_size > LARGEST:
        raise SystemExit(
            f"{target.model_file} has {target.model_file.stat().st_size:,} bytes; the limit is {LARGEST:,}."
        )
    about = apply_settings(about, [f"config.{s}" for s in settings])
    target.write({k: about[k] for k in KEPT if k in about})
    write_json(target.card_file, read_json(run.card_file))
    evaluation = evaluate_run(Path(name), catalog=catalog, n=n, seed=3)
    keep = ("name", "value", "low", "high", "n", "n_real", "seed", "protocol")
    card = {
        **read_json(run.card_file),
        "name": name,
        "summary": summary,
        "model": about["config"]["model"],
        "recipe": recipe,
        "figures": [{k: f[k] for k in keep} for f in evaluation["figures"] if f["value"] is not None],
        "agreement_by_category": {row["category"]: row["value"] for row in evaluation["per_category"]},
        "cpu_seconds": about["cpu_seconds"],
    }
    write_json(target.card_file, card)
    ship_copies(name, catalog)
    return target.path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("name")
    parser.add_argument("--summary")
    parser.add_argument("--recipe")
    parser.add_argument("--catalog", required=True, type=Path)
    parser.add_argument("--n", default=5000, type=int)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--attributes", nargs="+", help="keep only these [all that it was trained with]")
    parser.add_argument("--copies-only", action="store_true", help="make the index of training photos alone")
    args = parser.parse_args()
    if args.copies_only:
        print(ship_copies(args.name, args.catalog))
    elif args.run is None or args.summary is None or args.recipe is None:
        parser.error("RUN, --summary and --recipe are needed.")
    else:
        about = {"summary": args.summary, "recipe": args.recipe, "catalog": args.catalog, "n": args.n}
        print(ship(RunFolder.open(args.run), args.name, settings=args.settings, attributes=args.attributes, **about))
