"""The whole road in one file: draw a small catalogue, train a tiny model, make pictures, score them.

    python examples/minimal.py

About a minute on two cores. Expected output, up to the last digits of the score:

    750 photos, 3 categories
    trained on 24,000 pictures
    12 new pictures: minimal/pictures/sheet-7.png
    kid_efflite0 18.35 [16.73, 19.93], n = 240
    report: minimal/run/report.html
"""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

import packshot

OUT = Path("minimal")


def draw(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A 32x32 RGB drawing of a product in a random colour."""
    image = np.full((32, 32, 3), 245, np.uint8)
    colour, w, h = rng.integers(20, 200, 3), rng.integers(7, 11), rng.integers(8, 12)
    if kind == "bag":
        image[16 - h // 2 : 16 + h, 16 - w : 16 + w] = colour
        image[8 - h // 4 : 16 - h // 2, 12:14] = image[8 - h // 4 : 16 - h // 2, 18:20] = colour
    elif kind == "shirt":
        image[8 : 8 + 2 * h, 16 - w // 2 - 2 : 16 + w // 2 + 2] = colour
        image[8:14, 16 - w - 4 : 16 + w + 4] = colour
    else:
        image[5:28, 16 - w // 2 - 2 : 15] = image[5:28, 17 : 16 + w // 2 + 2] = colour
        image[5:10, 16 - w // 2 - 2 : 16 + w // 2 + 2] = colour
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    rng = np.random.default_rng(0)
    for kind in ("bag", "shirt", "trousers"):
        folder = OUT / "photos" / kind
        folder.mkdir(parents=True)
        for i in range(250):
            Image.fromarray(draw(kind, rng)).save(folder / f"{i:03d}.png")

    options = packshot.IngestOptions(licence="CC0-1.0", source="drawn by examples/minimal.py", test_share=0.3)
    report = packshot.ingest(OUT / "photos", OUT / "catalog", options)
    print(f"{report.photos} photos, {len(report.categories)} categories")

    settings = ["net.width=16", "net.z_dim=16", "loop.batch_size=32"]
    config = packshot.resolve_config(model="vae", settings=settings, budget="24kimg")
    result = packshot.train(OUT / "catalog", OUT / "run", config, quiet=True)
    print(f"trained on {result.images:,} pictures")

    made = packshot.create(packshot.CreateRequest(run=OUT / "run", out=OUT / "pictures", n=12, seed=7))
    print(f"{len(made.pictures)} new pictures: {made.sheet}")

    evaluation = packshot.evaluate_run(OUT / "run", n=240, quiet=True)
    (kid,) = (f for f in evaluation["figures"] if f["name"].startswith("kid_"))
    print(f"{kid['name']} {kid['value']:.2f} [{kid['low']:.2f}, {kid['high']:.2f}], n = {kid['n']}")
    print(f"report: {packshot.write_report(OUT / 'run')}")


if __name__ == "__main__":
    main()
