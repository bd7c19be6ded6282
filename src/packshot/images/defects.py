"""Finds damage that is no part of what was photographed: dust, scratches, stains, holes, missing blocks.

Classical and careful: what could be a button, a print, a seam or a joint of the floor is left alone. Each candidate is
judged by what damage has and a photographed thing seldom has: an edge sharper than the picture's own, one flat colour,
quiet surroundings, and no likes of it nearby.

Letters: H, W height and width; L lightness 0 .. 255; M the median of L around a pixel; t the local roughness, the mean
of |L - M|; s the picture's shorter side in units of 500 pixels: all sizes are for s = 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from packshot.images.filters import dilate, max_filter
from packshot.images.resize import Pixels, flatten, resize, to_grey

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

WORK_SIDE = 640
"""A larger picture is searched at this length of its shorter side."""
LEAST_SIDE = 24
"""Nothing is looked for in a smaller picture."""
FLAT = 4
"""Levels within which the colours of a hole or a missing block lie."""
STEP = 30
"""Levels in one channel by which the edge of a hole or a block steps."""
LARGEST = 0.1
"""A larger share of the picture is no hole."""
DUST_STEP, DUST_PEAK, DUST_QUIET = 24.0, 40.0, 14.0
"""Levels by which dust begins to differ from M and differs at most, and within which its surroundings lie."""
DUST_LIGHT, DUST_DARK, DUST_ALONE, DUST_LEAST = 170.0, 75.0, 25.0, 5
"""The least lightness of light dust, the greatest of dark dust; within this many pixels there are at most three other
marks, or it is a pattern; and how many specks there are at least."""
SCRATCH_STEP, SCRATCH_PEAK, SCRATCH_LENGTH = 18.0, 45.0, 40.0
"""Levels by which a scratch begins to differ, and differs in the middle; its least length in pixels."""
SCRATCH_ALONE, PROFILE = 0.1, 9
"""What runs along a scratch, against the scratch itself, at most; and how far to both sides is looked, in pixels."""
SCRATCH_TONE, SCRATCH_EVEN = 165.0, 45.0
"""The least lightness of a light scratch (of a dark one, the darkness), and the levels within which most of it lies."""
STAIN_STEP, STAIN_QUIET = 16.0, 9.0
"""Levels by which a stain differs, and the standard deviation of plain ground."""
EIGHT = np.ones((3, 3), np.bool_)


@dataclass(frozen=True)
class Defect:
    """One piece of damage.

    Attributes:
        kind: "dust", "scratch", "stain", "hole" or "block".
        box: left, top, width, height in pixels of the picture.
        area: in pixels of the picture.
        sure: whether it may be repaired without a person's word.
    """

    kind: str
    box: tuple[int, int, int, int]
    area: int
    sure: bool


@dataclass(frozen=True)
class Defects:
    """What was found.

    Attributes:
        found: all defects, the unsure ones too.
        mask: bool [H, W], the pixels of the sure ones.
        unsure: bool [H, W], the pixels of the others.
    """

    found: tuple[Defect, ...]
    mask: Mask
    unsure: Mask


def find_defects(pixels: Pixels) -> Defects:
    """Finds damage in RGB or RGBA pixels.

    Args:
        pixels: uint8 [H, W, 3] or [H, W, 4]; nothing is looked for where they are transparent.
    """
    height, width = pixels.shape[:2]
    shrink = min(1.0, WORK_SIDE / min(height, width))
    rgb = flatten(pixels)
    hidden = pixels[..., 3] < 255 if pixels.shape[2] == 4 else np.zeros((height, width), np.bool_)
    if shrink < 1:
        size = max(1, round(height * shrink)), max(1, round(width * shrink))
        rgb = resize(rgb, *size)
        hidden = resize(np.where(hidden, np.uint8(255), np.uint8(0))[..., None], *size)[..., 0] > 0
    found = _search(rgb, hidden) if min(rgb.shape[:2]) >= LEAST_SIDE else []
    mask, unsure = np.zeros((height, width), np.bool_), np.zeros((height, width), np.bool_)
    defects = []
    for kind, sure, region in found:
        if shrink < 1:
            grown = dilate(region, 1)
            region = resize(np.where(grown, np.uint8(255), np.uint8(0))[..., None], height, width)[..., 0] > 127
        if not region.any():
            continue
        y, x = np.nonzero(region)
        box = (int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1)
        defects.append(Defect(kind, box, len(y), sure))
        (mask if sure else unsure)[region] = True
    return Defects(tuple(defects), mask, unsure & ~mask)


Found = list[tuple[str, bool, Mask]]


def _search(rgb: Pixels, hidden: Mask) -> Found:
    scale = max(0.5, min(rgb.shape[:2]) / 500)
    found = _flat(rgb, scale)
    covered = hidden.copy()
    for _, _, region in found:
        covered |= dilate(region, 3)
    light = to_grey(rgb)[..., 0]
    rest = light.astype(np.float32) - ndimage.median_filter(light, _odd(9 * scale))
    quiet = np.minimum(np.abs(rest), 12)
    rough = ndimage.uniform_filter(np.where(covered, 0, quiet), _odd(41 * scale))
    lines = _scratches(light, rough, covered, scale)
    for _, sure, region in lines:
        covered |= sure & dilate(region, 3)
    specks = _dust(light, rest, rough, covered, scale)
    stains = _stains(rgb, covered, scale)
    return [*found, *lines, *specks, *stains]


def _flat(rgb: Pixels, scale: float) -> Found:
    """Finds holes and missing blocks: one colour, and a sharp edge all around."""
    flat = np.ones(rgb.shape[:2], np.bool_)
    for c in range(3):
        plane = np.ascontiguousarray(rgb[..., c])
        flat &= max_filter(plane, 1) - (255 - max_filter(255 - plane, 1)) <= FLAT
    label, _ = ndimage.label(flat)
    areas = np.bincount(label.ravel())
    found: Found = []
    looks: list[tuple[float, ...]] = []
    height, width = label.shape
    for number, where in enumerate(ndimage.find_objects(label), 1):
        if areas[number] < 9 * scale or areas[number] > LARGEST * label.size:
            continue
        core, at = _cut(label, number, where, 4)
        part = rgb[at].astype(np.int16)
        colour = np.median(part[core], axis=0)
        region = dilate(core, 1) & (np.abs(part - colour).max(2) <= 3 * FLAT)
        region = ndimage.binary_fill_holes(region)
        ring = dilate(region, 2) & ~dilate(region, 1)
        if not ring.any():
            continue
        sharp = float((np.abs(part[ring] - colour).max(1) >= STEP).mean())
        y, x = np.nonzero(region)
        box = (int(np.ptp(y)) + 1, int(np.ptp(x)) + 1)
        top, left = at[0].start + int(y.min()), at[1].start + int(x.min())
        borders = (top == 0) + (left == 0) + (top + box[0] == height) + (left + box[1] == width)
        if borders > 2:
            continue
        filling = len(y) / (box[0] * box[1])
        if filling >= 0.97 and min(box) >= 5 * scale and len(y) >= 40 * scale**2:
            kind, need = "block", 0.6
        elif filling >= 0.45 and max(box) <= 4 * min(box):
            kind, need = "hole", 0.9
        else:
            continue
        if sharp >= need:
            found.append((kind, True, _whole(region, at, label.shape)))
            looks.append((*colour, np.log2(len(y)) * 40))
    # Buttons, dots and squares of a pattern have likes; so may blocks, but not many.
    table = np.array(looks, np.float32).reshape(-1, 4)
    alike = (np.abs(table[:, None] - table[None]).max(2) <= 12).sum(1)
    most = {"hole": 2, "block": 8}
    return [(k, bool(n <= most[k]), region) for (k, _, region), n in zip(found, alike, strict=True)]


def _dust(light: Pixels, rest: Floats, rough: Floats, covered: Mask, scale: float) -> Found:
    """Finds small sharp specks in quiet surroundings."""
    strong = np.abs(rest) > np.maximum(DUST_STEP, 5 * rough + 10)
    label, _ = ndimage.label(strong, EIGHT)
    found: Found = []
    places = ndimage.find_objects(label)
    middles = np.array([[(s.start + s.stop) / 2 for s in where] for where in places]).reshape(-1, 2)
    for number, where in enumerate(places, 1):
        height, width = (s.stop - s.start for s in where)
        if max(height, width) > 9 * scale + 1:
            continue
        core, at = _cut(label, number, where, round(8 * scale))
        peak = float(np.abs(rest[at][core]).max())
        if peak < DUST_PEAK or core.sum() < 2 or covered[at][core].any():
            continue
        near = np.hypot(*(middles - middles[number - 1]).T) < DUST_ALONE * scale
        ring = ~dilate(core, 2)
        if near.sum() > 4 or ring.sum() < 8 or (strong[at] & ring).any():
            continue
        region = dilate(core, 1) & (np.abs(rest[at]) > DUST_STEP / 3)
        low, high = np.quantile(light[at][ring].astype(np.float32), (0.05, 0.95))
        tone = float(np.quantile(light[at][core], 0.9 if rest[at][core].mean() > 0 else 0.1))
        quiet = high - low <= max(DUST_QUIET, 0.35 * peak)
        if quiet and (tone >= DUST_LIGHT or tone <= DUST_DARK):
            found.append(("dust", True, _whole(region, at, label.shape)))
    # One speck may be a rivet or a knot in the wood; dust comes in numbers.
    return [(kind, len(found) >= DUST_LEAST, region) for kind, _, region in found] if len(found) > 1 else []


def _scratches(light: Pixels, rough: Floats, covered: Mask, scale: float) -> Found:
    """Finds thin long lines of one tone."""
    found: Found = []
    side = _odd(5 * scale)
    for sign in (1, -1):
        plane = light if sign == 1 else 255 - light
        hat = plane.astype(np.float32) - ndimage.grey_opening(plane, (side, side))
        strong = (hat > np.maximum(SCRATCH_STEP, 5 * rough + 8)) & ~covered
        label, _ = ndimage.label(strong, EIGHT)
        for number, where in enumerate(ndimage.find_objects(label), 1):
            if max(s.stop - s.start for s in where) < SCRATCH_LENGTH * scale / 1.5:
                continue
            core, at = _cut(label, number, where, PROFILE + 2)
            judged = _line(core, plane[at], hat[at], scale)
            if judged is not None:
                region = dilate(core, 1) & (hat[at] > SCRATCH_STEP / 3)
                # Light thin lines are rare; dark ones are joints of floors, slits of pockets, folds, threads.
                found.append(("scratch", judged and sign == 1, _whole(region, at, label.shape)))
    return found


def _line(core: Mask, plane: Pixels, hat: Floats, scale: float) -> bool | None:
    """Says whether a region is a scratch; None: it is no thin line at all."""
    y, x = np.nonzero(core)
    points = np.stack([x, y]).astype(np.float64)
    points -= points.mean(1, keepdims=True)
    _, axes = np.linalg.eigh(points @ points.T)
    along, across = axes[:, 1] @ points, axes[:, 0] @ points
    length = float(np.ptp(along))
    thick = len(x) / max(length, 1)
    if length < SCRATCH_LENGTH * scale or thick > 3.2 * scale:
        return None
    bend = np.polynomial.Polynomial.fit(along, across, 3)
    if float(np.sqrt(np.mean((across - bend(along)) ** 2))) > 1.2 * scale:
        return None
    # Rows of what lies across the line: with the line, and at each distance from it on both sides.
    step = np.arange(along.min(), along.max() + 1e-6)
    slope = bend.deriv()(step)
    normal = np.stack([-slope, np.ones_like(slope)]) / np.hypot(1, slope)
    offset = np.arange(-PROFILE, PROFILE + 1)
    u = step[:, None] + normal[0][:, None] * offset
    v = bend(step)[:, None] + normal[1][:, None] * offset
    centre = np.array([x.mean(), y.mean()])
    px = centre[0] + axes[0, 1] * u + axes[0, 0] * v
    py = centre[1] + axes[1, 1] * u + axes[1, 0] * v
    rows = ndimage.map_coordinates(plane.astype(np.float32), [py, px], order=1, mode="nearest")
    middle = rows[:, PROFILE - 1 : PROFILE + 2].max(1)
    tone = ndimage.maximum_filter1d(middle, 5)
    sides = np.concatenate([rows[:, : PROFILE - 3], rows[:, PROFILE + 4 :]], axis=1)
    height = tone - np.median(sides, axis=1)
    if np.median(tone) < SCRATCH_TONE or np.median(height) < SCRATCH_PEAK:
        return None
    # Along a seam, a hem or a joint what lies beside it runs along with it; beside a scratch nothing does.
    profile = rows.mean(0) - np.median(sides)
    beside = np.abs(np.concatenate([profile[: PROFILE - 3], profile[PROFILE + 4 :]]))
    peak = float(profile[PROFILE - 1 : PROFILE + 2].max())
    low, high = np.quantile(tone, (0.1, 0.9))
    alone, even = float(beside.max()) / max(peak, 1.0), float(high - low)
    if alone > 1.5 * SCRATCH_ALONE or even > 1.2 * SCRATCH_EVEN:
        return None
    return bool(alone <= SCRATCH_ALONE and even <= SCRATCH_EVEN and np.quantile(height, 0.1) >= 0.7 * SCRATCH_PEAK)


def _stains(rgb: Pixels, covered: Mask, scale: float) -> Found:
    """Finds lumps of another tint on plain ground."""
    factor = max(1, round(4 * scale))
    height, width = rgb.shape[:2]
    small = resize(rgb, -(-height // factor), -(-width // factor))
    if min(small.shape[:2]) < 20:
        return []
    ground = np.stack([ndimage.median_filter(small[..., c], 19) for c in range(3)], axis=2)
    rest = small.astype(np.float32) - ground
    size = np.abs(rest).max(2)
    label, _ = ndimage.label(size > STAIN_STEP)
    found: Found = []
    for number, where in enumerate(ndimage.find_objects(label), 1):
        core, at = _cut(label, number, where, 5)
        box = [s.stop - s.start for s in where]
        area = int(core.sum())
        if area < 6 or max(box) > 14 or min(box) < 3 or area < 0.6 * box[0] * box[1] or max(box) > 1.8 * min(box):
            continue
        outer = dilate(core, 4) & ~dilate(core, 2)
        if not outer.any() or (at[0].stop - at[0].start) < box[0] + 8 or (at[1].stop - at[1].start) < box[1] + 8:
            continue
        ring = small[at][outer].astype(np.float32)
        inner = small[at][ndimage.binary_erosion(core)].astype(np.float32)
        if len(inner) < 2 or ring.std(0).max() > STAIN_QUIET or inner.std(0).max() > STAIN_QUIET:
            continue
        change = inner.mean(0) - ring.mean(0)
        darker = change @ np.array([0.299, 0.587, 0.114], np.float32)
        sure = bool(ring.std(0).max() < 0.6 * STAIN_QUIET and np.abs(change).max() > 1.5 * STAIN_STEP and darker < 0)
        big = (slice(at[0].start * factor, at[0].stop * factor), slice(at[1].start * factor, at[1].stop * factor))
        part = rgb[big].astype(np.float32)
        if covered[big].any():
            continue
        away = np.abs(part - ring.mean(0)).max(2)
        level = max(8.0, 0.25 * float(np.abs(change).max()))
        pieces, _ = ndimage.label(ndimage.binary_opening(away > level))
        middle = np.kron(core, np.ones((factor, factor), np.bool_))[: part.shape[0], : part.shape[1]]
        names = np.unique(pieces[middle & (pieces > 0)])
        region = ndimage.binary_fill_holes(np.isin(pieces, names))
        if region[0].any() or region[-1].any() or region[:, 0].any() or region[:, -1].any() or not region.any():
            continue
        if sure:  # And yet it may be a print, a button or a shadow: a person has to say.
            found.append(("stain", False, _whole(region, big, (height, width))))
    return found


Window = tuple[slice, slice]


def _cut(label: npt.NDArray[np.int32], number: int, where: Window, margin: int) -> tuple[Mask, Window]:
    """Returns one labelled region with a margin around it, and where that lies."""
    at = tuple(
        slice(max(0, s.start - margin), min(side, s.stop + margin)) for s, side in zip(where, label.shape, strict=True)
    )
    return label[at] == number, (at[0], at[1])


def _whole(region: Mask, at: Window, shape: tuple[int, ...]) -> Mask:
    out = np.zeros(shape, np.bool_)
    out[at] = region
    return out


def _odd(value: float) -> int:
    return 2 * round((value - 1) / 2) + 1
