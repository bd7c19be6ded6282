"""The invisible watermark, and the whole door: what survives, what it costs, and false alarms; peers in the same run.

    OMP_NUM_THREADS=1 python -m benchmarks.release --data DATA --out OUT --packages peers
    OMP_NUM_THREADS=1 python -m benchmarks.release --data DATA --out OUT --only marks unmarked --photos 40
    python -m benchmarks.release --out OUT --table

Parts: `marks` (photos are marked, harmed, and read), `unmarked` (pictures without a mark are read), `time` (a picture
of 1,600 x 1,600 is marked), `door` (it is released, and written without a door), `peers` (`marks` and `time` for those
that are in the folder --packages). Each row goes to OUT/raw.jsonl at once, so a benchmark that was stopped goes on
where it was. Table: OUT/table.md. All runs in this process, on one thread. DATA holds clothing, catalogue and rgba. How
to install the peers into a folder, and what exactly is measured: benchmarks/peers/README.md.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.release_parts.attacks import GAUNTLET, MAIN, Attack
from benchmarks.release_parts.marks import OURS, PEERS, Mark, build_mark, id_bits
from benchmarks.release_parts.photos import Photo, chosen_photos, unmarked
from benchmarks.release_table import print_tables
from packshot.core.errors import PackshotError, lookup
from packshot.core.runs import append_jsonl, read_jsonl
from packshot.images.resize import Pixels
from packshot.release.codes import ID_BITS

PARTS = ("marks", "unmarked", "time", "door", "peers")
SIDE = 1600
BATCH = 100
"""Pictures without a mark in one row."""


class Benchmark:
    """What is missing in the raw log is measured."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.raw = args, args.out / "raw.jsonl"
        self.done = {self.key(row) for row in read_jsonl(self.raw)}

    @staticmethod
    def key(row: dict) -> tuple:
        return row["part"], row.get("name"), row.get("photo"), row.get("first")

    def add(self, row: dict) -> None:
        append_jsonl(self.raw, row)
        self.done.add(self.key(row))

    def run(self, part: str) -> None:
        """Runs one part.

        Raises:
            PackshotError: the data or a peer is not there.
        """
        if part == "unmarked":
            self.unmarked()
        elif part == "door":
            self.door()
        elif part == "peers":
            for name in PEERS:
                mark = build_mark(name, self.args.packages)
                self.marks(mark, self.args.peer_photos, self.args.peer_photos)
                self.time(mark)
        else:
            mark = build_mark(OURS, None)
            self.time(mark) if part == "time" else self.marks(mark, self.args.photos, self.args.gauntlet)

    def marks(self, mark: Mark, count: int, gauntlet: int) -> None:
        """Marks photos and reads them after each attack; the first `gauntlet` of them after all attacks."""
        start, new = time.process_time(), 0
        for number, photo in enumerate(chosen_photos(self.args.data, count)):
            if ("marks", mark.name, photo.name, None) in self.done:
                continue
            attacks = {**MAIN, **GAUNTLET} if number < gauntlet else MAIN
            self.add({"part": "marks", "name": mark.name, **measured(mark, photo, number, attacks)})
            new += 1
        print(f"marks, {mark.name}: {new} photos, {time.process_time() - start:.0f} CPU-s")

    def unmarked(self) -> None:
        """Reads pictures that carry no mark."""
        mark, start = build_mark(OURS, None), time.process_time()
        for first in range(0, self.args.unmarked, BATCH):
            if ("unmarked", OURS, None, first) in self.done:
                continue
            kinds: dict[str, int] = {}
            found, seconds = [], 0.0
            for number, (kind, pixels) in enumerate(unmarked(self.args.data, first, BATCH), first):
                began = time.process_time()
                bits = mark.bits(pixels)
                seconds += time.process_time() - began
                kinds[kind] = kinds.get(kind, 0) + 1
                if bits is not None:
                    found.append(number)
            row = {"first": first, "count": BATCH, "kinds": kinds, "found": found, "cpu_seconds": round(seconds, 3)}
            self.add({"part": "unmarked", "name": OURS, **row})
        print(f"unmarked: {time.process_time() - start:.0f} CPU-s")

    def time(self, mark: Mark) -> None:
        """Marks pictures of 1,600 x 1,600, each three times."""
        for number, photo in enumerate(chosen_photos(self.args.data, self.args.timed)):
            if ("time", mark.name, photo.name, None) in self.done:
                continue
            pixels, spent = enlarged(photo), []
            for _ in range(4):
                began = time.process_time()
                mark.put(pixels, ident_of(number))
                spent.append(round(time.process_time() - began, 4))
            load = round(os.getloadavg()[0], 1)
            self.add({"part": "time", "name": mark.name, **about(photo), "cpu_seconds": spent[1:], "load": load})
        print(f"time, {mark.name}: done")

    def door(self) -> None:
        """Releases pictures of 1,600 x 1,600 as JPEGs, and writes the same without a door."""
        with tempfile.TemporaryDirectory() as folder:
            before = os.environ.get("PACKSHOT_HOME")
            os.environ["PACKSHOT_HOME"] = str(Path(folder) / "home")  # Keys and register of its own.
            try:
                for photo in chosen_photos(self.args.data, self.args.timed):
                    if ("door", OURS, photo.name, None) not in self.done:
                        self.add({"part": "door", "name": OURS, **about(photo), **released(photo, Path(folder))})
            finally:
                if before is None:
                    del os.environ["PACKSHOT_HOME"]
                else:
                    os.environ["PACKSHOT_HOME"] = before
        print("door: done")


