"""What the invisible watermark's detector sees: a small copy of the picture, and its spectrum at known frequencies.

The picture is seen at a canonical size (`SIDE`), so a resized picture looks the same. The mark repeats in `TILES` tiles
along the longer side; so it lives at the multiples of one frequency (a lattice), where one Fourier transform finds it
at any scale, and a crop only turns its phases. Each of the lattice's points carries two coded bits (real and imaginary
part), or, one in five, a known phase: the detector finds scale and shift by those. Lightness and blue-yellow carry the
same coded bits at different points.

Letters: H W the canonical size, [h, w] a picture's, n the lattice's points, m how much a pixel may change before it is
seen (grey levels), W how far the detector trusts a pixel, r what is left of a plane without its slow changes, N the
noise at a point of the lattice, z the spectrum of W r over N, q how large a mark should be there in units of N.

Source: Cox et al. 1997, "Secure spread spectrum watermarking for multimedia"; Pereira and Pun 2000, "Robust template
matching for affine resistant image watermarks"; Kutter 1998, "Watermarking resisting to translation, rotation, and
scaling" (a mark that repeats); Podilchuk and Zeng 1998 (what is seen decides where the mark goes).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft, ndimage

from packshot.images.resize import Pixels, flatten
from packshot.release.codes import CODED_BITS

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]
Ints = npt.NDArray[np.intp]
Pair = tuple[Floats, Floats]
"""One for lightness, one for blue-yellow."""

SIDE = 384
"""Longer side of the picture as it is seen."""
TILES = 4
PERIOD = SIDE // TILES
POINTS = 242
DATA_POINTS = CODED_BITS // 2
INNER = 1.5
"""Radius, in units of the lattice, inside which nothing is put: light and shade are there."""
MARK = b"packshot watermark 1"
"""What the positions and phases are drawn from; another one is another mark."""
LARGEST_Q = 3.0
WHITE_FROM, WHITE_AT = 250, 254
"""A pixel whose least channel is above the first counts as partly white; from the second on it tells nothing."""
FLAT = (0.6, 1.8)
"""How much lightness and blue-yellow may change (rms, grey levels) where nothing else is to be seen."""
BUSY = ((0.3, 0.0), (0.12, 0.25))
"""How much more with each grey level of texture that lightness, and that blue-yellow, has around."""
MOST = (2.6, 2.7)
JPEG_NOISE = (3.0, 8.0)
"""Noise at a canonical pixel from quantisation, for a picture of the canonical size: lightness, blue-yellow."""
OWN_NOISE = (2.0, 1.5)
"""The least spread of a plane that trust is reckoned with."""


class Lattice(NamedTuple):
    """Where the mark is. All are for lightness and blue-yellow, in this order.

    Attributes:
        ky: int [n], the points' rows: multiples of `TILES` periods along the longer side.
        kx: int [n], their columns; of a point and its mirror only one is listed.
        phase: complex64 [n] each, modulus 1.
        data: int [192] each, the points that carry coded bits.
        sync: int [n - 192] each, the others.
        order: int [384] each: coded bit i is number order[i] among the real and imaginary parts of `data`.
        sign: float32 [384] each, +1 and -1: what each of these parts is multiplied by.
    """

    ky: Ints
    kx: Ints
    phase: tuple[Complexes, Complexes]
    data: tuple[Ints, Ints]
    sync: tuple[Ints, Ints]
    order: tuple[Ints, Ints]
    sign: Pair


@cache
def lattice() -> Lattice:
    """Returns the lattice: a function of `MARK` alone, the same with every version of every library."""
    ky, kx = (k.ravel() for k in np.mgrid[-16:17, 0:17])
    square = ky**2 + kx**2
    usable = (square >= INNER**2) & ((kx > 0) | (ky > 0))
    chosen = np.flatnonzero(usable)[np.lexsort((kx[usable], ky[usable], square[usable]))[:POINTS]]
    parts = []
    for plane in (b"lightness", b"blue-yellow"):
        drawn = [_drawn(plane + what, size) for what, size in ((b"phase", POINTS), (b"place", POINTS))]
        phase = np.exp(2j * np.pi * drawn[0] / 2**32).astype(np.complex64)
        place = np.argsort(drawn[1], kind="stable")
        order = np.argsort(_drawn(plane + b"order", CODED_BITS), kind="stable")
        sign = np.where(_drawn(plane + b"sign", CODED_BITS) & 1, np.float32(1), np.float32(-1))
        parts.append((phase, place[:DATA_POINTS], place[DATA_POINTS:], order, sign))
    (phase_y, data_y, sync_y, order_y, sign_y), (phase_c, data_c, sync_c, order_c, sign_c) = parts
    return Lattice(
        ky[chosen],
        kx[chosen],
        (phase_y, phase_c),
        (data_y, data_c),
        (sync_y, sync_c),
        (order_y, order_c),
        (sign_y, sign_c),
    )


def _drawn(what: bytes, size: int) -> npt.NDArray[np.uint32]:
    raw = hashlib.shake_256(MARK + b"/" + what).digest(4 * size)
    return np.frombuffer(raw, "<u4").astype(np.uint32)


@dataclass(frozen=True)
class Seen:
    """A picture as the detector sees it.

    Attributes:
        busy: W r, float32 [H, W] each.
        trust: W, likewise.
        room: m, likewise, in grey levels.
        gain: what a mark of 1 m adds up to, for each plane.
        floor: noise at a point of the lattice that quantisation makes, for each plane.
    """

    busy: Pair
    trust: Pair
    room: Pair
    gain: tuple[float, float]
    floor: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """H and W."""
        height, width = self.busy[0].shape
        return height, width


def look(pixels: Pixels) -> Seen:
    """Returns what is seen of pixels uint8 [h, w, 3|4]; one with alpha is seen on white."""
    height, width = pixels.shape[:2]
    factor = SIDE / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    rgb = flatten(pixels) if pixels.shape[2] == 4 else pixels
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    if factor > 1:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    else:
        picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)
    small = np.asarray(picture, np.float32)
    lightness = small @ np.array([0.299, 0.587, 0.114], np.float32)
    blue = (small[..., 2] - lightness) * np.float32(0.564)
    least = np.minimum(np.minimum(small[..., 0], small[..., 1]), small[..., 2])
    telling = np.asarray(np.clip((WHITE_AT - least) / (WHITE_AT - WHITE_FROM), 0, 1), np.float32)
    near = _mean(telling) + np.float32(1e-3)
    rest = [np.asarray(telling * (p - _mean(telling * p) / near), np.float32) for p in (lightness, blue)]
    spread = [np.asarray(np.maximum(_mean(r * r) / near, 0), np.float32) for r in rest]
    room = _room(lightness, telling, rest[0], rest[1])
    roots = [np.sqrt(own * own + s) for s, own in zip(spread, OWN_NOISE, strict=True)]
    trust = [m / (root * np.sqrt(root)) for m, root in zip(room, roots, strict=True)]
    energy = [float(np.sqrt(np.sum(w * w))) for w in trust]
    noise = [max(a * e * min(factor, 2.0), 1e-6) for a, e in zip(JPEG_NOISE, energy, strict=True)]
    return Seen(
        (trust[0] * rest[0], trust[1] * rest[1]),
        (trust[0], trust[1]),
        room,
        (float(np.sum(trust[0] * room[0])), float(np.sum(trust[1] * room[1]))),
        (noise[0], noise[1]),
    )


def _room(lightness: Floats, telling: Floats, rest: Floats, rest_blue: Floats) -> Pair:
    """Returns how much the planes may change at each pixel: more where all around is busy, less near white."""
    texture, blues = (_texture(r) for r in (rest, rest_blue))
    pale = telling * np.clip(1 - (lightness - 225) / 40, 0.3, 1)
    y, c = (pale * np.minimum(f + b[0] * texture + b[1] * blues, m) for f, b, m in zip(FLAT, BUSY, MOST, strict=True))
    return np.asarray(y, np.float32), np.asarray(c, np.float32)


def _texture(rest: Floats) -> Floats:
    """Returns how busy all around each pixel is: a flat place beside an edge is not, though its `rest` is large."""
    steps = np.zeros_like(rest)
    steps[1:] += np.abs(np.diff(rest, axis=0))
    steps[:, 1:] += np.abs(np.diff(rest, axis=1))
    return _least(ndimage.uniform_filter(np.minimum(np.abs(rest), steps), 5))


def _least(plane: Floats) -> Floats:
    """Returns the least value around each pixel: 9 px wide and high, less at the edges."""
    padded = np.pad(plane, 4, mode="edge")
    for _ in range(2):  # Along the rows, then, transposed, along the columns.
        two = np.minimum(padded[:-1], padded[1:])
        four = np.minimum(two[:-2], two[2:])
        eight = np.minimum(four[:-4], four[4:])
        padded = np.minimum(eight[:-1], eight[1:]).T
    return np.ascontiguousarray(padded)


def _mean(plane: Floats) -> Floats:
    """Returns the mean around each pixel: a box of 15 px, twice."""
    once = ndimage.uniform_filter(plane, 15, mode="constant")
    return np.asarray(ndimage.uniform_filter(once, 15, mode="constant"))


def spectrum(plane: Floats) -> Complexes:
    """Returns the spectrum of plane [H, W] at the lattice's points, complex64 [n]."""
    at, (height, width) = lattice(), plane.shape
    # All of the lattice's waves are the same in each tile, so the tiles are added first.
    padded = np.zeros((SIDE, SIDE), np.float32)
    padded[:height, :width] = plane
    tile = padded.reshape(TILES, PERIOD, TILES, PERIOD).sum((0, 2))
    return np.asarray(fft.rfft2(tile)[at.ky, at.kx])


