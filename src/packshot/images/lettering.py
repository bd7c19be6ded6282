"""Lines of text and number plates in a picture, by their strokes: a classical detector, no network.

Letters are blobs of one tone on another, of a height and a stroke's width that their neighbours share, side by side on
a line. So the picture is cut into what is darker and what is lighter than its surroundings (Niblack 1986), the
connected parts of each become blobs, blobs that cannot be letters go, and neighbours that look alike are joined to
lines (in the manner of Epshtein et al. 2010, "Detecting text in natural scenes with stroke width transform"). Letters
of many sizes are found by doing so at several sizes of the picture.

A plate is a single line of 4 to 10 capital-like letters of one height on a plain ground.

What it misses: lines tilted by more than some 20 degrees, upright columns of letters, joined handwriting, letters with
less contrast than CONTRAST, lower than 8 pixels or alone. What it takes for text by mistake: rows of like shapes, such
as eyelets, teeth, prints.

Letters: H, W height and width; I luma; m, s mean and standard deviation of I in a window; n blobs of a line.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from packshot.images.regions import Region
from packshot.images.resize import Pixels, resize, to_grey

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int32]

LONGEST = 1600
"""Side in pixels of the largest size that is looked at; the next ones are half as large."""
SHORTEST = 96
WINDOW = 41
"""Of m and s, in pixels."""
DEVIATION = 0.4
"""A blob differs from m by so many s, and by half of CONTRAST."""
CONTRAST = 36.0
"""Between letters and their ground, in levels of 255."""
STRICT = 2.5
"""On a busy ground a blob differs by so many times as much: there letters grow together with the ground's own blobs
where less will do."""
LOWEST, HIGHEST = 7, 36
"""Height of a blob at the size that it is looked for."""
MAX_BLOBS = 4000
"""Of one size and tone; beyond, the picture is a texture, and only the strongest are looked at."""


@dataclass(frozen=True)
class Line:
    """A line of letters.

    Attributes:
        region: its rectangle, of the kind "text".
        letters: how many blobs it has.
        letter_height: their median height in pixels.
        plate: how much it looks like a number plate, 0 .. 1.
    """

    region: Region
    letters: int
    letter_height: float
    plate: float


@dataclass(frozen=True)
class _Blobs:
    """Candidates for letters of one size and tone; arrays of equal length.

    Attributes:
        top, bottom, left, right: the first row and column, and those after the last.
        tone: mean luma of the blob.
        contrast: by which it differs from its surroundings.
        stroke: width in pixels.
        fill: share of its rectangle.
        label: its number in the picture of labels.
    """

    top: Ints
    bottom: Ints
    left: Ints
    right: Ints
    tone: Floats
    contrast: Floats
    stroke: Floats
    fill: Floats
    label: Ints

    def __getitem__(self, keep: Any) -> _Blobs:
        return _Blobs(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.top)

    @property
    def height(self) -> Ints:
        return self.bottom - self.top

    @property
    def width(self) -> Ints:
        return self.right - self.left


def find_lines(pixels: Pixels, busy: bool = False) -> list[Line]:
    """Returns the lines of text in pixels [H, W, 3 or 4] (uint8), surest first.

    Args:
        pixels: the picture.
        busy: also look for letters that only stand out strongly from a ground that is not plain, as marks over a photo
            do; it takes twice as long.
    """
    height, width = pixels.shape[:2]
    lines: list[Line] = []
    longest = min(LONGEST, 2 * max(height, width))  # Small letters have thin strokes, which enlarging sets apart.
    while longest >= SHORTEST or not lines:
        factor = longest / max(height, width)
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
        grey = to_grey(pixels if size == (height, width) else resize(pixels, *size))[..., 0].astype(np.float32)
        mean = ndimage.uniform_filter(grey, WINDOW, mode="nearest")
        square = ndimage.uniform_filter(grey * grey, WINDOW, mode="nearest")
        margin = np.maximum(DEVIATION * np.sqrt(np.maximum(square - mean * mean, 0)), CONTRAST / 2)
        for sign, strict in itertools.product((-1, 1), (1.0, STRICT) if busy else (1.0,)):
            away = sign * (grey - mean)
            labels, count = ndimage.label(away > strict * margin, np.ones((3, 3), bool))
            blobs = _blobs(grey, labels, count, away)
            for members in _rows(blobs):
                line = _line(blobs[members], grey, labels, factor, height, width)
                if line is not None:
                    lines.append(line)
        if longest < SHORTEST:
            break
        longest //= 2
    return _united(lines, height, width)


def text_of(lines: Sequence[Line], threshold: float) -> list[Region]:
    """Returns the lines as regions of the kind "text".

    Args:
        lines: of `find_lines`.
        threshold: the least confidence, 0 .. 1.
    """
    return [line.region for line in lines if line.region.confidence >= threshold]


def plates_of(lines: Sequence[Line], threshold: float, height: int, width: int) -> list[Region]:
    """Returns what looks like a number plate as regions of the kind "plate", with some of the plate around the letters.

    Args:
        lines: of `find_lines`.
        threshold: the least confidence, 0 .. 1.
        height: of the picture.
        width: of the picture.
    """
    plates = []
    for line in lines:
        r, h = line.region, line.letter_height
        box = (r.x - 0.5 * h, r.y - 0.25 * h, r.x + r.width + 0.5 * h, r.y + r.height + 0.25 * h)
        plate = Region.clipped("plate", box, line.plate, height, width)
        if plate is not None and line.plate >= threshold:
            plates.append(plate)
    return sorted(plates, key=lambda p: -p.confidence)


def _blobs(grey: Floats, labels: Labels, count: int, away: Floats) -> _Blobs:
    """Returns the connected parts that could be letters."""
    boxes = ndimage.find_objects(labels)
    edges = np.array([(s[0].start, s[0].stop, s[1].start, s[1].stop) for s in boxes], np.int64).reshape(-1, 4)
    top, bottom, left, right = edges.T
    flat = labels.ravel()
    area = np.bincount(flat, minlength=count + 1)[1:].astype(np.float32)

    def mean(values: Floats) -> Floats:
        return np.asarray(np.bincount(flat, values.ravel(), count + 1)[1:] / area, np.float32)

    tone = mean(grey)
    spread = np.sqrt(np.maximum(mean(grey * grey) - tone**2, 0))
    # Over a stroke of width t the distance to the ground averages t / 4.
    stroke = 4 * mean(ndimage.distance_transform_edt(labels > 0).astype(np.float32)) - 1
    contrast = 1.5 * mean(away)  # m lies between the letters and the ground, nearer to the ground.
    h, w = bottom - top, right - left
    fill = np.asarray(area / np.maximum(h * w, 1), np.float32)
    inside = (top > 0) & (left > 0) & (bottom < grey.shape[0]) & (right < grey.shape[1])
    keep = inside & (h >= LOWEST) & (h <= HIGHEST) & (w >= 2) & (w <= 3 * h) & (fill > 0.15) & (fill < 0.97)
    keep |= inside & (h >= LOWEST) & (h <= HIGHEST) & (w >= 2) & (h >= 2.5 * w)  # I, l, 1, |
    keep &= (stroke < 0.45 * h) & (contrast >= CONTRAST) & (spread <= 0.6 * contrast)
    blobs = _Blobs(top, bottom, left, right, tone, contrast, stroke, fill, np.arange(1, count + 1))[keep]
    if len(blobs) > MAX_BLOBS:
        blobs = blobs[np.sort(np.argsort(-blobs.contrast, kind="stable")[:MAX_BLOBS])]
    return blobs


def _rows(blobs: _Blobs) -> list[Ints]:
    """Returns the members of each row of three or more blobs that stand side by side and look alike."""
    if len(blobs) < 3:
        return []
    h = blobs.height
    order = np.argsort(blobs.left, kind="stable")
    lefts = blobs.left[order]
    ends = np.searchsorted(lefts, blobs.right + 1.2 * HIGHEST, side="right")
    pairs = [
        np.stack([np.full(ends[i] - k - 1, i), order[k + 1 : ends[i]]]) for k, i in enumerate(order) if ends[i] > k + 1
    ]
    if not pairs:
        return []
    a, b = np.concatenate(pairs, axis=1)
    tall, low = np.maximum(h[a], h[b]), np.minimum(h[a], h[b])
    shared = np.minimum(blobs.bottom[a], blobs.bottom[b]) - np.maximum(blobs.top[a], blobs.top[b])
    gap = blobs.left[b] - blobs.right[a]
    alike = (
        (shared >= 0.6 * low)
        & (tall <= 1.9 * low)
        & (gap <= 0.9 * tall)
        & (gap > -0.3 * low)
        & (np.abs(blobs.tone[a] - blobs.tone[b]) <= np.maximum(25, 0.35 * blobs.contrast[a]))
        & (np.maximum(blobs.stroke[a], blobs.stroke[b]) <= 2.0 * np.minimum(blobs.stroke[a], blobs.stroke[b]) + 1)
    )
    a, b = a[alike], b[alike]
    _, group = connected_components(coo_array((np.ones(len(a)), (a, b)), (len(blobs),) * 2), directed=False)
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    return [members for members in np.split(order, cuts) if len(members) >= 3]


def _line(row: _Blobs, grey: Floats, labels: Labels, factor: float, height: int, width: int) -> Line | None:
    """Returns a row as a line of text with its confidence, in pixels of the picture; None: it is none."""
    h, n = float(np.median(row.height)), len(row)
    x, y = (row.left + row.right) / 2, (row.top + row.bottom) / 2
    if np.ptp(x) < 1.2 * h:
        return None
    slope, start = np.polyfit(x, y, 1)
    off = float(np.std(y - (slope * x + start))) / h
    uneven = float(np.std(row.height) / np.mean(row.height))
    varied = float(np.std(row.width) / np.mean(row.width) + np.std(row.fill) / np.mean(row.fill))
    if abs(slope) > 0.4 or off > 0.3 or uneven > 0.45:
        return None
    contrast = float(np.median(row.contrast))
    # Letters differ in width and fill, the dots of a pattern do not.
    sure = (1 - 1.2 / n) * (1 - off) * (1 - uneven) * min(1.0, varied / 0.3) * min(1.0, contrast / 60)
    sure *= _plain_ground(row, grey, labels, max(2, round(0.3 * h)), contrast)
    margin = 0.2 * h
    box = np.array(
        [row.left.min() - margin, row.top.min() - margin, row.right.max() + margin, row.bottom.max() + margin]
    )
    region = Region.clipped("text", tuple(box / factor), round(sure, 4), height, width)
    if region is None:
        return None
    return Line(region, n, h / factor, round(_as_plate(row, grey, sure), 4))


def _plain_ground(row: _Blobs, grey: Floats, labels: Labels, margin: int, contrast: float) -> float:
    """Returns 1 where nothing but one tone lies between and around the letters, 0 where they are part of a texture."""
    top, left = max(0, int(row.top.min()) - margin), max(0, int(row.left.min()) - margin)
    box = slice(top, int(row.bottom.max()) + margin), slice(left, int(row.right.max()) + margin)
    # Around each letter and not all of the line's rectangle: of a tilted line that holds much else.
    near = np.zeros(labels[box].shape, np.bool_)
    for y0, y1, x0, x1 in zip(row.top - top, row.bottom - top, row.left - left, row.right - left, strict=True):
        near[max(0, y0 - margin // 2) : y1 + margin // 2, max(0, x0 - margin) : x1 + margin] = True
    # A pixel around each letter is half letter, half ground.
    letters = ndimage.binary_dilation(np.isin(labels[box], row.label), np.ones((3, 3), bool))
    ground = grey[box][near & ~letters]
    if ground.size == 0:
        return 0.0
    plain = float(np.mean(np.abs(ground - np.median(ground)) < 0.35 * contrast))
    return min(1.0, max(0.0, (plain - 0.65) / 0.25))


def _as_plate(row: _Blobs, grey: Floats, sure: float) -> float:
    """Returns how much a line looks like a number plate, 0 .. 1."""
    h = np.median(row.height)
    tall = row[(row.height >= 0.85 * h) & (row.height <= 1.15 * h)]
    if not 4 <= len(tall) <= 10 or len(tall) < 0.6 * len(row) or np.median(tall.width / tall.height) > 0.95:
        return 0.0
    if not 2.0 <= (tall.right.max() - tall.left.min()) / h <= 9.0:
        return 0.0
    # The rim above and below each letter, still inside the plate, has to be plain and of the ground's tone.
    rim = max(1, int(0.12 * h))
    strips = [
        grey[slice(max(0, start), max(0, start) + rim), left:right].ravel()
        for top, bottom, left, right in zip(tall.top, tall.bottom, tall.left, tall.right, strict=True)
        for start in (top - rim - 1, bottom + 1)
    ]
    values = np.concatenate(strips)
    if values.size == 0:
        return 0.0
    contrast = float(np.median(row.contrast))
    plain = max(0.0, 1 - float(np.std(values)) / max(1.0, 0.5 * contrast))
    return max(0.0, min(1.0, sure * plain * min(1.0, contrast / 70) * 1.2))


def _united(lines: list[Line], height: int, width: int) -> list[Line]:
    """Returns the lines, those that were found twice (at two sizes, or in two tones) as one that covers both."""
    kept: list[Line] = []
    for line in sorted(lines, key=lambda k: (-k.region.confidence, k.region.y, k.region.x, k.region.area)):
        i = next((i for i, k in enumerate(kept) if _same(k.region, line.region)), None)
        if i is None:
            kept.append(line)
            continue
        a, b = kept[i].region, line.region
        box = (
            min(a.x, b.x), min(a.y, b.y), max(a.x + a.width, b.x + b.width), max(a.y + a.height, b.y + b.height),
        )  # fmt: skip
        both = Region.clipped("text", box, a.confidence, height, width)
        if both is not None and both.height <= 1.5 * a.height:
            kept[i] = Line(both, kept[i].letters, kept[i].letter_height, max(kept[i].plate, line.plate))
    return kept


def _same(a: Region, b: Region) -> bool:
    return 2 * a.shared(b) >= min(a.area, b.area)
