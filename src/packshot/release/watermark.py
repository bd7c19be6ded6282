"""An invisible watermark: a 40-bit id in the pixels, found again without the original.

    marked = embed(pixels, ident)            # Embedded: marked.pixels; NoRoom where a picture cannot carry an id
    found = detect(pixels)                   # Found or None: found.ident, found.score, found.how

What is added is made by what the detector would see (informed embedding): the waves of the lattice
(`packshot.release.lattice`) are weighted again and again so that each coded bit of the id is read on the right side,
most for those that the picture itself says wrong; everywhere it stays below what is seen. The picture is marked as
weakly as possible: it is marked, compressed to JPEGs in 4:2:0 and read again, and marked more strongly where that
fails. So no mark is claimed that cannot be read. Two qualities are tried, since a photo that was a JPEG of the same
quality before springs back to what it was: its coefficients lie on that quality's grid, and a weak mark does not reach
the next step of it.

False alarms: an id is taken only where the checksum of 24 bits holds, and at most `TRIES` + 1 words are decoded for a
picture, whatever number of scales and shifts was looked at before. The phases and signs of the mark are as good as
random to any picture that was made without it, so each word passes with a chance of 2^-24, and the whole picture
with at most (`TRIES` + 1) 2^-24 = 4.8e-7.

Source: Malvar and Florencio 2003, "Improved spread spectrum"; Miller, Doerr and Cox 2004, "Applying informed coding and
embedding"; and those of `packshot.release.lattice` and `packshot.release.codes`.

Letters: see `packshot.release.lattice`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft

from packshot.core.errors import PackshotError, UsageError
from packshot.images.filters import Bools
from packshot.images.resize import Pixels, flatten
from packshot.release.codes import ID_BITS, decode_id, decode_ids, encode_id
from packshot.release.lattice import (
    POINTS,
    SIDE,
    TILES,
    Complexes,
    Floats,
    Pair,
    Seen,
    beliefs,
    directions,
    expected,
    lattice,
    look,
    noise_around,
    spectrum,
    spectrum_and_noise,
    waves,
)

LEAST_SIDE = 256
"""The shorter side, in pixels, that a picture needs."""
FIRST = (0.3, 0.7)
"""Between these is the first level that is tried. At level 1 the mark has the rms that `room` allows."""
LOUDER, CALM, LOUDEST = 1.25, 0.9, 1.1
"""Each level is so much stronger than the last; above the second only to be read at all; none is above the third."""
LEAST_PSNR = 40.5
"""No mark is stronger than this, in dB of RGB over the whole picture."""
PEAK = 2.0
"""How far the mark may rise above its rms: where many waves meet, a spot would be seen."""
MARGIN = 0.05
"""An id must be read even if each coded bit stood so many standard deviations worse."""
ROUNDS = 6
STEP = 0.3
TRIES = 7
SCALES = (0.45, 1.8)
"""A crop has a scale below 1, a padded picture one above 1."""
SCALE_STEP = 0.006
GRID = 64
"""Shifts that are looked at, along each side of a tile."""
FINE = 16
"""Steps of a grey level that a mark is made in, before it is dithered."""


Reading = tuple[float, tuple[Floats, Floats]]
"""The scale, and what is seen of each coded bit with its variance (`packshot.release.lattice.beliefs`)."""


class NoRoom(PackshotError):
    """The picture, or the part of it that may be changed, cannot carry an id."""


@dataclass(frozen=True)
class Embedded:
    """A marked picture.

    Attributes:
        pixels: uint8, of the shape that came in; the alpha is the same, as are all pixels that may not be changed.
        ident: the id.
        level: how strong the mark is: see `FIRST`.
        spare: whether the id is also read from a JPEG of quality 70.
    """

    pixels: Pixels
    ident: int
    level: float
    spare: bool


@dataclass(frozen=True)
class Found:
    """An id that was read.

    Attributes:
        ident: the id.
        score: how far the mark stands out, in standard deviations of what a picture without one gives.
        scale: of the picture to the marked one: below 1 a crop, above 1 a padded picture.
        how: what made it certain, in words.
    """

    ident: int
    score: float
    scale: float
    how: str


def embed(pixels: Pixels, ident: int, *, where: Bools | None = None, keep_white: bool = True) -> Embedded:
    """Returns the picture with an id in it. The same input gives the same pixels.

    Args:
        pixels: uint8 [H, W, 3|4]; pixels of alpha 0 are not changed.
        ident: in [0, 2^40).
        where: bool [H, W], the only pixels that may be changed; None: all.
        keep_white: whether pixels that are exactly 255, 255, 255 stay so.

    Raises:
        NoRoom: the id could not be read from the result after a JPEG of quality 75.
        UsageError: the id has more than 40 bits, or `where` another size.
    """
    height, width = pixels.shape[:2]
    if not 0 <= ident < 1 << ID_BITS:
        raise UsageError(f"A watermark's id has {ID_BITS} bits; got {ident}.")
    if where is not None and where.shape != (height, width):
        raise UsageError(f"where has {where.shape}, the picture {(height, width)}: they must be the same.")
    if min(height, width) < LEAST_SIDE:
        raise NoRoom(f"The picture is {width}x{height}; a watermark needs {LEAST_SIDE} px on the shorter side.")
    seen = look(pixels)
    free = _free(pixels, where, keep_white)
    room = seen.room if free is None else _within(seen.room, free)
    if not room[0].any():
        raise NoRoom("No pixel of the picture may be changed: a watermark has no room.")
    mark = _informed(seen, room, encode_id(ident))
    best: Embedded | None = None
    for level in _levels(seen, mark):
        if best and level > CALM:
            break
        marked = _added(pixels, mark, level, free)
        full, half = _survives(marked, ident)
        if half:
            return Embedded(marked, ident, level, spare=True)
        if full and best is None:
            best = Embedded(marked, ident, level, spare=False)
    if best is None:
        raise NoRoom("The picture has too little that may be changed to carry a watermark that can be read again.")
    return best


def detect(pixels: Pixels) -> Found | None:
    """Returns the id that a picture carries, or None. The original is not needed.

    Args:
        pixels: uint8 [H, W, 3|4], of any size; whole, resized, cropped, padded, or compressed.
    """
    if min(pixels.shape[:2]) < 16:
        return None
    seen = look(pixels)
    if not any(seen.gain):  # All is white: no mark has ever been there.
        return None
    number = 0
    for readings in (_read_whole, _read_places):
        scales, found = zip(*readings(seen), strict=True)
        idents = decode_ids(np.stack([belief for belief, _ in found]))
        for scale, (belief, variance), ident in zip(scales, found, idents, strict=True):
            number += 1
            if ident is not None:
                score = float(encode_id(ident) @ belief / np.sqrt(variance.sum()))
                how = f"the 24-bit checksum holds for word {number} of at most {TRIES + 1}; scale {scale:.3f}"
                return Found(ident, score, scale, how)
    return None


def _read_whole(seen: Seen) -> list[Reading]:
    return [(1.0, _whole(seen))]


def _read_places(seen: Seen) -> list[Reading]:
    """Returns what is read at the `TRIES` places of a picture where the mark is likeliest, the likeliest first."""
    search = _Search(seen)
    return [(place.scale, search.beliefs(place)) for place in search.places()]


def _free(pixels: Pixels, where: Bools | None, keep_white: bool) -> Bools | None:
    """Returns the pixels that may be changed, bool [H, W]; None: all."""
    fixed: Bools | None = None if where is None else ~where
    if keep_white:
        white = (pixels[..., 0] & pixels[..., 1] & pixels[..., 2]) == 255
        fixed = white if fixed is None else fixed | white
    if pixels.shape[2] == 4:
        hidden = pixels[..., 3] == 0
        fixed = hidden if fixed is None else fixed | hidden
    return None if fixed is None or not fixed.any() else ~fixed


def _within(room: Pair, free: Bools) -> Pair:
    """Returns `room` where pixels may be changed: bool [h, w], seen at the room's size."""
    height, width = room[0].shape
    share = Image.fromarray(free.astype(np.uint8) * np.uint8(255)).resize((width, height), Image.Resampling.BOX)
    part = np.asarray(share, np.float32) / np.float32(255)
    return room[0] * part, room[1] * part