def about(photo: Photo) -> dict:
    return {"photo": photo.name, "kind": photo.kind}


def ident_of(number: int) -> int:
    return int(np.random.default_rng([3, number]).integers(1 << ID_BITS))


def enlarged(photo: Photo) -> Pixels:
    """Returns the middle square of a photo at 1,600 x 1,600."""
    picture = Image.fromarray(photo.pixels())
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def measured(mark: Mark, photo: Photo, number: int, attacks: dict[str, Attack]) -> dict:
    """Returns the row of a photo: how much it was changed, and how many bits are right after each attack."""
    pixels, ident = photo.pixels(), ident_of(number)
    white = (pixels == 255).all(-1)
    row = {**about(photo), "height": pixels.shape[0], "width": pixels.shape[1], "white": round(float(white.mean()), 3)}
    began = time.process_time()
    marked = mark.put(pixels, ident)
    row["cpu_seconds"] = round(time.process_time() - began, 4)
    if marked is None:
        return {**row, "room": False}
    error = float(np.mean((marked.astype(np.float64) - pixels) ** 2))
    row |= {"room": True, "psnr": round(float(10 * np.log10(255**2 / max(error, 1e-9))), 2)}
    row["white_changed"] = int((marked[white] != 255).any(-1).sum())
    right: dict[str, int | None] = {}
    wrong = False
    for name, attack in attacks.items():
        bits = mark.bits(attack(marked, np.random.default_rng([11, number])))
        right[name] = None if bits is None else int((bits == id_bits(ident)).sum())
        wrong = wrong or (bits is not None and right[name] != ID_BITS)
    return {**row, "right": right, "other_id": wrong and mark.name == OURS}


def released(photo: Photo, folder: Path) -> dict:
    """Returns seconds for the release of an edited photo and for nothing but encoding and writing it."""
    from packshot.images.encode import encode
    from packshot.images.picture import Operation, ProductImage
    from packshot.release.door import QUALITY, release

    capture = Operation("decode", "capture", {"name": "photo.jpg", "format": "JPEG"})
    repair = Operation("repair", "generated", {"method": "network", "box": [40, 40, 200, 200]})
    image = ProductImage(enlarged(photo), history=(capture, repair))
    row: dict = {}
    for what in ("door", "plain"):
        times = []
        for _ in range(4):
            path = folder / "picture.jpg"
            wall, cpu = time.perf_counter(), time.process_time()
            if what == "door":
                result = release(image, path, overwrite=True)
                row["watermarked"] = result.watermarked
            else:
                path.write_bytes(encode(image, "JPEG", QUALITY))
            times.append((round(time.perf_counter() - wall, 4), round(time.process_time() - cpu, 4)))
        row[f"{what}_seconds"], row[f"{what}_cpu_seconds"] = (list(t) for t in zip(*times[1:], strict=True))
    return {**row, "load": round(os.getloadavg()[0], 1)}


def main(argv: list[str] | None = None) -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the photos")
    parser.add_argument("--out", type=Path, required=True, help="raw log and table")
    parser.add_argument("--only", nargs="+", metavar="PART", default=list(PARTS), help=f"of {', '.join(PARTS)} [all]")
    parser.add_argument("--photos", type=int, default=500, help="that are marked [500]")
    parser.add_argument("--gauntlet", type=int, default=100, help="of these, for which all is measured [100]")
    parser.add_argument("--unmarked", type=int, default=10_000, help="pictures without a mark [10,000]")
    parser.add_argument("--timed", type=int, default=20, help="pictures for `time` and `door` [20]")
    parser.add_argument("--peer-photos", type=int, default=100, help="photos for each peer [100]")
    parser.add_argument("--packages", type=Path, help="folder with the peers' packages; without it no part `peers`")
    parser.add_argument("--table", action="store_true", help="only make the table from the raw log")
    args = parser.parse_args(argv)
    try:
        parts = [lookup("part", name, dict.fromkeys(PARTS, name)) and name for name in args.only]
        if not args.table:
            if args.data is None:
                parser.error("--data is needed to run; --table alone needs none")
            if os.environ.get("OMP_NUM_THREADS") != "1":
                parser.error("set OMP_NUM_THREADS=1; all is measured on one thread")
            args.out.mkdir(parents=True, exist_ok=True)
            benchmark = Benchmark(args)
            for part in parts:
                if part == "peers" and args.packages is None:
                    print("peers are left out: no --packages")
                else:
                    benchmark.run(part)
    except PackshotError as e:
        parser.error(str(e))
    print_tables(args.out)


if __name__ == "__main__":
    main()
