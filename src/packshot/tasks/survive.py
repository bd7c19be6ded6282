"""The gauntlet: what is left of a picture's labels after what happens to pictures on their way.

Each trial does one thing to the file as a program would that keeps XMP but knows nothing of C2PA, and reads the result
as `packshot verify` does. Resized and cropped pictures are written as PNG, so that nothing else is tried at once.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from packshot.core.files import atomic_path, write_json
from packshot.images.decode import Limits, decode
from packshot.images.encode import MAX_JPEG_XMP
from packshot.images.resize import Pixels, flatten, resize
from packshot.release.claims import Claims, read_claims
from packshot.release.door import check_free
from packshot.release.trace import Fingerprint
from packshot.release.watermark import detect
from packshot.tasks.verify import trace_file

LAYERS = ("c2pa", "xmp", "watermark", "fingerprint")
SUBSAMPLING = {"4:2:0": 2, "4:4:4": 0}
QUALITIES = (50, 60, 75, 85, 90, 95)
WEBP = (50, 75, 90)
SCALES = (0.25, 0.5, 0.75, 1.5, 2.0)
CROPS = (5, 10, 20)
"""Percent of width and of height that is cut off, a third of it at the left and at the top."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one thing left.

    Attributes:
        name: what was done.
        bytes: size of the file then.
        width: in pixels.
        height: in pixels.
        layers: by the names of `LAYERS`: whether it is left; None: it was not there before.
    """

    name: str
    bytes: int
    width: int
    height: int
    layers: Mapping[str, bool | None]


@dataclass(frozen=True, kw_only=True)
class Survived:
    """What became of one file.

    Attributes:
        file: its name.
        mark: the id in its pixels, ten hex digits; None: it carries no watermark.
        registered: whether it leads to a picture of this register.
        trials: in order.
        notes: sentences.
        table: the trials as JSON, or None.
        plot: the trials as a PNG, or None.
    """

    file: str
    mark: str | None
    registered: bool
    trials: tuple[Trial, ...]
    notes: tuple[str, ...] = ()
    table: str | None = None
    plot: str | None = None

    def left(self, layer: str) -> tuple[int, int] | None:
        """Returns after how many trials a layer is left, and of how many; None: it was not there."""
        seen = [trial.layers[layer] for trial in self.trials]
        return None if None in seen else (sum(bool(v) for v in seen), len(seen))


def survive(path: Path, *, out: Path | None = None, overwrite: bool = False) -> Survived:
    """Puts a picture through the gauntlet; the file itself stays as it is.

    Args:
        path: a picture.
        out: folder for NAME.survive.json and NAME.survive.png; None: none is written.
        overwrite: whether files of these names may be replaced.

    Raises:
        BadPicture: the file cannot be read.
        PackshotError: a file is there already, or the disk refuses.
    """
    table, plot = (None, None) if out is None else (out / f"{path.name}.survive.{e}" for e in ("json", "png"))
    if table is not None and plot is not None and not overwrite:
        check_free([table, plot])
    image = decode(path)
    claims = read_claims(image)
    found = detect(image.pixels)
    mark = None if found is None else f"{found.ident:010x}"
    traced = trace_file(path, image, claims, mark)
    own = Fingerprint(image.pixels)
    home = (own.dhash, own.thumb) if traced is None else (traced.entry.dhash, traced.entry.thumb)
    before = _Before(claims, mark, home)
    trials = tuple(
        before.tried(name, data)
        for name, data in (("as it is", path.read_bytes()), *_files(image.pixels, image.metadata.xmp))
    )
    notes = [] if mark else ["The file carries no watermark: a stripped copy can be found by its likeness alone."]
    if traced is None:
        notes.append("The file is not in the register: its fingerprint is compared with its own, as if it were.")
    result = Survived(
        file=str(path),
        mark=mark,
        registered=traced is not None,
        trials=trials,
        notes=tuple(notes),
        table=None if table is None else str(table),
        plot=None if plot is None else str(plot),
    )
    if table is not None and plot is not None:
        rows = [{"name": t.name, "bytes": t.bytes, "width": t.width, "height": t.height, **t.layers} for t in trials]
        write_json(table, {"file": path.name, "mark": mark, "notes": notes, "trials": rows})
        _draw(plot, path.name, trials)
    return result


class _Before:
    """What was there before: what each trial is held against."""

    def __init__(self, claims: Claims, mark: str | None, home: tuple[str, bytes]) -> None:
        self.claims, self.mark, self.home = claims, mark, home

    def tried(self, name: str, data: bytes) -> Trial:
        image = decode(data, limits=Limits(max_bytes=2**31, max_pixels=2**29))
        claims, before = read_claims(image), self.claims
        height, width = image.pixels.shape[:2]
        layers: dict[str, bool | None] = dict.fromkeys(LAYERS)
        if before.manifest is not None:
            layers["c2pa"] = claims.manifest is not None and not claims.changed
        if before.iptc is not None or before.china is not None:
            layers["xmp"] = (claims.iptc, claims.china) == (before.iptc, before.china)
        if self.mark is not None:
            found = detect(image.pixels)
            layers["watermark"] = found is not None and found.ident == int(self.mark, 16)
        layers["fingerprint"] = Fingerprint(image.pixels).likeness(*self.home).near
        return Trial(name=name, bytes=len(data), width=width, height=height, layers=layers)


def _files(pixels: Pixels, packet: bytes | None) -> Iterator[tuple[str, bytes]]:
    """Yields the name of each trial, and the file that it leaves."""
    height, width = pixels.shape[:2]
    for quality in QUALITIES:
        for name, number in SUBSAMPLING.items():
            yield f"JPEG q{quality} {name}", _saved(pixels, "JPEG", packet, quality=quality, subsampling=number)
    for quality in WEBP:
        yield f"WebP q{quality}", _saved(pixels, "WEBP", packet, quality=quality)
    yield "PNG", _saved(pixels, "PNG", packet)
    for scale in SCALES:
        size = max(1, round(height * scale)), max(1, round(width * scale))
        yield f"resize {scale:g}", _saved(resize(pixels, *size), "PNG", packet)
    for percent in CROPS:
        off = height * percent // 100, width * percent // 100
        top, left = off[0] // 3, off[1] // 3
        cut = pixels[top : height - off[0] + top, left : width - off[1] + left]
        yield f"crop {percent} %", _saved(cut, "PNG", packet)
    yield "metadata stripped", _saved(pixels, "PNG", None)
    small = resize(flatten(pixels), max(1, round(height * 0.9)), max(1, round(width * 0.9)))
    yield "screenshot", _saved(small, "JPEG", None, quality=80, subsampling=2)


def _saved(pixels: Pixels, kind: str, packet: bytes | None, **options: int) -> bytes:
    """Returns pixels as a file with this XMP, where the format can hold it."""
    extra: dict[str, Any] = dict(options)
    if packet is not None and kind == "PNG":
        extra["pnginfo"] = PngInfo()
        extra["pnginfo"].add_itxt("XML:com.adobe.xmp", packet.decode("utf-8", "replace"))
    elif packet is not None and (kind != "JPEG" or len(packet) <= MAX_JPEG_XMP):
        extra["xmp"] = packet
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(flatten(pixels) if kind == "JPEG" else pixels)).save(out, kind, **extra)
    return out.getvalue()


def _draw(path: Path, name: str, trials: Sequence[Trial]) -> None:
    """Writes the table as a picture: green is left, red is gone, grey was not there."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    values = np.array([[{None: 0, False: 1, True: 2}[trial.layers[layer]] for layer in LAYERS] for trial in trials])
    figure = Figure(figsize=(5.2, 0.26 * len(trials) + 1.1), layout="constrained")
    axes = figure.subplots()
    axes.imshow(values, cmap=ListedColormap(["#d9d9d9", "#c0392b", "#0b6e4f"]), vmin=0, vmax=2, aspect="auto")
    axes.set_xticks(range(len(LAYERS)), LAYERS, fontsize=8)
    axes.set_yticks(range(len(trials)), [trial.name for trial in trials], fontsize=8)
    axes.set_xticks(np.arange(-0.5, len(LAYERS)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(trials)), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.xaxis.tick_top()
    words = {0: "was not there", 1: "gone", 2: "left"}
    for (row, column), value in np.ndenumerate(values):
        colour = "#555555" if value == 0 else "white"
        axes.text(column, row, words[int(value)], ha="center", va="center", fontsize=7, color=colour)
    shown = "".join(c if c.isprintable() else "?" for c in name)[-60:].replace("$", r"\$")
    axes.set_title(f"What is left of {shown}", fontsize=9)
    with atomic_path(path) as temporary, temporary.open("wb") as f:
        figure.savefig(f, format="png", dpi=120, metadata={"Software": None})
