"""Fills a hole of a picture with patches of the same picture: texture and structure go on into the hole.

Coarse to fine, each hole pixel becomes the weighted mean of what the patches over it say, where each patch over the
hole has found the known patch that is most like it. Sources: Wexler, Shechtman and Irani 2007, "Space-time completion
of video" (the votes and their weights); Barnes et al. 2009, "PatchMatch" (the search); Newson et al. 2014, "Video
inpainting of complex scenes" (the texture channel, the start from the rim inwards).

Letters: H, W height and width; t a target, the middle of a patch that overlaps the hole; s its source, the middle of a
patch without one pixel of the hole; R the patch's radius; d the weighted mean square difference of two patches; N
targets. Places are flat indices into pictures that were padded by R on each side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from packshot.core.random import stream_seed
from packshot.images.smooth import fill_membrane, fill_smooth

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

R = 3
THICK = 10.0
"""The hole's greatest distance to known pixels at the coarsest level: there, patches reach over most of it."""
LEAST_SIDE = 24
"""Of the coarsest level, in pixels."""
DENSE = 10_000
"""Up to so many hole pixels a level has a target at each place; above, at every second row and column."""
EXACT = 8e6
"""Up to so many pairs of target and source the first search compares all of them; above, a part of the sources."""
TEXTURE = 1.0
"""Weight of the texture channel against a colour's."""
FADE = 1.6
"""A pixel, and a patch, counts this much less for each pixel that it lies deeper in the hole."""
LOCAL = 1000.0
"""What a source costs that lies as far away as the picture's diagonal: light and cloth change from place to place."""
GUESS = 0.4
"""Weight of a pixel that only the guide tells of, against one that is known or filled, in the first search."""
REACH, BLUR = 24.0, 2.0
"""The filling leans towards the guide by exp(-depth / REACH) of their difference, blurred by BLUR pixels."""
DOUBT = 30.0
"""The mean square difference d of a target and its source at which the guide is believed by half."""
JOIN = 24.0
"""The greatest correction, in levels, that fits the filling to the known pixels around it."""
ENOUGH = 0.4
"""Share of a patch that has to be known or filled before the first search looks for it."""
ROUNDS = (2, 3, 5)
"""Searches and votes at full size, at half size, and at each of the smaller ones."""
CHUNK = 1024
"""Targets that are compared at a time: their patches stay in the processor's cache."""
MARGIN = 96
"""Pixels around the hole that are looked at, at least; for a larger hole its own size."""


@dataclass
class _Level:
    """One size of the picture.

    Attributes:
        image: float32 [H, W, 4]: red, green, blue, 0 to 255, and texture.
        hole: bool [H, W].
        allowed: bool [H, W]; pixels that may be copied.
        guide: float32 [H, W, 4], as `image`: what the hole holds at first.
    """

    image: Floats
    hole: Mask
    allowed: Mask
    guide: Floats


def fill_patches(
    pixels: Pixels, hole: Mask, *, allowed: Mask | None = None, guide: Floats | None = None, seed: int = 0
) -> Pixels:
    """Returns RGB pixels [H, W, 3] with the hole filled; outside of the hole they stay bit-identical.

    Args:
        pixels: uint8 [H, W, 3]; what stands in the hole has no influence.
        hole: bool [H, W]; at least one pixel has to be known.
        allowed: bool [H, W], pixels that may be copied into the hole; None: all known ones. Where no whole patch of
            them is left, the hole is filled by the guide.
        guide: float32 [H, W, 3], 0 to 255: what a network thinks stands in the hole, without texture; the patches start
            from it. None: a smooth filling.
        seed: of the search; the same seed gives the same pixels.

    Raises:
        ValueError: nothing is known.
    """
    out = pixels.copy()
    if not hole.any():
        return out
    if hole.all():
        raise ValueError("The hole covers the whole picture; there is nothing to fill it from.")
    window = _window(hole)
    part, inner = pixels[window].astype(np.float32), hole[window]
    may = ~inner if allowed is None else allowed[window] & ~inner
    filled = _fill(part, inner, may, None if guide is None else guide[window], seed)
    out[window][inner] = np.clip(np.rint(filled[inner]), 0, 255).astype(np.uint8)
    return out


def _window(hole: Mask) -> tuple[slice, slice]:
    """Returns the part of the picture that is looked at: the hole and its surroundings."""
    slices = []
    for axis in (0, 1):
        at = np.flatnonzero(hole.any(1 - axis))
        margin = max(MARGIN, int(at[-1] - at[0]) + 1)
        slices.append(slice(max(0, int(at[0]) - margin), int(at[-1]) + 1 + margin))
    return slices[0], slices[1]


