"""One self-contained HTML page about a run: pictures, curves, figures, data, command."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from packshot.catalog import Catalog, Packed, open_catalog
from packshot.catalog.dataset import Split
from packshot.catalog.erase import is_rest_of
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import read_json, sha256_file, write_text
from packshot.core.lineage import OWN, TrainingSet
from packshot.core.random import draw_subset
from packshot.core.runs import RunFolder, read_jsonl
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import to_rgb
from packshot.images.sheet import contact_sheet
from packshot.release.door import encode_labelled
from packshot.sampling.generator import TrainedGenerator, cut_margin, interpolate, load_generator

Pixels = npt.NDArray[np.uint8]
SEED = 0
PER_ROW = 7
WALK_STEPS = 8
MAX_ROWS = 20
STRIP_HEIGHT = 64


def write_report(run_path: Path, *, catalog: Path | None = None, out: Path | None = None) -> Path:
    """Writes the page and returns its path.

    Args:
        run_path: the run folder.
        catalog: the catalogue; None: the one that the run was trained on.
        out: the page; None: `report.html` in the run folder.

    Raises:
        PackshotError: no trained run there, or the catalogue is missing or was changed since.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    run = RunFolder.open(run_path)
    if run.is_shipped:
        raise UsageError(
            f"{run_path} came with Packshot and has no log to report on; its card.json says how it was made."
        )
    about, model_file = run.read(), run.trained_model()
    if not all(about.get(name) for name in ("command", "packshot", "torch", "machine", "catalog_checksum")):
        raise PackshotError(f"{run.run_file} lacks what a report tells; restore it from a backup or train again.")
    photos = open_run_catalog(about, catalog)
    generator = load_generator(model_file)
    evaluation = read_json(run.evaluation_file) if run.evaluation_file.exists() else None
    if not isinstance(evaluation, dict) or evaluation.get("model_sha256") != sha256_file(model_file):
        evaluation = None  # Of an earlier model: the run was resumed since.
    train = run_pictures(photos, about, generator, "train")
    has_test = photos.summary["splits"].get("test", 0) > 0
    beside = run_pictures(photos, about, generator, "test") if has_test else train
    environment = Environment(
        loader=PackageLoader("packshot.evaluation", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        title=f"{about['config']['model']} on {photos.path.name}",
        lead=f"A generator trained on {len(trained_photos(train, about, photos, run).labels):,} product photos"
        f"{_beside(photos)}: "
        f"{about.get('images', 0):,} pictures seen in "
        f"{about.get('seconds', 0):,.0f} s ({about.get('cpu_seconds', 0):,.0f} CPU-seconds).",
        strip_height=STRIP_HEIGHT,
        seed=SEED,
        rows=_sample_rows(generator, beside),
        walks=_walk_rows(generator),
        **_figure_parts(evaluation, generator, train),
        run_path=run_path,
        loss_plot=_curves(read_jsonl(run.log_file), _loss_terms, "loss terms"),
        metric_plot=_curves(read_jsonl(run.metrics_file), _metric_terms, "quick figures"),
        **_catalog_parts(photos),
        command=about["command"],
        made_by=[
            ("Packshot", about["packshot"]),
            ("torch", about["torch"]),
            ("Python", about["machine"]["python"]),
            ("System", about["machine"]["system"]),
            ("Seed", about["config"]["seed"]),
            ("Budget", about["config"]["budget"]),
            ("Catalogue checksum", about["catalog_checksum"]),
        ],
    )
    path = out or run.report_file
    write_text(path, page)
    return path


def open_run_catalog(about: Mapping[str, Any], catalog: Path | None) -> Catalog:
    """Opens the catalogue that a run was trained on, or the one given instead.

    A generator that came with the package knows no catalogue of this machine; any with its categories will do.

    Raises:
        UsageError: such a generator, and no catalogue or one with other categories.
        PackshotError: it is missing, or its contents are not those that the run was trained on.
    """
    if catalog is None and "catalog" not in about:
        raise UsageError("This generator came with Packshot; say which photos to compare with by --catalog.")
    path = catalog or Path(about["catalog"])
    photos = open_catalog(path)
    if "catalog" not in about:
        if list(photos.categories) != about["categories"]:
            raise UsageError(f"The catalogue {path} has other categories than the generator makes.")
        return photos
    if photos.checksum != about["catalog_checksum"] and not is_rest_of(photos, about["catalog_checksum"]):
        raise PackshotError(
            f"The catalogue {path} is not the one this run was trained on: it was changed since, or is another."
        )
    return photos


def run_pictures(photos: Catalog, about: Mapping[str, Any], generator: TrainedGenerator, split: Split) -> Packed:
    """Returns the photos of a split in the generator's own size, channels and framing."""
    spec = generator.spec
    return photos.packed(split, spec.size, 1 if spec.channels == 1 else 3, about["config"]["data"]["fit"])


def trained_photos(
    train: Packed, about: Mapping[str, Any], catalog: Catalog | None = None, run: RunFolder | None = None
) -> Packed:
    """Returns those of the training split that the run was trained on: all, or by its seed as many as `data.limit`.

    Args:
        train: the photos of the split.
        about: run.json.
        catalog: where they come from; None: it holds no generated pictures, among which the run was drawn too.
        run: the run's folder: its own list of photos counts, since others may be trained on now than then.
    """
    data, limit = about["config"]["data"], about["config"]["data"].get("limit")
    if limit is None:
        return train
    if catalog is not None and run is not None and (run.path / OWN).is_file():
        known = TrainingSet.read(run.path / OWN)
        digests = catalog.digests(train.photo_ids)
        return _only(train, [i for i, digest in enumerate(digests) if digest in known])
    drawn_from = train.photo_ids
    if catalog is not None and catalog.synthetic:
        channels: Literal[1, 3] = 1 if train.images.shape[3] == 1 else 3
        drawn_from = catalog.packed("train", train.images.shape[1], channels, data["fit"], synthetic=True).photo_ids
    drawn = {drawn_from[i] for i in draw_subset(len(drawn_from), limit, about["config"]["seed"])}
    return _only(train, [i for i, name in enumerate(train.photo_ids) if name in drawn])


def _only(train: Packed, places: Sequence[int]) -> Packed:
    chosen = np.array(places, np.int64)
    photo_ids = [train.photo_ids[i] for i in chosen]
    return replace(train, images=train.images[chosen], labels=train.labels[chosen], photo_ids=photo_ids)


def _beside(photos: Catalog) -> str:
    return f" and generated pictures ({photos.synthetic:,} in the catalogue)" if photos.synthetic else ""


def _strip(pictures: Iterable[Pixels], operation: Operation) -> str:
    """Returns pictures [H, W, C] side by side as a PNG data address, labelled as what they are."""
    row = [ProductImage(to_rgb(p), history=(operation,)) for p in pictures]
    scale = max(1, STRIP_HEIGHT // row[0].height)
    data = encode_labelled(contact_sheet(row, columns=len(row), scale=scale))
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _sample_rows(generator: TrainedGenerator, real: Packed) -> list[dict[str, Any]]:
    rows = []
    pictures, operation = (
        cut_margin(real.images, real.margin),
        Operation("sample", "generated", {"model": generator.model, "seed": SEED}),
    )
    for label, category in list(enumerate(generator.categories))[:MAX_ROWS]:
        own = np.flatnonzero(real.labels == label)[:PER_ROW]
        fake = generator.sample([label] * PER_ROW, SEED)
        photos = [pictures[i] for i in own] or [np.full_like(fake[0], 255)]
        row = {"category": category, "count": PER_ROW, "fake": _strip(fake, operation)}
        rows.append({**row, "real": _strip(photos, Operation("decode", "capture"))})
    return rows


def _walk_rows(generator: TrainedGenerator) -> list[dict[str, Any]]:
    rows = []
    z = generator.noise(SEED, 0, 2)
    operation = Operation("interpolate", "generated", {"model": generator.model, "seed": SEED})
    for label, category in list(enumerate(generator.categories))[:MAX_ROWS]:
        pictures = generator.pictures(interpolate(z[0], z[1], WALK_STEPS), [label] * WALK_STEPS)
        rows.append({"category": category, "picture": _strip(pictures, operation)})
    return rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _shown(figure: Mapping[str, Any]) -> dict[str, Any]:
    has_interval = figure.get("low") is not None and figure.get("high") is not None
    interval = f"{_number(figure['low'])} to {_number(figure['high'])}" if has_interval else "-"
    return {**figure, "value": _number(figure["value"]), "interval": interval, "meaning": figure.get("meaning", "")}


def _figure_parts(evaluation: Mapping[str, Any] | None, generator: TrainedGenerator, train: Packed) -> dict[str, Any]:
    if evaluation is None:
        return {"figures": [], "figures_note": "", "warnings": [], "per_category": [], "pairs": [], "copies_note": ""}
    pictures, pairs = cut_margin(train.images, train.margin), []
    operation = Operation("sample", "generated", {"model": generator.model})
    for pair in evaluation["nearest"][:8]:
        z = generator.noise(evaluation["seed"], pair["sample"], 1)
        fake = generator.pictures(z, [pair["label"]])[0]
        real = pictures[train.photo_ids.index(pair["photo_id"])]
        pairs.append(
            {
                "sample": _strip([fake], operation),
                "photo": _strip([real], Operation("decode", "capture")),
                "photo_id": pair["photo_id"],
                "distance": f"{pair['distance']:.3g}",
            }
        )
    warnings = [*evaluation["warnings"], *(f["warning"] for f in evaluation["figures"] if f.get("warning"))]
    return {
        "figures": [_shown(f) for f in evaluation["figures"]],
        "figures_note": evaluation["protocol"],
        "warnings": warnings,
        "per_category": [{**_shown(f), "category": f["category"]} for f in evaluation["per_category"]],
        "pairs": pairs,
        "copies_note": evaluation["copies_note"],
    }


def _catalog_parts(photos: Catalog) -> dict[str, Any]:
    summary = photos.summary
    joined = {
        k: ", ".join(f"{name}: {n:,}" for name, n in summary[k].items()) or "none" for k in ("licences", "sources")
    }
    left_out = ", ".join(f"{reason}: {n:,}" for reason, n in summary["left_out"].items()) or "none"
    facts = [
        ("Photos", f"{summary['photos']:,}"),
        ("Generated pictures", f"{photos.synthetic:,} to train on" if photos.synthetic else "none"),
        ("Licences", joined["licences"]),
        ("Sources", joined["sources"]),
        ("Left out", left_out),
        ("Exact duplicates", f"{summary['duplicates']['exact_photos']:,} photos"),
        ("Near duplicates", f"{summary['duplicates']['near_photos']:,} photos"),
        ("Checksum", photos.checksum),
    ]
    counts = [
        {"category": name, "train": f"{n.get('train', 0):,}", "test": f"{n.get('test', 0):,}"}
        for name, n in summary["categories"].items()
    ]
    quality = summary["quality"]
    columns = list(next(iter(quality.values()), {}))
    rows = [{"name": name, "values": [_number(v[c]) for c in columns]} for name, v in quality.items()]
    return {"catalog_facts": facts, "category_counts": counts, "quality": rows, "quality_columns": columns}


def _loss_terms(row: Mapping[str, Any]) -> dict[str, float]:
    skip = {"step", "kimg", "seconds", "cpu_seconds", "img_per_s", "event", "reason"}
    return {k: v for k, v in row.items() if k not in skip}


def _metric_terms(row: Mapping[str, Any]) -> dict[str, float]:
    return {row["name"]: row["value"]} if row.get("value") is not None else {}


def _curves(rows: Sequence[Mapping[str, Any]], terms: Any, title: str) -> str:
    """Returns curves over thousands of pictures as inline SVG, one panel a term; "" when there is nothing to draw."""
    from markupsafe import Markup
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for row in rows for name in terms(row)))
    if not names:
        return ""
    figure = Figure(figsize=(3.2 * min(3, len(names)), 2.3 * -(-len(names) // 3)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(-(-len(names) // 3), min(3, len(names)))).ravel()
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    for panel, name in zip(panels, names, strict=False):
        points = [(row["kimg"], terms(row)[name]) for row in rows if name in terms(row)]
        panel.plot(*zip(*points, strict=True), color="#0b6e4f", linewidth=1.2, marker="." if len(points) < 30 else None)
        panel.set_title(name, fontsize=9)
        panel.set_xlabel("thousand pictures", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.25)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    svg = buffer.getvalue()
    return Markup(svg[svg.index("<svg") :])
