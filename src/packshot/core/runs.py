"""The run folder: where one training run keeps its configuration, log, checkpoints, model and figures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors, read_json, write_json, write_text

SHIPPED = Path(__file__).parents[1] / "shipped"
"""Run folders that come with the package; each is known by its name. They are read, never written."""


REQUIRED: dict[str, type] = {
    "config": dict,
    "config.model": str,
    "config.net": dict,
    "config.data": dict,
    "config.data.fit": str,
    "spec": dict,
    "categories": list,
}
"""What every `run.json` holds, those before their parts. Only what is read without a check of its own stands here."""

OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "catalog": str,
    "catalog_checksum": str,
    "machine": dict,
    "command": str,
    "images": int,
    "seconds": (int, float),
    "cpu_seconds": (int, float),
    "training_set": dict,
    "rights": dict,
    "cost": dict,
}
"""What only some hold: not the generators that come with the package, or only finished runs."""


def shipped_names() -> list[str]:
    """Returns the names of the ready-trained generators that come with the package."""
    return sorted(p.parent.name for p in SHIPPED.glob("*/run.json"))


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run, and the few ways to read and write them."""

    path: Path

    @property
    def run_file(self) -> Path:
        """`run.json`: command, configuration, seeds, versions, catalogue and state of the run."""
        return self.path / "run.json"

    @property
    def log_file(self) -> Path:
        """`log.jsonl`: one object per logged step."""
        return self.path / "log.jsonl"

    @property
    def metrics_file(self) -> Path:
        """`metrics.jsonl`: one object per evaluation made on schedule while training."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints, from which a run goes on."""
        return self.path / "checkpoints"

    @property
    def model_file(self) -> Path:
        """`model.safetensors`: the averaged (EMA) network that makes pictures."""
        return self.path / "model.safetensors"

    @property
    def text_model_file(self) -> Path:
        """`text-model.safetensors`: a copy of the text model that the run was trained with, if it was."""
        return self.path / "text-model.safetensors"

    @property
    def card_file(self) -> Path:
        """`card.json`: what the model is, from which data and licences, and its limits."""
        return self.path / "card.json"

    @property
    def samples(self) -> Path:
        """Folder of the sample grids made on schedule."""
        return self.path / "samples"

    @property
    def evaluation_file(self) -> Path:
        """`evaluation.json`: the figures of the latest `packshot evaluate`."""
        return self.path / "evaluation.json"

    @property
    def report_file(self) -> Path:
        """`report.html`: the page that `packshot report` writes."""
        return self.path / "report.html"

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """Makes a new run folder.

        Raises:
            PackshotError: the folder exists and holds something.
        """
        cls.check_free(path)
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @staticmethod
    def check_free(path: Path) -> None:
        """Makes sure that a new run may use the folder.

        Raises:
            PackshotError: it exists and holds something.
        """
        with disk_errors(path):
            taken = path.exists() and (not path.is_dir() or any(path.iterdir()))
        if taken:
            hint = "go on with it by --resume" if (path / "run.json").exists() else "it holds other files"
            raise PackshotError(f"The run folder {path} exists already: {hint}, or choose another --out.")

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Opens an existing run folder, or one that comes with the package, by its name.

        Raises:
            PackshotError: there is no run at `path`.
        """
        run = cls(path)
        with disk_errors(path):
            there = run.run_file.is_file()
        if there:
            return run
        names = shipped_names()
        if str(path) in names:
            return cls(SHIPPED / path)
        raise PackshotError(
            f"{path} is not a run folder (it has no run.json); train one with: packshot train CATALOG --out {path}"
            + (f"; or use one that comes with Packshot: {', '.join(names)}" if names else "")
        )

    def trained_model(self) -> Path:
        """Returns `model_file`.

        Raises:
            PackshotError: training has not written it yet.
        """
        if not self.model_file.exists():
            raise PackshotError(
                f"The run {self.path} has no model yet; finish it with: packshot train --resume {self.path}"
            )
        return self.model_file

    @property
    def is_shipped(self) -> bool:
        """Whether it comes with the package, so that nothing may be written to it."""
        return self.path.parent == SHIPPED

    def read(self) -> dict[str, Any]:
        """Returns the contents of `run.json`.

        Raises:
            PackshotError: it is not JSON, or a part of `REQUIRED` is missing or of another kind.
        """
        value = read_json(self.run_file)
        for path, kind in {"": dict, **REQUIRED, **OPTIONAL}.items():
            part = value
            for key in filter(None, path.split(".")):
                part = part.get(key)
            if not isinstance(part, kind) and not (part is None and path in OPTIONAL):
                raise PackshotError(
                    f"{self.run_file} does not describe a run of this version of Packshot"
                    f"{f' ({path} is wrong or missing)' if path else ''}; restore it from a backup or train again."
                )
        return dict(value)

    def write(self, values: Mapping[str, Any]) -> None:
        """Replaces `run.json`."""
        write_json(self.run_file, dict(values))

    def update(self, **values: Any) -> None:
        """Changes some keys of `run.json`."""
        self.write({**self.read(), **values})


def append_jsonl(path: Path, row: Mapping[str, Any]) -> None:
    """Adds one JSON object as a line."""
    with disk_errors(path), path.open("a", encoding="utf-8") as f:
        f.write(json.dumps(row) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Returns the JSON objects of a file, oldest first; none when the file is missing. A torn last line is left out."""
    if not path.exists():
        return []
    rows = []
    with disk_errors(path):
        lines = path.read_text(encoding="utf-8").splitlines()
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            break
        if isinstance(row, dict):
            rows.append(row)
    return rows


def keep_rows_up_to(path: Path, step: int) -> None:
    """Drops the rows logged after `step`, so that a resumed run repeats none."""
    rows = read_jsonl(path)
    if path.exists():
        write_text(path, "".join(json.dumps(r) + "\n" for r in rows if r["step"] <= step))
