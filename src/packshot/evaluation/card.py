"""The card of a model, with its figures, as a page of Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packshot.core.errors import PackshotError
from packshot.core.files import read_json, write_json
from packshot.core.runs import RunFolder

KEPT = ("name", "value", "low", "high", "n", "n_real", "seed", "protocol")
BY_CATEGORY = ("agreement", "precision", "coverage", "copies")


def add_figures(run: RunFolder, evaluation: Mapping[str, Any]) -> None:
    """Writes the figures of an evaluation into a run's card; nothing where there is no card.

    Args:
        run: its folder.
        evaluation: what `packshot evaluate` found, as a table.
    """
    if not run.card_file.is_file():
        return
    rows = {row["category"]: {"agreement": row["value"], **_part(row)} for row in evaluation["per_category"]}
    figures = {
        "figures": [{k: f[k] for k in KEPT} for f in evaluation["figures"] if f["value"] is not None],
        "figures_by_category": rows,
        "model_sha256": evaluation["model_sha256"],
    }
    write_json(run.card_file, {**read_json(run.card_file), **figures})


def _part(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in BY_CATEGORY[1:]}


def card_page(run_path: Path) -> str:
    """Returns the card of a run, or of a model that comes with the package, as Markdown.

    Raises:
        PackshotError: there is no run, or it has no card yet.
    """
    run = RunFolder.open(run_path)
    if not run.card_file.is_file():
        raise PackshotError(f"The run {run_path} has no card yet; finish it with: packshot train --resume {run_path}")
    try:
        return "\n".join(_lines(read_json(run.card_file))) + "\n"
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise PackshotError(f"{run.card_file} is damaged; restore it from a backup.") from e


def _lines(card: Mapping[str, Any]) -> Iterator[str]:
    data, training = card["data"], card.get("training") or {}
    yield from (f"# {card['name']}", "", f"{card['summary']}.", "")
    yield f"Model after {card.get('source')}. Made with Packshot {card.get('packshot')}."
    yield from ("", "## Data")
    yield from _facts(data)
    for row in card.get("retraining") or ():
        yield f"- To be trained anew: {_number(row['photos'])} photos it learned from were erased on {row['time'][:10]}"
    yield from ("", "## Rights", f"Licence: {card.get('licence')}.")
    yield from _rights(data)
    yield from ("", "## Training")
    for name, words in (("budget", "Budget"), ("seed", "Seed"), ("pictures_seen", "Pictures seen")):
        if name in training:
            yield f"- {words}: {_number(training[name])}"
    if origin := card.get("origin"):
        yield f"- Began with: {origin.get('model')}, SHA-256 {origin.get('sha256')}"
    yield from _cost(card)
    yield from ("", "## Figures")
    yield from _figures(card)
    yield from ("", "## Limits")
    yield from (f"- {limit}" for limit in card.get("limits", []))


def _facts(data: Mapping[str, Any]) -> Iterator[str]:
    learned = data.get("trained_on") or {}
    splits = ", ".join(f"{_number(n)} {name}" for name, n in (data.get("photos") or {}).items())
    yield f"- Photos of the catalogue: {splits}; generated pictures to train on: {_number(data.get('synthetic', 0))}"
    if learned:
        made = _number(learned["synthetic"])
        yield f"- Trained on: {_number(learned['pictures'])} pictures, {made} of them generated"
    for name in ("licences", "sources"):
        counts = (learned or data).get(name) or {}
        yield f"- {name.capitalize()}: {'; '.join(f'{k} ({_number(n)})' for k, n in counts.items()) or 'not known'}"
    if counts := learned.get("categories"):
        yield f"- Categories: {', '.join(f'{name} ({_number(n)})' for name, n in counts.items())}"
    else:
        yield f"- Categories: {', '.join(data['categories'])}"
    yield f"- Checksum of the catalogue: {data.get('catalog_checksum')}"
    if kept := data.get("training_set"):
        yield f"- Root of the training set: {kept['root']}, {_number(kept['photos'])} photos ({kept['algorithm']})"


def _rights(data: Mapping[str, Any]) -> Iterator[str]:
    rights = data.get("rights")
    if rights is None:
        yield "- Which photos were left out was not recorded."
        return
    for reason, n in rights["left_out"].items():
        yield f"- Left out of training: {_number(n)}: {reason}"
    if not rights["left_out"]:
        yield "- No photo was left out of training."
    for note, n in rights["notes"].items():
        yield f"- {_number(n)} photos: {note}"
    for licence in rights["licences_ok"]:
        yield f"- The owner of the catalogue stated that {licence} allows training."


def _cost(card: Mapping[str, Any]) -> Iterator[str]:
    cost = card.get("cost")
    if cost is None:
        if "cpu_seconds" in card:
            yield f"- Time: {card['cpu_seconds']:,.0f} CPU-seconds"
        return
    yield f"- Time: {cost['seconds']:,.0f} s, {cost['cpu_seconds']:,.0f} CPU-seconds"
    if cost["device_seconds"]:
        yield f"- On {cost['ranks']} x {cost['device']}: {cost['device_seconds']:,.0f} GPU-seconds"
    yield f"- Most memory: {cost['peak_memory_mib']:,.0f} MiB in each of {cost['ranks']} processes"
    yield f"- Energy, an estimate: {cost['energy']['estimate_wh']:g} Wh. {cost['energy']['assumption']}"


def _figures(card: Mapping[str, Any]) -> Iterator[str]:
    figures = card.get("figures")
    if not figures:
        yield "Not measured yet: packshot evaluate RUN."
        return
    rows = [[f["name"], _share(f["value"]), f"{_share(f['low'])} to {_share(f['high'])}", f["n"]] for f in figures]
    yield from _table(("figure", "value", "95 % interval", "pictures"), rows)
    old = {name: {"agreement": value} for name, value in card.get("agreement_by_category", {}).items()}
    if by_category := card.get("figures_by_category") or old:
        columns = [name for name in BY_CATEGORY if any(name in row for row in by_category.values())]
        yield ""
        shown = [[name, *(_share(row.get(c)) for c in columns)] for name, row in by_category.items()]
        yield from _table(("category", *columns), shown)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', ' ') for cell in row)} |"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