def _fill(image: Floats, hole: Mask, allowed: Mask, guide: Floats | None, seed: int) -> Floats:
    """Returns float32 [H, W, 3] with the hole filled."""
    guide = fill_smooth(image, hole) if guide is None else guide
    levels = _levels(image, hole, allowed, guide)
    while levels and not _sources(levels[-1]).any():
        levels.pop()
    if not levels:
        return guide
    coarse: _Match | None = None
    for depth in range(len(levels) - 1, -1, -1):
        match = _Match(levels[depth], np.random.Generator(np.random.PCG64(stream_seed(seed, "patches", depth))))
        if coarse is None:
            match.start()
        else:
            match.inherit(coarse)
        for _ in range(ROUNDS[min(depth, len(ROUNDS) - 1)]):
            match.measure()
            match.propagate()
            match.jump()
            match.vote()
        match.join()
        coarse = match
    filled = levels[0].image[..., :3]
    lean = ndimage.gaussian_filter(np.where(hole[..., None], guide - filled, np.float32(0)), (BLUR, BLUR, 0))
    depth = ndimage.distance_transform_edt(hole).astype(np.float32)
    out: Floats = filled + (match.doubt() * np.exp(-depth / np.float32(REACH)))[..., None] * lean
    return out


def _levels(image: Floats, hole: Mask, allowed: Mask, guide: Floats) -> list[_Level]:
    """Returns the picture at full, half, quarter ... size, down to where the hole is thin."""
    texture = _texture(image, hole)
    guided = np.concatenate([guide, fill_membrane(texture, hole)], axis=2)
    levels = [_Level(np.concatenate([image, texture], axis=2), hole, allowed, guided)]
    while True:
        last = levels[-1]
        thick = float(ndimage.distance_transform_edt(last.hole).max())
        if thick <= THICK or min(last.hole.shape) < 2 * LEAST_SIDE:
            return levels
        half = _half(last)
        if not half.hole.any() or half.hole.all():
            return levels
        levels.append(half)


def _texture(image: Floats, hole: Mask) -> Floats:
    """Returns how rough the known part is around each pixel: float32 [H, W, 1]."""
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    steps = np.zeros_like(grey)
    steps[:, 1:] += np.abs(np.diff(grey, axis=1))
    steps[1:] += np.abs(np.diff(grey, axis=0))
    known = ~ndimage.binary_dilation(hole)
    share = ndimage.uniform_filter(known.astype(np.float32), 5)
    texture: Floats = TEXTURE * ndimage.uniform_filter(steps * known, 5) / np.maximum(share, 0.01)
    return texture[..., None]


def _half(level: _Level) -> _Level:
    """Returns the level at half its size: means of the known pixels; a pixel is hole where two or more of four are."""
    height, width = level.hole.shape
    pad = ((0, height % 2), (0, width % 2))

    def sum_of_four(x: npt.NDArray[np.float32]) -> Floats:
        total: Floats = x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]
        return total

    known = np.pad(~level.hole, pad, mode="edge").astype(np.float32)
    image = np.pad(level.image, (*pad, (0, 0)), mode="edge")
    count = sum_of_four(known)
    hole = count <= 2
    small = sum_of_four(image * known[..., None]) / np.maximum(count, 1)[..., None]
    may = sum_of_four(np.pad(level.allowed, pad, mode="edge").astype(np.float32)) > 0
    guide = sum_of_four(np.pad(level.guide, (*pad, (0, 0)), mode="edge")) * np.float32(0.25)
    return _Level(np.asarray(small, np.float32), hole, may & ~hole, np.asarray(guide, np.float32))


def _sources(level: _Level) -> Mask:
    """Returns which places [H, W] are middles of patches that may be copied."""
    blocked = ndimage.maximum_filter((~level.allowed).view(np.uint8), 2 * R + 1, mode="constant", cval=1)
    free: Mask = blocked == 0
    return free