def spectrum_and_noise(plane: Floats, floor: float) -> tuple[Complexes, Floats]:
    """Returns `spectrum` and the noise N there, float32 [n]."""
    at = lattice()
    whole = fft.rfft2(plane, s=(SIDE, SIDE))
    around = noise_around(whole, TILES, floor)
    return whole[at.ky * TILES, at.kx * TILES], around[at.ky * TILES, at.kx * TILES]


def noise_around(whole: Complexes, cell: int, floor: float) -> Floats:
    """Returns the noise at each point of a spectrum: the mean modulus over one cell of the lattice, and `floor`."""
    mean = ndimage.uniform_filter(np.abs(whole), cell, mode=("wrap", "reflect"))
    return np.asarray(np.sqrt(mean * mean + np.float32(floor * floor)))


def waves(points: Complexes, shape: tuple[int, int]) -> Floats:
    """Returns the plane [H, W] that is the sum of the lattice's waves with the amplitudes of points [n]."""
    at = lattice()
    whole = np.zeros((PERIOD, PERIOD // 2 + 1), np.complex64)
    whole[at.ky, at.kx] = points
    edge = at.kx == 0
    whole[-at.ky[edge], 0] = np.conj(points[edge])
    tile = fft.irfft2(whole, s=(PERIOD, PERIOD)) * np.float32(PERIOD * PERIOD / 2)
    return np.tile(tile, (TILES, TILES))[: shape[0], : shape[1]]


def expected(gain: float, noise: Floats) -> Floats:
    """Returns q: how large a mark of rms 1 m is at the lattice's points, in units of the noise."""
    return np.asarray(np.minimum(np.float32(gain / np.sqrt(POINTS)) / noise, np.float32(LARGEST_Q)))


def beliefs(z: tuple[Complexes, Complexes], q: Pair) -> tuple[Floats, Floats]:
    """Returns what is seen of each coded bit, float32 [384], and its variance where there is no mark, likewise."""
    at = lattice()
    total, variance = np.zeros(CODED_BITS, np.float32), np.zeros(CODED_BITS, np.float32)
    for plane in (0, 1):
        points, order = at.data[plane], at.order[plane]
        turned = z[plane][points] * np.conj(at.phase[plane][points]) * q[plane][points]
        total += (np.stack([turned.real, turned.imag], 1).ravel() * at.sign[plane])[order]
        variance += np.repeat(q[plane][points] ** 2, 2)[order]
    return total, variance


def directions(bits: Floats, known: Pair, q: Pair) -> tuple[Complexes, Complexes]:
    """Returns where the lattice's points have to go, complex64 [n] for each plane.

    Args:
        bits: float32 [384]: the coded bits, each times how much it is wanted.
        known: float32 [n - 192] each: how much the known phases are wanted.
        q: see `expected`.
    """
    at = lattice()
    wanted = []
    for plane in (0, 1):
        parts = np.empty(CODED_BITS, np.float32)
        parts[at.order[plane]] = bits
        parts *= at.sign[plane]
        points = np.zeros(POINTS, np.complex64)
        points[at.data[plane]] = parts[0::2] + 1j * parts[1::2]
        points[at.sync[plane]] = known[plane]
        wanted.append((points * q[plane] * at.phase[plane]).astype(np.complex64))
    return wanted[0], wanted[1]
