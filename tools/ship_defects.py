"""Puts a trained damage detector into the package: float16 weights, limits, and a card with its figures.

    python tools/ship_defects.py RUN DATA [--damaged 4] [--sheet FILE.png]

RUN is what tools/train_defects.py wrote. The photos that it kept choose the limits: as they are, and every fourth of
them (--damaged) with each kind of damage. The limits are those of the highest mean F1 over kinds among all that touch
at most MOST_TOUCHED of the undamaged photos. The network is asked for the kinds of ASKED alone; what images/defects.py
finds counts in all figures. Those on the card are of the validation contributors, whom neither training nor limits have
seen. Ship a network only if they are better than those of images/defects.py alone (benchmarks.darkroom, part auto).
"""

import argparse
import csv
import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from train_defects import list_photos

from packshot.core.files import write_json
from packshot.core.random import stream_seed
from packshot.images.damage import KINDS, draw_damage
from packshot.images.defects import Defects, find_defects
from packshot.images.resize import Pixels
from packshot.models.defects import apply
from packshot.models.defects.apply import DefectFinder, Limits
from packshot.models.weights import load_tensors, save_tensors

Mask = npt.NDArray[np.bool_]

ASKED = {"dust": "dust", "scratch": "scratches", "stain": "stains"}
"""The network's kinds that it is asked for, and what images/damage.py calls them."""
MOST_TOUCHED = 0.015
"""Share of undamaged photos that may be touched where limits are chosen; the goal elsewhere is 0.02."""
MOST_TOLD = 0.015
"""Share of undamaged photos about which a person may be asked, for each kind."""
NEAR = 2
"""Pixels by which damage may be missed and still be found: its soft edge."""
NEVER = Limits(edge=1e6, piece=1e6, opens=1e6, told=1e6)
EDGES, PIECES = np.arange(-1.0, 7.1, 1.0), np.arange(0.0, 6.1, 1.5)
"""Logits that are tried: of a piece's edge; and how much surer than its edge a piece has to be."""


class Photo(NamedTuple):
    """A photo: what was drawn onto it ("clean": nothing), what both detectors say, and where damage is.

    The logits are float16 [h, w, K].
    """

    kind: str
    plain: Defects
    z: npt.NDArray[np.float16]
    truth: Mask


def read_photos(finder: DefectFinder, paths: list[Path], every: int) -> list[Photo]:
    """Returns the photos as they are, and every so many of them with damage of each kind."""
    out = []
    for i, path in enumerate(paths):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        out.append(seen(finder, "clean", pixels, np.zeros(pixels.shape[:2], np.bool_)))
        for kind in KINDS if i % every == 0 else ():
            hurt = draw_damage(pixels, np.random.default_rng(stream_seed(0, f"ship {kind}", i)), [kind])
            out.append(seen(finder, kind, hurt.pixels, hurt.mask))
    return out


def seen(finder: DefectFinder, kind: str, pixels: Pixels, truth: Mask) -> Photo:
    """Returns a photo with what both detectors say of it."""
    z = finder.logits(pixels)
    assert z is not None
    return Photo(kind, find_defects(pixels), z.astype(np.float16), truth)


def validation(data: Path) -> list[Path]:
    """Returns the photos of the validation contributors, in a fixed order."""
    with (data / "clothing/metadata.csv").open(newline="") as f:
        stems = sorted(row["image"] for row in csv.DictReader(f) if row["split"] == "validation")
    return [p for stem in stems if (p := data / f"clothing/original/{stem}.jpg").is_file()]


def hits(got: Mask, truth: Mask) -> npt.NDArray[np.int64]:
    """Returns how many pixels were found near damage, how many were found, how much damage lies near those, and all."""
    near = np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.bool_)
    around = [ndimage.binary_dilation(m, near) if m.any() else m for m in (truth, got)]
    return np.array([(got & around[0]).sum(), got.sum(), (truth & around[1]).sum(), truth.sum()])


