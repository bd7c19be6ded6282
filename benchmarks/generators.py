"""Packshot's recipes against published generators: the same photos, the same CPU-seconds, the same yardstick.

Each competitor trains in a process of its own on one thread; this process measures what it made. One row for each
measurement goes to OUT/raw.jsonl at once, so a benchmark that was stopped goes on where it was, and the table can be
made again at any time.

    python -m benchmarks.generators --catalog CATALOG --out OUT --photos 60000,5000,500 --budget 60,180,600,1800
    python -m benchmarks.generators --out OUT --table
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.generators_table import PLOT, ROOT, print_tables
from packshot.core.runs import append_jsonl, read_jsonl

SEED = 0


class Yardstick:
    """`fd_efflite0_5k` and agreement against a catalogue's test photos at one size; all of it cached there.

    With too few test photos for a Frechet distance it is `kid_efflite0`. The row says which, by "yardstick".
    """

    def __init__(self, catalog: Path, size: int) -> None:
        from packshot.catalog import open_catalog
        from packshot.evaluation.agreement import cached_classifier
        from packshot.evaluation.features import cached_features
        from packshot.models.features.efflite import load_efflite0

        photos = open_catalog(catalog)
        train, self.test = (photos.packed(split, size, photos.native.channels) for split in ("train", "test"))
        self.net, self.categories = load_efflite0(), photos.categories
        self.real = cached_features(self.net, self.test.images, photos.cache)
        sets = ((p.images, p.labels) for p in (train, self.test))
        self.classifier = cached_classifier(*sets, len(photos.categories), photos.cache)

    def measure(self, samples: Any, *, conditional: bool) -> dict[str, Any]:
        """Returns the figures of uint8 samples [n, S, S, C] in equal shares of the categories."""
        from benchmarks.peers.train import SAMPLE_SEED
        from packshot.evaluation.agreement import compute_agreement
        from packshot.evaluation.distribution import compute_fd, compute_kid
        from packshot.evaluation.evaluate import fit_samples
        from packshot.evaluation.features import compute_features
        from packshot.sampling.generator import equal_shares

        samples = fit_samples(samples, self.test)
        features = compute_features(self.net, samples)
        fd = compute_fd(features, self.real, self.net, seed=SAMPLE_SEED)
        if fd.value is None:
            fd = compute_kid(features, self.real, self.net, seed=SAMPLE_SEED)
        row = {"yardstick": fd.name, "fd": fd.value, "fd_interval": [fd.low, fd.high], "agreement": None}
        if conditional:
            labels = equal_shares(len(samples), len(self.categories))
            figure = compute_agreement(self.classifier, samples, labels, self.categories, seed=SAMPLE_SEED).figure
            row |= {"agreement": figure.value, "agreement_interval": [figure.low, figure.high]}
        return row


def write_grid(samples: Any, columns: int, path: Path, about: dict[str, Any]) -> None:
    """Writes eight rows of samples; a column for each category that was asked for."""
    from packshot.images.picture import Operation, ProductImage
    from packshot.images.resize import to_rgb
    from packshot.images.sheet import contact_sheet
    from packshot.release.door import release

    history = (Operation("sample", "generated", about),)
    pictures = [ProductImage(to_rgb(p), history=history) for p in samples[: 8 * columns]]
    release(contact_sheet(pictures, columns=columns, scale=2), path, overwrite=True)


class Benchmark:
    """The plan of one data set: what is missing in the raw log is trained and measured."""

    def __init__(self, args: argparse.Namespace) -> None:
        from packshot.catalog import open_catalog

        self.args, self.raw = args, args.out / "raw.jsonl"
        photos = open_catalog(args.catalog)
        self.native = photos.native.side
        self.size = args.size or (32 if self.native <= 32 else 64)
        self.data = args.data or args.catalog.name
        self.yardstick: Yardstick | None = None
        (args.out / "work").mkdir(parents=True, exist_ok=True)
        (args.out / "grids").mkdir(exist_ok=True)

    def run(self, names: list[str]) -> None:
        from benchmarks.peers.table import find_competitor

        chosen = [find_competitor(name) for name in names]
        for count in self.args.photos:
            for competitor in chosen:
                size = next((s for s in (self.size, self.native) if s in competitor.sizes), None)
                if size is None:
                    print(f"{competitor.name} makes no {self.size} px pictures: left out")
                    continue
                missing = [b for b in self.args.budget if not self.done(competitor.name, count, b)]
                for budgets in [missing] if competitor.along and missing else [[b] for b in missing]:
                    self.compete(competitor, size, count, budgets)

    def done(self, name: str, count: int, budget: float) -> bool:
        wanted = {"data": self.data, "photos": count, "name": name, "budget": budget}
        return any(r.get("fd") is not None and wanted.items() <= r.items() for r in read_jsonl(self.raw))

    def compete(self, competitor: Any, size: int, count: int, budgets: list[float]) -> None:
        """Trains in another process what was not trained before this benchmark was stopped, then measures."""
        stem = self.args.out / "work" / f"{self.data}-{count}-{competitor.name}"
        left = [b for b in budgets if not Path(f"{stem}-{b:g}.json").exists()]
        about = {"data": self.data, "photos": count, "name": competitor.name}
        about |= {"what": competitor.what, "peer": competitor.peer, "size": size, "seed": SEED}
        if left:
            print(f"{self.data}, {count} photos, {competitor.name}: {', '.join(f'{b:g}' for b in left)} CPU-seconds")
            problem = self.train(competitor, size, count, left, stem)
            if problem:
                print(f"  failed: {problem}")
                append_jsonl(self.raw, {**about, "budget": max(left), "error": problem})
        for budget in budgets:
            if Path(f"{stem}-{budget:g}.json").exists():
                self.measure(competitor, {**about, "budget": budget}, Path(f"{stem}-{budget:g}"))

    def train(self, competitor: Any, size: int, count: int, budgets: list[float], stem: Path) -> str | None:
        """Returns what went wrong, in one line, or None."""
        for budget in budgets:  # What a run that was stopped left behind.
            remove(Path(f"{stem}-{budget:g}-run"))
        command = [sys.executable, "-m", "benchmarks.peers.train", "--catalog", str(self.args.catalog)]
        command += ["--name", competitor.name, "--size", str(size), "--photos", str(count), "--seed", str(SEED)]
        command += ["--samples", str(self.args.samples)]
        command += ["--budgets", ",".join(f"{b:g}" for b in budgets), "--stem", str(stem)]
        if self.args.packages:
            command += ["--packages", str(self.args.packages)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        with Path(f"{stem}.err").open("w") as err:
            code = subprocess.run(command, cwd=ROOT, env={**os.environ, **threads}, stderr=err).returncode
        if code == 0:
            return None
        lines = Path(f"{stem}.err").read_text().splitlines() or [f"exit {code}"]
        try:
            return str(json.loads(lines[-1])["error"])
        except (ValueError, KeyError, TypeError):
            return lines[-1]

    def measure(self, competitor: Any, about: dict[str, Any], stem: Path) -> None:
        import numpy as np

        self.yardstick = self.yardstick or Yardstick(self.args.catalog, self.size)
        pictures, facts = Path(f"{stem}.npy"), Path(f"{stem}.json")
        samples = np.load(pictures)
        figures = self.yardstick.measure(samples, conditional=competitor.conditional)
        row = {**about, **json.loads(facts.read_text()), **figures}
        if row["fd"] is None:
            row["error"] = f"{len(samples)} samples are too few for a distance"
        append_jsonl(self.raw, row)
        grid = self.args.out / "grids" / f"{stem.name}.png"
        write_grid(samples, len(self.yardstick.categories), grid, {"model": competitor.name})
        for path in (facts, pictures, Path(f"{stem}-run")):
            remove(path)
        agreement = "-" if row["agreement"] is None else f"{row['agreement']:.3f}"
        distance = "-" if row["fd"] is None else f"{row['fd']:.0f}"
        print(f"  {row['cpu_seconds']:.0f} CPU-s: {row['yardstick']} {distance}, agreement {agreement}, {grid}")


def remove(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def numbers(kind: type) -> Any:
    return lambda text: sorted(kind(part) for part in text.split(","))


def main(argv: list[str] | None = None) -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--catalog", type=Path, help="made by packshot ingest")
    parser.add_argument("--data", help="name of the data set in the table [the catalogue's folder]")
    parser.add_argument("--photos", type=numbers(int), default=[60_000], help="training photos, with commas")
    parser.add_argument("--budget", type=numbers(float), default=[60.0], help="CPU-seconds, with commas")
    parser.add_argument("--size", type=int, help="pixels [32 for photos up to 32 px, else 64]")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these competitors [all models and peers]")
    parser.add_argument("--packages", type=Path, help="folder with the peers' packages [the environment]")
    parser.add_argument("--samples", type=int, default=5000, help="fewer than 2,048, for trials, give another distance")
    parser.add_argument("--out", type=Path, required=True, help="raw log, grids, work in progress")
    parser.add_argument("--table", action="store_true", help="only make the tables and the plot from the raw log")
    parser.add_argument("--plot", type=Path, default=PLOT, help="folder of the plots")
    args = parser.parse_args(argv)
    if not args.table:
        if args.catalog is None:
            parser.error("--catalog is needed to train; --table alone needs none")
        args.catalog, args.out = args.catalog.resolve(), args.out.resolve()
        packages = args.packages = args.packages.resolve() if args.packages else None
        if packages:
            sys.path.append(str(packages))
        Benchmark(args).run(args.only or default_names())
    print_tables(args.out / "raw.jsonl", args.plot)


def default_names() -> list[str]:
    """Returns all of Packshot's models, and the peers whose packages are installed; says which are not."""
    from importlib.metadata import PackageNotFoundError, version

    from benchmarks.peers.table import PEERS
    from packshot.models.table import PICTURE_MODELS

    names = [name for name in PICTURE_MODELS if name not in {peer.name for peer in PEERS}]
    for peer in PEERS:
        try:
            names += [peer.name] if peer.distribution is None or version(peer.distribution) else []
        except PackageNotFoundError:
            print(f"{peer.name} is left out: {peer.distribution} is not installed (benchmarks/peers/README.md)")
    return names


if __name__ == "__main__":
    main()