def _informed(seen: Seen, room: Pair, code: Floats) -> Pair:
    """Returns what to add to lightness and blue-yellow, float32 [H, W] each, at level 1."""
    at, planes = lattice(), (0, 1)
    own = [spectrum_and_noise(seen.busy[p], seen.floor[p]) for p in planes]
    noise = own[0][1], own[1][1]
    q = expected(seen.gain[0], noise[0]), expected(seen.gain[1], noise[1])
    known = q[0][at.sync[0]], q[1][at.sync[1]]
    amplitude = _unit(directions(code, (np.ones_like(known[0]), np.ones_like(known[1])), q))
    for _ in range(ROUNDS):
        added = [room[p] * waves(amplitude[p], seen.shape) for p in planes]
        y, c = ((own[p][0] + spectrum(seen.trust[p] * added[p])) / noise[p] for p in planes)
        belief, variance = beliefs((y, c), q)
        spread = np.sqrt(variance)
        bits = code * _wanted(np.asarray(code * belief / spread, np.float32)) / spread
        turned = [(z * np.conj(at.phase[p])).real[at.sync[p]] for p, z in zip(planes, (y, c), strict=True)]
        pulls = _wanted(turned[0]) / known[0], _wanted(turned[1]) / known[1]
        goal = directions(bits.astype(np.float32), pulls, q)
        back = [spectrum(seen.trust[p] * room[p] * waves(goal[p] / noise[p], seen.shape)) for p in planes]
        turn = _unit((back[0], back[1]))
        amplitude = _unit((amplitude[0] + STEP * turn[0], amplitude[1] + STEP * turn[1]))
    peaks = [np.clip(waves(amplitude[p], seen.shape), -PEAK, PEAK) for p in planes]
    return room[0] * peaks[0], room[1] * peaks[1]