class _Match:
    """Targets of one level, the source of each, and how well the two agree."""

    def __init__(self, level: _Level, rng: np.random.Generator) -> None:
        self.level, self.rng = level, rng
        height, width = level.hole.shape
        self.width = width + 2 * R
        self._pad()
        self.free = np.pad(_sources(level), R).ravel()
        self.sources: Places = np.flatnonzero(self.free)
        self.step = 1 if level.hole.sum() <= DENSE else 2
        near = ndimage.maximum_filter(level.hole.view(np.uint8), 2 * R + 1).astype(bool)
        lattice = np.zeros_like(near)
        lattice[:: self.step, :: self.step] = True
        self.targets: Places = np.flatnonzero(np.pad(near & lattice, R))
        self.number = np.full(len(self.free), -1, np.int64)
        self.number[self.targets] = np.arange(len(self.targets))
        around = np.arange(-R, R + 1)
        self.offsets: Places = (around[:, None] * self.width + around).ravel()
        # A chequerboard of the patch tells two patches apart as well as the whole, in half the time.
        self.taps: Places = self.offsets[::2]
        depth = ndimage.distance_transform_edt(level.hole).astype(np.float32)
        self.depth = np.pad(depth, R, mode="symmetric").ravel()
        self.trust = FADE**-self.depth
        weight = self.trust[self.targets[:, None] + self.taps]
        self.weight: Floats = np.sqrt(weight / weight.sum(1, keepdims=True))[..., None].astype(np.float32)
        self.diagonal = float(np.hypot(height, width))
        self.source: Places = np.zeros(len(self.targets), np.int64)
        self.distance: Floats = np.zeros(len(self.targets), np.float32)
        self.patch: Floats = np.empty(0, np.float32)

    def _pad(self) -> None:
        self.image = np.pad(self.level.image, ((R, R), (R, R), (0, 0)), mode="symmetric").reshape(-1, 4)

    def start(self) -> None:
        """Finds the first sources, from the rim of the hole inwards."""
        self.level.image[self.level.hole] = self.level.guide[self.level.hole]
        self._pad()
        most = max(64, int(EXACT / len(self.targets)))
        some = self.sources
        if len(some) > most:
            some = np.sort(self.rng.choice(some, most, replace=False))
        b = self.image[some[:, None] + self.taps]
        flat, squares = b.reshape(len(some), -1).T, np.square(b).sum(2).T
        found = np.zeros(len(self.targets), bool)
        for layer in range(int(np.ceil(self.depth.max())) + 1):
            known = self.depth <= layer
            reached = known[self.targets[:, None] + self.taps].mean(1) >= ENOUGH
            now = np.flatnonzero(~found & reached)
            for i in range(0, len(now), CHUNK):
                at = now[i : i + CHUNK]
                w = np.where(known[self.targets[at, None] + self.taps], np.float32(1), np.float32(GUESS))
                a = self.image[self.targets[at, None] + self.taps] * w[..., None]
                cost = (w @ squares - 2 * (a.reshape(len(at), -1) @ flat)) / w.sum(1, keepdims=True)
                cost += self._far(self.targets[at, None], some)
                self.source[at] = some[cost.argmin(1)]
            found[now] = True
            self._write(now, self.depth > layer)

    def inherit(self, coarse: _Match) -> None:
        """Takes the sources of the level of half the size, and fills the hole by them."""
        rows, columns = coarse.level.hole.shape
        shift = np.zeros((rows, columns, 2), np.int64)
        mark = np.ones((rows, columns), bool)
        y, x = np.divmod(coarse.targets, coarse.width)
        sy, sx = np.divmod(coarse.source, coarse.width)
        mark[y - R, x - R] = False
        shift[y - R, x - R] = np.stack([sy - y, sx - x], axis=1)
        nearest = ndimage.distance_transform_edt(mark, return_distances=False, return_indices=True)
        ty, tx = np.divmod(self.targets, self.width)
        cy, cx = np.minimum((ty - R) // 2, rows - 1), np.minimum((tx - R) // 2, columns - 1)
        moved = shift[nearest[0][cy, cx], nearest[1][cy, cx]]
        height, width = self.level.hole.shape
        fy = np.clip(ty + 2 * moved[:, 0], 2 * R, max(2 * R, height - 1))
        fx = np.clip(tx + 2 * moved[:, 1], 2 * R, max(2 * R, width - 1))
        self.source = fy * self.width + fx
        lost = ~self.free[self.source]
        self.source[lost] = self.rng.choice(self.sources, int(lost.sum()))
        twice = coarse.level.image.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
        self.level.image[self.level.hole] = twice[self.level.hole]
        self._pad()
        self.measure()
        self.vote()

    def measure(self) -> None:
        """Compares each target, as the picture stands now, with its source."""
        self.patch = self.image[self.targets[:, None] + self.taps]
        self.distance = self._compare(self.source)

    def _compare(self, source: Places) -> Floats:
        out = np.empty(len(source), np.float32)
        for i in range(0, len(source), CHUNK):
            part = self.image[source[i : i + CHUNK, None] + self.taps]
            part -= self.patch[i : i + CHUNK]
            part *= self.weight[i : i + CHUNK]
            flat = part.reshape(len(part), -1)
            out[i : i + CHUNK] = np.einsum("ij,ij->i", flat, flat)
        return out + self._far(self.targets, source)

    def _far(self, target: Places, source: Places) -> Floats:
        ty, tx = np.divmod(target, self.width)
        sy, sx = np.divmod(source, self.width)
        far: Floats = (np.square(ty - sy) + np.square(tx - sx)).astype(np.float32) * np.float32(
            LOCAL / self.diagonal**2
        )
        return far

    def _try(self, source: Places) -> None:
        """Takes those of other sources that are free and agree better."""
        ok = self.free[source] & (source != self.source)
        distance = self._compare(np.where(ok, source, self.source))
        better = ok & (distance < self.distance)
        self.source[better] = source[better]
        self.distance[better] = distance[better]

    def propagate(self) -> None:
        """Tries for each target what its neighbours found, moved along."""
        last = len(self.free) - 1
        for away in (1, -1, self.width, -self.width):
            step = away * self.step
            beside = self.number[np.clip(self.targets + step, 0, last)]
            found = np.where(beside >= 0, self.source[beside] - step, self.source)
            self._try(np.clip(found, 0, last))

    def jump(self) -> None:
        """Tries sources at random around the present one, nearer and nearer."""
        height = len(self.free) // self.width
        reach = max(height, self.width) / 4
        while reach >= 1:
            y, x = np.divmod(self.source, self.width)
            move = self.rng.uniform(-reach, reach, (2, len(y)))
            ny = np.clip(np.rint(y + move[0]).astype(np.int64), 0, height - 1)
            nx = np.clip(np.rint(x + move[1]).astype(np.int64), 0, self.width - 1)
            self._try(ny * self.width + nx)
            reach /= 4

    def vote(self) -> None:
        """Writes into the hole the mean of what the patches over each pixel say."""
        self._write(np.arange(len(self.targets)), self.depth > 0)

    def _write(self, which: Places, where: Mask) -> None:
        """Writes what some targets say to the places `where`, as far as they reach."""
        said = self._said(which)
        heard = where & (said[:, 4] > 0)
        self.image[heard] = said[heard, :4] / said[heard, 4:]
        height, width = self.level.hole.shape
        inner = self.image.reshape(-1, self.width, 4)[R : R + height, R : R + width]
        self.level.image[self.level.hole] = inner[self.level.hole]
        self._pad()

    def _said(self, which: Places) -> Floats:
        """Returns at each place the weighted sum of what the patches of some targets say, and of the weights."""
        target, source, distance = self.targets[which], self.source[which], self.distance[which]
        total = np.zeros((len(self.free), 5), np.float32)
        if not len(which):
            return total
        spread = max(float(np.quantile(distance, 0.75)), 1e-3)
        weight = (self.trust[target] * np.exp(-distance / (2 * spread)) + 1e-9).astype(np.float32)[:, None]
        rows = np.empty((len(which), 5), np.float32)
        for offset in self.offsets:
            rows[:, :4] = self.image[source + offset]
            rows[:, 4] = 1
            rows *= weight
            total[target + offset] += rows
        return total

    def doubt(self) -> Floats:
        """Returns how badly the patches fit, float32 [H, W]: 0 very well, 1 not at all."""
        height, width = self.level.hole.shape
        mark, bad = np.ones(len(self.free), np.bool_), np.zeros(len(self.free), np.float32)
        mark[self.targets] = False
        unlike = np.maximum(self.distance - self._far(self.targets, self.source), 0)
        bad[self.targets] = unlike / (unlike + DOUBT)
        inner = (slice(R, R + height), slice(R, R + width))
        mark, bad = mark.reshape(-1, self.width)[inner], bad.reshape(-1, self.width)[inner]
        y, x = ndimage.distance_transform_edt(mark, return_distances=False, return_indices=True)
        smooth: Floats = ndimage.uniform_filter(bad[y, x], 2 * R + 1)
        return smooth

    def join(self) -> None:
        """Takes from the filling the smooth error that the same patches make on the known pixels around it."""
        said = self._said(np.arange(len(self.targets)))
        height, width = self.level.hole.shape
        total = said.reshape(-1, self.width, 5)[R : R + height, R : R + width]
        rim = ~self.level.hole & (total[..., 4] > 0)
        error = np.zeros((height, width, 3), np.float32)
        error[rim] = self.level.image[rim, :3] - total[rim, :3] / total[rim, 4:]
        error = fill_membrane(np.clip(error, -JOIN, JOIN), self.level.hole)
        self.level.image[self.level.hole, :3] += error[self.level.hole]
        self._pad()
