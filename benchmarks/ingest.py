"""How fast is `packshot ingest`, against its goals? And how much memory does it take?

IDX: the 70,000 pictures of Fashion-MNIST; goal: under 30 s. JPEG: 5,000 photos at no less than 80 % of the rate at
which Pillow alone decodes them, that is `Image.open(path).convert("RGB")` over the same files in one process, timed
before and after. Packing: the training split as 32-pixel squares. Each in a process of its own, for its peak memory.

The photos are crops of the real photos in PACKSHOT_SHARED (or ../shared), else made-up ones of the same size.

    python -m benchmarks.ingest [--photos 5000] [--side 533] [--workers 2]
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

FASHION = Path("/usr/share/datasets/fashion-mnist")

INGEST = """
import json, resource, sys, time
from pathlib import Path
from packshot.catalog.ingest import ingest
from packshot.catalog.options import IngestOptions
options = IngestOptions(licence="CC0-1.0", source="benchmark", workers=int(sys.argv[3]))
report = ingest(Path(sys.argv[1]), Path(sys.argv[2]), options)
own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "photos": report.photos,
    "seconds": report.seconds,
    "cpu_seconds": own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime,
    "main_rss_mib": own.ru_maxrss / 1024,
    "worker_rss_mib": workers.ru_maxrss / 1024,
    "near_groups": report.duplicates["near_groups"],
}))
"""

PACK = """
import json, resource, sys, time
from pathlib import Path
from packshot.catalog import open_catalog
catalog = open_catalog(Path(sys.argv[1]))
start = time.perf_counter()
packed = catalog.packed("train", 32, catalog.native.channels)
seconds = time.perf_counter() - start
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"photos": len(packed.images), "seconds": seconds, "rss_mib": rss}))
"""

DECODE = """
import json, sys, time
from pathlib import Path
from PIL import Image
paths = sorted(Path(sys.argv[1]).rglob("*.jpg"))
wall, cpu = time.perf_counter(), time.process_time()
for path in paths:
    Image.open(path).convert("RGB")
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({"photos": len(paths), "seconds": wall, "cpu_seconds": cpu}))
"""


def run(code: str, *words: object) -> dict[str, float]:
    command = [sys.executable, "-c", code, *map(str, words)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def originals() -> list[Path]:
    shared = Path(os.environ.get("PACKSHOT_SHARED", Path(__file__).parents[2] / "shared"))
    return sorted((shared / "data/clothing/original").glob("*.jpg"))


def write_photos(folder: Path, count: int, side: int) -> str:
    """Writes `count` different JPEG photos whose longest side is `side`; returns what they are."""
    rng = np.random.default_rng(0)
    sources = originals()
    for i in range(count):
        if sources:
            with Image.open(sources[i % len(sources)]) as im:
                dx, dy = rng.integers(0, 40, 2)
                im = im.convert("RGB").crop((dx, dy, im.width, im.height))
        else:
            small = rng.integers(0, 256, (24, 18, 3), dtype=np.uint8)
            im = Image.fromarray(small).resize((400, 533), Image.Resampling.BICUBIC)
        scale = side / max(im.size)
        im = im.resize((max(1, round(im.width * scale)), max(1, round(im.height * scale))), Image.Resampling.BICUBIC)
        data = io.BytesIO()
        im.save(data, "JPEG", quality=90)
        path = folder / f"category{i % 10}" / f"{i:05d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data.getvalue())
    return f"{'crops of real' if sources else 'made-up'} photos, longest side {side} px"


def measure_jpeg(folder: Path, count: int, side: int, workers: int) -> dict[str, object]:
    source = folder / "photos"
    source.mkdir()
    what = write_photos(source, count, side)
    before = run(DECODE, source)
    ours = run(INGEST, source, folder / "catalog", workers)
    after = run(DECODE, source)
    pillow = {k: (before[k] + after[k]) / 2 for k in before}
    return {
        "what": what,
        "photos": count,
        "ingest": ours,
        "pillow": pillow,
        "rate_of_pillows": pillow["seconds"] / ours["seconds"],
        "cpu_of_pillows": ours["cpu_seconds"] / pillow["cpu_seconds"],
        "packed": run(PACK, folder / "catalog"),
    }


def measure_idx(folder: Path, workers: int) -> dict[str, object]:
    if not FASHION.is_dir():
        return {"skipped": f"{FASHION} is not there"}
    ours = run(INGEST, FASHION, folder / "catalog", workers)
    return {"ingest": ours, "packed": run(PACK, folder / "catalog")}


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--side", type=int, default=533)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args([] if words is None else words)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        idx = measure_idx(Path(a), chosen.workers)
        jpeg = measure_jpeg(Path(b), chosen.photos, chosen.side, chosen.workers)
    result = {"load_before": load, "cores": os.cpu_count(), "workers": chosen.workers, "idx": idx, "jpeg": jpeg}
    print("| what | goal | measured |")
    print("|---|---|---|")
    if "ingest" in idx:
        row = idx["ingest"]
        print(f"| {row['photos']:,} IDX pictures | < 30 s | {row['seconds']:.1f} s, {row['cpu_seconds']:.1f} CPU-s |")
        print(f"| the same, packed at 32 px | a few s | {idx['packed']['seconds']:.2f} s |")
    row = jpeg["ingest"]
    print(
        f"| {row['photos']:,} JPEG ({jpeg['what']}) | >= 80 % of Pillow's rate | {jpeg['rate_of_pillows']:.0%} "
        f"({row['photos'] / row['seconds']:,.0f}/s; {jpeg['cpu_of_pillows']:.2f} x its CPU time) |"
    )
    memory = f"{row['main_rss_mib']:.0f} and {row['worker_rss_mib']:.0f} MiB"
    print(f"| peak memory, main process and largest worker | flat | {memory} |")
    print(f"(load {load:.1f} on {os.cpu_count()} cores before the start; {time.strftime('%Y-%m-%d %H:%M')})")
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
