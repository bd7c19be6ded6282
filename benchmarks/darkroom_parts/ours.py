"""Packshot as a competitor: each task by the edit that its command runs, with the command's defaults where it can."""

from __future__ import annotations

import json
import tempfile
import time
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import packshot
from benchmarks.darkroom_parts.cases import Case
from benchmarks.darkroom_parts.runner import Runner, one_onnx_thread
from packshot.core.errors import PackshotError
from packshot.images.picture import Operation, ProductImage
from packshot.tasks.edit import Edit, Edited

ATTEST = "These photos are in the public domain (CC0)."
DAY = date(2026, 12, 1)


def runner(edit: Edit, run: Any) -> Runner:
    settings = json.dumps(edit.settings(), sort_keys=True, default=str)
    return Runner(run, f"packshot {packshot.__version__}, settings {sha256(settings.encode()).hexdigest()[:8]}")


def picture(case: Case) -> ProductImage:
    return ProductImage(case.given, history=(Operation("decode", "capture"),))


def said(edited: Edited) -> dict[str, Any]:
    return {"review": float(edited.review is not None), "refused": float(edited.refused is not None)}


def cutout(model: Path | None) -> Runner:
    from packshot.tasks.cutout import Cutout, CutoutRequest

    if model is not None:
        one_onnx_thread()
    edit = Cutout(CutoutRequest(model=model))

    def run(case: Case) -> Any:
        try:
            edited = edit(picture(case))
        except PackshotError as e:  # It found no product: as a matte that is wrong wherever there is one.
            return np.zeros(case.given.shape[:2], np.uint8), {"review": 1.0, "refused": 0.0, "failed": str(e)}
        return edited.image.pixels[..., 3], said(edited)

    return runner(edit, run)


def enhance(scale: int) -> Runner:
    from packshot.tasks.enhance import Enhance, EnhanceRequest

    return _enhanced(Enhance(EnhanceRequest(scale=scale)))


def restore() -> Runner:
    """All three kinds of damage at full strength: nobody tells it which photo has how much of which."""
    from packshot.tasks.enhance import Enhance, EnhanceRequest

    return _enhanced(Enhance(EnhanceRequest(scale=2, denoise=1, jpeg=1, deblur=1, most_change=None)))


def _enhanced(edit: Edit) -> Runner:
    def run(case: Case) -> Any:
        edited = edit(picture(case))
        return edited.image.pixels, said(edited)

    return runner(edit, run)


def repair() -> Runner:
    from packshot.tasks.repair import Repair, RepairRequest

    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "mask.png"

    def edit_of(mask: Any) -> Repair:
        Image.fromarray(mask.astype(np.uint8) * 255).save(file)
        return Repair(RepairRequest(mask=file, attest=ATTEST))

    def run(case: Case) -> Any:
        edited = edit_of(case.more["mask"])(picture(case))
        return edited.image.pixels, {**said(edited), "method": edited.figures["method"]}

    made = runner(edit_of(np.zeros((2, 2), bool)), run)
    made.keep.append(folder)
    return made


def auto() -> Runner:
    from packshot.images.defects import find_defects
    from packshot.models.defects.apply import load_defect_finder

    network = load_defect_finder()
    find = network or find_defects

    def run(case: Case) -> Any:
        defects = find(case.given)
        return np.where(defects.mask, 1, np.where(defects.unsure, 2, 0)).astype(np.uint8), {}

    with_ = f", network {network.checksum[:8]}" if network is not None else ""
    return Runner(run, f"packshot {packshot.__version__}{with_}")


def restyle() -> Runner:
    from packshot.tasks.restyle import Restyle, RestyleRequest

    one_onnx_thread()

    def edit_of(style: str, keep_colours: bool) -> Restyle:
        return Restyle(RestyleRequest(styles=(style,), keep_colours=keep_colours))

    def run(case: Case) -> Any:
        edited = edit_of(case.more["style"], case.more["keep_colours"])(picture(case))
        return edited.image.pixels, said(edited)

    return runner(edit_of("ink", False), run)


class Timed:
    """An edit that notes when each photo begins, by CPU time and by the wall."""

    def __init__(self, edit: Edit) -> None:
        self.edit, self.task = edit, edit.task
        self.starts: list[tuple[float, float]] = []

    def settings(self) -> dict[str, Any]:
        return self.edit.settings()

    def __call__(self, image: ProductImage) -> Edited:
        self.starts.append((time.process_time(), time.monotonic()))
        return self.edit(image)


def shoot() -> Runner:
    """Decoding, everything, writing and the journal; a photo's time is from its begin to the next one's."""
    from packshot.tasks.batch import BatchOptions, edit_photos
    from packshot.tasks.shoot import ShootRequest, build_shoot

    one_onnx_thread()
    edit = build_shoot(ShootRequest(channel="google-merchant", on=DAY, size=1000))

    def run(case: Case) -> Any:
        timed = Timed(edit)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            result = edit_photos(case.more["paths"], timed, out, BatchOptions(quiet=True))
            ends = [*timed.starts[1:], (time.process_time(), time.monotonic())]
            spent = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(timed.starts, ends, strict=True)]
            told = {Path(p.photo).stem: p for p in result.photos}
            rows = []
            for path, (cpu, wall) in zip(case.more["paths"], spent, strict=True):
                p = told.get(path.stem)
                there = p is not None and p.picture is not None and (out / p.picture).is_file()
                kept = p is not None and (there or (p.status in ("refused", "failed") and bool(p.reason)))
                states = {s: float(p is not None and p.status == s) for s in ("done", "review", "refused", "failed")}
                about = {"photo": path.stem, "lost": float(not kept), "reason": p.reason if p else None}
                rows.append({**about, "cpu_seconds": cpu, "seconds": wall, **states})
        return rows, {}

    return runner(edit, run)