def f1(counts: npt.NDArray[np.int64]) -> float:
    """Returns F1 of the sum of such counts."""
    right, got, seen, all_ = counts
    precision, recall = right / max(got, 1), seen / max(all_, 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


class Choice(NamedTuple):
    """Limits of one kind, its F1 with them, and the numbers of the undamaged photos that they touch."""

    limits: Limits
    f1: float
    touched: frozenset[int]


def choices(finder: DefectFinder, photos: list[Photo], kind: str) -> list[Choice]:
    """Returns limits of one kind, the best for each number of undamaged photos that they may touch."""
    k, drawn = list(ASKED).index(kind), [p for p in photos if p.kind == ASKED[kind]]
    clean = [p for p in photos if p.kind == "clean"]
    peaks, hurt = (np.array([p.z[..., k].max() for p in some], float) for some in (clean, drawn))
    told, most = float(np.quantile(peaks, 1 - MOST_TOLD)), max(1, int(MOST_TOUCHED * len(peaks)))
    opens = [float(np.sort(peaks)[::-1][touched]) + 0.01 for touched in range(most + 1)]
    best: dict[float, Choice] = {}
    for edge, more in itertools.product(EDGES, PIECES):
        limit = Limits(edge=float(edge), piece=float(edge + more), opens=float(edge + more), told=told)
        finder.limits = {name: limit if name == kind else NEVER for name in ASKED}
        counts = np.array([hits(finder.judged(p.plain, p.z.astype(np.float32)).mask, p.truth) for p in drawn])
        for at in opens:
            gate = max(at, limit.piece)
            shut = counts * np.where(hurt[:, None] >= gate, 1, [0, 0, 0, 1])
            score = f1(shut.sum(0))
            if at not in best or score > best[at].f1:
                touched = frozenset(np.flatnonzero(peaks >= gate).tolist())
                best[at] = Choice(replace(limit, opens=gate), score, touched)
    return list(best.values())


def choose(finder: DefectFinder, photos: list[Photo]) -> dict[str, Limits]:
    """Returns the limits of the highest mean F1 that, with what images/defects.py finds, touch few undamaged photos."""
    clean = [p for p in photos if p.kind == "clean"]
    already = frozenset(i for i, p in enumerate(clean) if p.plain.mask.any())
    options = [choices(finder, photos, kind) for kind in ASKED]
    print(f"images/defects.py touches {len(already)} of {len(clean)} undamaged photos")
    for kind, found in zip(ASKED, options, strict=True):
        print(kind, [(round(c.f1, 3), len(c.touched), asdict(c.limits)) for c in found], flush=True)
    most = max(len(already), MOST_TOUCHED * len(clean))
    allowed = [c for c in itertools.product(*options) if len(already.union(*(x.touched for x in c))) <= most]
    best = max(allowed, key=lambda c: sum(x.f1 for x in c))
    return {kind: c.limits for kind, c in zip(ASKED, best, strict=True)}


def measure(finder: DefectFinder, photos: list[Photo]) -> dict[str, object]:
    """Returns the figures of the card."""
    counts = {kind: np.zeros(4, np.int64) for kind in KINDS}
    touched = []
    for photo in photos:
        mask = finder.judged(photo.plain, photo.z.astype(np.float32)).mask
        if photo.kind == "clean":
            touched.append(bool(mask.any()))
        else:
            counts[photo.kind] += hits(mask, photo.truth)
    scores = {kind: round(f1(c), 3) for kind, c in counts.items()}
    return {
        "f1": scores,
        "f1_mean": round(float(np.mean(list(scores.values()))), 3),
        "undamaged_touched": f"{sum(touched)} of {len(touched)} photos",
        "damaged_photos_of_each_kind": (len(photos) - len(touched)) // len(KINDS),
    }


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--damaged", type=int, default=4, help="one of so many photos is damaged, too [4]")
    parser.add_argument("--sheet", type=Path, help="a PNG of what is repaired in undamaged photos")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tensors, header = load_tensors(arguments.run / "model.safetensors")
    half = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    config = {"net": header["config"], "limits": dict.fromkeys(ASKED, asdict(NEVER))}
    save_tensors(apply.WEIGHTS, half, {"config": config})
    finder = DefectFinder(apply.WEIGHTS)
    kept = read_photos(finder, list_photos(arguments.data, kept=True), arguments.damaged)
    limits = choose(finder, kept)
    del kept
    config["limits"] = {kind: asdict(limit) for kind, limit in limits.items()}
    save_tensors(apply.WEIGHTS, half, {"config": config})
    finder = DefectFinder(apply.WEIGHTS)
    paths = validation(arguments.data)
    figures = measure(finder, read_photos(finder, paths, arguments.damaged))
    card = {
        "name": "packshot-damage",
        "summary": "Finds dust, scratches and stains, for `packshot repair --auto`.",
        "source": "Ronneberger et al. 2015, arXiv:1505.04597; Yu and Koltun 2016, arXiv:1511.07122",
        "licence": "Apache-2.0",
        "data": {
            "clothing dataset, photos by private sellers, train contributors": "CC0-1.0",
            "saleor placeholder packshots, five of six": "BSD-3-Clause",
        },
        "damage": "drawn: images/damage.py and, with more variety, training/defects.py; no photo of true damage",
        "recipe": "recipes/repair/defects.toml",
        "training": {"steps": header["steps"], "cpu_seconds": round(header["cpu_seconds"], 1)},
        "figures": {
            "of": "photos of the validation contributors, damage drawn by images/damage.py, with images/defects.py",
            **figures,
        },
        "limits": [
            "It knows damage as it was drawn; true scratches and stains look different at times.",
            "A thread may be taken for a scratch, a small print or a shadow for a stain.",
        ],
    }
    write_json(apply.CARD, card)
    print(json.dumps({"limits": config["limits"], **figures}, indent=1))
    print(f"{apply.WEIGHTS.stat().st_size:,} bytes")
    if arguments.sheet:
        sheet(finder, paths, arguments.sheet)


def sheet(finder: DefectFinder, paths: list[Path], path: Path) -> None:
    """Draws the undamaged photos that would be touched, and where."""
    tiles = []
    for photo in paths:
        pixels = np.asarray(Image.open(photo).convert("RGB"))
        found = finder(pixels)
        if found.mask.any():
            shown = pixels.copy()
            shown[ndimage.binary_dilation(found.mask, iterations=3) & ~found.mask] = (255, 0, 255)
            tiles.append(Image.fromarray(np.concatenate([pixels, shown], axis=1)).resize((480, 320)))
    out = Image.new("RGB", (3 * 480, max(1, -(-len(tiles) // 3)) * 320), "white")
    for i, tile in enumerate(tiles):
        out.paste(tile, (i % 3 * 480, i // 3 * 320))
    path.parent.mkdir(parents=True, exist_ok=True)
    out.save(path)


if __name__ == "__main__":
    main()