def _wanted(standing: Floats) -> Floats:
    """Returns how much a bit is wanted that stands so many standard deviations on its right side."""
    return np.asarray(1 / (1 + np.exp(np.clip(standing - 2, -20, 20))), np.float32)


def _unit(points: tuple[Complexes, Complexes]) -> tuple[Complexes, Complexes]:
    """Returns the amplitudes of waves that have an rms of 1 in each plane."""
    y, c = (p * np.float32(np.sqrt(2 / max(float(np.sum(np.abs(p) ** 2)), 1e-30))) for p in points)
    return y, c


def _levels(seen: Seen, mark: Pair) -> list[float]:
    """Returns the levels to try, weakest first: from what the noise of the picture and of a JPEG make likely."""
    jpeg = np.hypot(seen.gain[0] / seen.floor[0], seen.gain[1] / seen.floor[1])
    own = float(np.mean(np.abs(spectrum(seen.busy[0])))) * np.sqrt(POINTS) / max(seen.gain[0], 1e-6)
    first = float(np.clip((45 + 40 * own) / max(jpeg, 1e-6), *FIRST))
    # A step in Cb moves G by -0.344 and B by 1.772.
    error = float(np.mean(mark[0] ** 2) + np.mean(mark[1] ** 2) * (0.344**2 + 1.772**2) / 3)
    most = float(np.sqrt(255**2 / 10 ** (LEAST_PSNR / 10) / max(error, 1e-9)))
    levels = [first * LOUDER**step for step in range(int(np.log(LOUDEST / first) / np.log(LOUDER)) + 1)]
    return sorted({min(level, most) for level in levels})


