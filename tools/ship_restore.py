"""Puts a trained restoration network into the package: float16 weights, and a card with its figures.

    python tools/ship_restore.py RUN scale DATA [--photos 40] [--table FILE.json] [--sheet FOLDER]

RUN is what tools/train_restore.py wrote. The figures are of photos of the validation contributors in DATA, which no
training reads: enlarged after a bicubic reduction ("scale"), or damaged and cleaned ("clean").
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from packshot.core.files import write_json
from packshot.core.random import stream_seed
from packshot.images.compare import lightness, psnr, ssim
from packshot.images.degrade import damage, shrunk
from packshot.images.resize import Pixels, resize
from packshot.models.restore.apply import WEIGHTS, Restorer
from packshot.models.weights import load_tensors, save_tensors
from packshot.training.restore import draw_damage

SUMMARIES = {
    "scale": "x2, x3 and x4 for photos of products, faithful: no texture is made up",
    "clean": "takes noise, JPEG traces and blur away, each by a strength, at the same size",
}
BESIDE = 8
"""Pixels at each border that no figure counts."""


def held_out(data: Path, count: int) -> list[Path]:
    """Returns photos of the validation contributors, spread evenly, in a fixed order."""
    with (data / "clothing/metadata.csv").open(newline="") as f:
        stems = sorted(row["image"] for row in csv.DictReader(f) if row["split"] == "validation")
    paths = [p for stem in stems if (p := data / f"clothing/original/{stem}.jpg").is_file()]
    return paths[:: max(1, len(paths) // count)][:count]


def compared(candidates: dict[str, Pixels], truth: Pixels) -> dict[str, dict[str, float]]:
    """Returns PSNR of RGB and of luma, and SSIM of luma, of each candidate."""
    inner = slice(BESIDE, -BESIDE)
    true = truth[inner, inner]
    out = {}
    for name, pixels in candidates.items():
        x = pixels[inner, inner]
        out[name] = {
            "psnr_rgb": psnr(x, true),
            "psnr_y": psnr(lightness(x), lightness(true)),
            "ssim_y": ssim(lightness(x), lightness(true)),
        }
    return out


def scaled(net: Restorer, truth: Pixels, scale: int) -> tuple[dict[str, Pixels], Pixels]:
    """Returns the enlargements of a reduced photo, and the photo itself cut to whole pixels."""
    small = shrunk(truth, scale)
    height, width = small.shape[0] * scale, small.shape[1] * scale
    bicubic = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    made = {"bicubic": bicubic, "lanczos": resize(small, height, width), "packshot": net(small, scale)}
    return made, truth[:height, :width]


def cleaned(net: Restorer, photo: Pixels, seed: int) -> tuple[dict[str, Pixels], Pixels]:
    """Returns a damaged photo, as it is and cleaned, and the truth: the photo at half its size."""
    truth = shrunk(photo, 2)
    rng = np.random.Generator(np.random.PCG64(stream_seed(seed, "held-out")))
    draws = (damage(truth, draw_damage(rng)) for _ in range(100))
    hurt = next(drawn for drawn in draws if psnr(drawn, truth) < LEAST_DAMAGE)  # Some draws are no damage at all.
    return {"damaged": hurt, "packshot": net(hurt, 1, (1.0, 1.0, 1.0))}, truth


def measure(net: Restorer, name: str, photos: list[Path], sheet: Path | None) -> tuple[dict[str, Any], list[Any]]:
    """Returns mean and median gains over the first candidate, and the rows they come from."""
    rows = []
    for i, path in enumerate(photos):
        photo = np.asarray(Image.open(path).convert("RGB"))
        for scale in net.net.config.scales:
            made, truth = scaled(net, photo, scale) if name == "scale" else cleaned(net, photo, i)
            rows.append({"photo": path.stem, "scale": scale, **compared(made, truth)})
            if sheet is not None and i < 8:
                sheet.mkdir(parents=True, exist_ok=True)
                look([*made.values(), truth]).save(sheet / f"{name}-x{scale}-{i}.png")
    figures = {}
    for scale in net.net.config.scales:
        some = [r for r in rows if r["scale"] == scale]
        first = "bicubic" if name == "scale" else "damaged"
        for figure in ("psnr_rgb", "psnr_y", "ssim_y"):
            gains = [r["packshot"][figure] - r[first][figure] for r in some]
            figures[f"x{scale}_{figure}"] = {
                **{k: round(float(np.mean([r[k][figure] for r in some])), 4) for k in some[0] if k not in KEYS},
                "gain_mean": round(float(np.mean(gains)), 4),
                "gain_median": round(float(np.median(gains)), 4),
                "n": len(gains),
            }
    return figures, rows


KEYS = ("photo", "scale")
LEAST_DAMAGE = 45.0
"""PSNR in dB below which a photo counts as damaged."""


def look(pictures: list[Pixels]) -> Image.Image:
    """Returns the part of each picture where the last has most edges, side by side, three times as large."""
    truth = lightness(pictures[-1])
    side = min(140, *truth.shape)
    steep = np.abs(np.diff(truth, axis=0))[:, 1:] + np.abs(np.diff(truth, axis=1))[1:]
    places = [(t, x) for t in range(0, truth.shape[0] - side + 1, 20) for x in range(0, truth.shape[1] - side + 1, 20)]
    top, left = max(places, key=lambda at: float(steep[at[0] : at[0] + side, at[1] : at[1] + side].sum()))
    row = np.concatenate([p[top : top + side, left : left + side] for p in pictures], axis=1)
    return Image.fromarray(row).resize((row.shape[1] * 3, row.shape[0] * 3), Image.Resampling.NEAREST)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name", choices=list(SUMMARIES))
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    name, path = arguments.name, WEIGHTS / f"{arguments.name}.safetensors"
    tensors, header = load_tensors(arguments.run / "model.safetensors")
    save_tensors(path, {k: t.half() for k, t in tensors.items()}, header)
    figures, rows = measure(Restorer(path), name, held_out(arguments.data, arguments.photos), arguments.sheet)
    card = {
        "name": f"restore-{name}",
        "summary": SUMMARIES[name],
        "source": "Lim et al. 2017, arXiv:1707.02921; Shi et al. 2016, arXiv:1609.05158",
        "licence": "Apache-2.0",
        "data": {
            "clothing dataset, photos by private sellers, train contributors": "CC0-1.0",
            "saleor placeholder packshots, five of six": "BSD-3-Clause",
        },
        "training": {"steps": header["steps"], "cpu_seconds": round(header["cpu_seconds"], 1)},
        "recipe": f"recipes/restore/{name}.toml",
        "limits": [
            "Brings back what the photo still shows; detail that is gone stays gone.",
            "Learned from photos of clothes of about 400 px that were JPEGs themselves.",
        ],
        "figures": figures,
    }
    write_json(path.with_suffix(".json"), card)
    if arguments.table:
        write_json(arguments.table, rows)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
