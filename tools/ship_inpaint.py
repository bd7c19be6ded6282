"""Puts a trained inpainter into the package: float16 weights, and a card with its figures.

    python tools/ship_inpaint.py RUN DATA [--photos 45] [--table FILE.json] [--sheet FILE.png]

RUN is what tools/train_inpaint.py wrote. The figures are of photos of the validation contributors in DATA, which no
training reads: the middle square at 512 px, holes of 5, 12 and 25 % (boxes, lumps, strokes), filled as in `packshot
repair`, with the network's guess and without. Ship a network only if it is better than patches alone.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from ship_restore import held_out

from packshot.core.files import write_json
from packshot.core.random import stream_seed
from packshot.images.compare import psnr
from packshot.images.patches import fill_patches
from packshot.models.inpaint.apply import WEIGHTS, Inpainter
from packshot.models.weights import load_tensors, save_tensors
from packshot.training.inpaint import HOLES, draw_hole

SIDE = 512
SHARES = (0.05, 0.12, 0.25)


def measure(net: Inpainter, paths: list[Path], sheet: Path | None) -> list[dict[str, object]]:
    """Returns a row for each photo: PSNR in the hole with the network, with patches alone, and of the smooth guess."""
    rows, shown = [], []
    for i, path in enumerate(paths):
        photo = Image.open(path).convert("RGB")
        truth = np.asarray(ImageOps.fit(photo, (SIDE, SIDE), Image.Resampling.LANCZOS))
        share, kind = SHARES[i % len(SHARES)], HOLES[(i // len(SHARES)) % len(HOLES)]
        rng = np.random.Generator(np.random.PCG64(stream_seed(0, "held-out hole", i)))
        hole = draw_hole(SIDE, SIDE, kind, share, rng)
        given = np.where(hole[..., None], 0, truth).astype(np.uint8)
        guess = net(given, hole)
        made = {"network": fill_patches(given, hole, guide=guess), "patches": fill_patches(given, hole)}
        made["guess"] = np.rint(guess).astype(np.uint8)
        rows.append({"photo": path.stem, "share": share, "kind": kind})
        rows[-1] |= {name: round(psnr(x, truth, hole), 3) for name, x in made.items()}
        if i < 12:
            shown.append(np.concatenate([given, made["guess"], made["network"], made["patches"], truth], axis=1))
    if sheet is not None:
        whole = Image.fromarray(np.concatenate(shown))
        whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.LANCZOS).save(sheet)
    return rows


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=int, default=45)
    parser.add_argument("--table", type=Path, help="a JSON of the rows")
    parser.add_argument("--sheet", type=Path, help="a PNG: hole, guess, result, patches alone, truth")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tensors, header = load_tensors(arguments.run / "inpaint.safetensors")
    WEIGHTS.parent.mkdir(exist_ok=True)
    save_tensors(WEIGHTS, tensors, header)
    rows = measure(Inpainter(WEIGHTS), held_out(arguments.data, arguments.photos), arguments.sheet)
    gains = np.array([float(r["network"]) - float(r["patches"]) for r in rows])  # type: ignore[arg-type]
    figures = {
        name: round(float(np.mean([float(r[name]) for r in rows])), 3)  # type: ignore[arg-type]
        for name in ("network", "patches", "guess")
    }
    card = {
        "name": "inpaint",
        "summary": "Says what could stand in a hole, at up to 256 px; patches of the photo add the texture.",
        "source": "Yu et al. 2019, arXiv:1806.03589 (gated convolutions)",
        "licence": "Apache-2.0",
        "data": {
            "clothing dataset, photos by private sellers, train contributors": "CC0-1.0",
            "saleor placeholder packshots, five of six": "BSD-3-Clause",
        },
        "recipe": "recipes/repair/inpaint.toml",
        "training": {"steps": header["steps"], "cpu_seconds": round(header["cpu_seconds"], 1)},
        "figures": {
            "of": f"{len(rows)} photos of the validation contributors, 512 px, holes of 5, 12 and 25 %",
            "psnr_in_hole_db": figures,
            "gain_over_patches_db": round(float(gains.mean()), 3),
            "better_in": f"{int((gains > 0).sum())} of {len(gains)} photos",
        },
        "limits": [
            "It guesses; what stood in the hole nobody knows.",
            "It learned from photos of clothes; other products are filled less well.",
        ],
    }
    write_json(WEIGHTS.with_name("card.json"), card)
    if arguments.table:
        write_json(arguments.table, rows)
    print(json.dumps(card["figures"], indent=1))


if __name__ == "__main__":
    main()