def _added(pixels: Pixels, mark: Pair, level: float, free: Bools | None) -> Pixels:
    """Returns pixels with the mark, scaled to their size and dithered."""
    height, width = pixels.shape[:2]
    y, c = mark[0] * np.float32(level * FINE), mark[1] * np.float32(level * FINE)
    steps = np.stack([y, y - np.float32(0.344) * c, y + np.float32(1.772) * c], -1)
    small = Image.fromarray((np.clip(np.rint(steps), -112, 96) + 128).astype(np.uint8))
    large = np.array(small.resize((width, height), Image.Resampling.BICUBIC))
    tile = _dither()
    size = len(tile)
    row = np.tile(tile, (1, -(-width // size), 1))[:, :width]
    marked = pixels.copy()
    for top in range(0, height, size):  # A band at a time stays in the cache.
        part = slice(top, top + size)
        band = large[part]
        band += row[: len(band)]
        band >>= 4
        change = band - np.int16(128 // FINE)
        if free is not None:
            flat = change.reshape(len(band), -1)
            flat *= np.repeat(free[part], 3, 1)
        np.copyto(marked[part, :, :3], np.clip(pixels[part, :, :3] + change, 0, 255), casting="unsafe")
    return marked


@cache
def _dither() -> Pixels:
    """Returns thresholds in [0, 16) for a tile, uint8 [64, 64, 3] (Jimenez 2014, interleaved gradient noise)."""
    y, x, channel = np.mgrid[0:64, 0:64, 0:3].astype(np.float64)
    x, y = x + 5 * channel, y + 29 * channel
    return np.asarray(52.9829189 * (0.06711056 * x + 0.00583715 * y) % 1 * FINE, np.uint8)


def _survives(marked: Pixels, ident: int) -> tuple[bool, bool]:
    """Returns whether the id is read from a JPEG of quality 75, and then also from one of quality 70."""
    full = _reads(_jpeg(marked, 75), ident)
    return full, full and _reads(_jpeg(marked, 70), ident)


def _jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Returns pixels after a JPEG in 4:2:0; a large one is read at half its size, which costs less."""
    rgb = flatten(pixels) if pixels.shape[2] == 4 else pixels
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality, subsampling=2)
    with Image.open(file) as read:
        if max(read.size) >= 2 * SIDE:
            read.draft("RGB", (read.width // 2, read.height // 2))
        return np.asarray(read)


def _reads(pixels: Pixels, ident: int) -> bool:
    """Returns whether a picture that was not cropped gives the id, with `MARGIN` to spare."""
    belief, variance = _whole(look(pixels))
    return decode_id(belief - np.float32(MARGIN) * np.sqrt(variance) * encode_id(ident)) == ident


def _whole(seen: Seen) -> tuple[Floats, Floats]:
    """Returns what is seen of each coded bit where the picture was not cropped, and its variance."""
    (y, y_noise), (c, c_noise) = (spectrum_and_noise(b, f) for b, f in zip(seen.busy, seen.floor, strict=True))
    q = expected(seen.gain[0], y_noise), expected(seen.gain[1], c_noise)
    return beliefs((y / y_noise, c / c_noise), q)


class _Place(NamedTuple):
    """Where the lattice may lie: its scale, and its shift in tiles, seen from the picture's centre."""

    scale: float
    down: float
    right: float


class _Search:
    """Where the lattice lies in a picture, and what is read there."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        height, width = seen.shape
        self.spectra, self.noise = [], []
        for busy, floor in zip(seen.busy, seen.floor, strict=True):
            padded = np.zeros((2 * SIDE, 2 * SIDE), np.float32)
            padded[:height, :width] = busy
            centred = np.roll(padded, (-(height // 2), -(width // 2)), (0, 1))
            self.spectra.append(fft.rfft2(centred))
            self.noise.append(noise_around(self.spectra[-1], 2 * TILES, floor))

    def places(self) -> Iterator[_Place]:
        """Yields the `TRIES` places where the known phases agree best, the best first."""
        at, scales = lattice(), _scales()
        agreement = np.zeros((len(scales), GRID, GRID // 2 + 1), np.complex64)
        power = np.zeros(len(scales), np.float32)
        for plane, (z, q) in enumerate(self._seen_at(scales)):
            points = at.sync[plane]
            turned = z[:, points] * np.conj(at.phase[plane][points]) * q[:, points]
            agreement[:, at.ky[points] % GRID, at.kx[points]] += turned
            power += np.sum(q[:, points] ** 2, 1)
        edge = agreement[:, :, 0]
        agreement[:, :, 0] = edge + np.conj(np.roll(edge[:, ::-1], 1, 1))
        peaks = fft.irfft2(agreement, s=(GRID, GRID)).reshape(len(scales), -1)
        best = peaks.max(1) / np.sqrt(power)
        taken: list[int] = []
        for number in np.argsort(-best, kind="stable"):
            if len(taken) < TRIES and all(abs(number - other) > 1 for other in taken):
                taken.append(int(number))
                down, right = divmod(int(peaks[number].argmax()), GRID)
                yield self._refined(_Place(float(scales[number]), down / GRID, right / GRID))

    def beliefs(self, place: _Place) -> tuple[Floats, Floats]:
        """Returns what is seen of each coded bit at a place, and its variance (`packshot.release.lattice.beliefs`)."""
        at = lattice()
        (y, y_q), (c, c_q) = self._seen_at(np.array([place.scale]))
        turn = np.exp(2j * np.pi * (at.ky * place.down + at.kx * place.right)).astype(np.complex64)
        return beliefs((y[0] * turn, c[0] * turn), (y_q[0], c_q[0]))

    def _refined(self, place: _Place) -> _Place:
        """Returns the place near this one where the known phases agree best."""
        at = lattice()
        scales = place.scale * (1 + np.linspace(-0.003, 0.003, 7))
        step = np.linspace(-1, 1, 5) / GRID
        down, right = (s.ravel() for s in np.meshgrid(place.down + step, place.right + step, indexing="ij"))
        total = np.zeros((len(scales), len(down)), np.float32)
        for plane, (z, q) in enumerate(self._seen_at(scales)):
            points = at.sync[plane]
            turned = z[:, points] * np.conj(at.phase[plane][points]) * q[:, points]
            shift = np.exp(2j * np.pi * (np.outer(at.ky[points], down) + np.outer(at.kx[points], right)))
            total += (turned @ shift).real
        scale, shift_number = divmod(int(total.argmax()), len(down))
        return _Place(float(scales[scale]), float(down[shift_number]), float(right[shift_number]))

    def _seen_at(self, scales: npt.NDArray[np.float64]) -> list[tuple[Complexes, Floats]]:
        """Returns z and q, [len(scales), n] each, of both planes; between bins the spectrum is bilinear."""
        at, size = lattice(), 2 * SIDE
        y, x = (scales[:, None] * (2 * TILES * k) for k in (at.ky, at.kx))
        top, left = np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)
        low, far = (y - top).astype(np.float32), (x - left).astype(np.float32)
        found = []
        for plane, (whole, noise) in enumerate(zip(self.spectra, self.noise, strict=True)):
            upper = (1 - far) * whole[top % size, left] + far * whole[top % size, left + 1]
            lower = (1 - far) * whole[(top + 1) % size, left] + far * whole[(top + 1) % size, left + 1]
            around = noise[np.rint(y).astype(np.intp) % size, np.rint(x).astype(np.intp)]
            z = ((1 - low) * upper + low * lower) / around
            found.append((z, expected(self.seen.gain[plane], around)))
        return found


@cache
def _scales() -> npt.NDArray[np.float64]:
    return np.asarray(np.exp(np.arange(np.log(SCALES[0]), np.log(SCALES[1]), SCALE_STEP)), np.float64)
