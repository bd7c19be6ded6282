"""The copy gate: is a generated picture nearer to a training photo than photos are that the generator never saw?

A run carries an index of its training photos, `copies.safetensors`: of each photo 24 numbers (and one for what they
leave out) of its thumbnail, each in 8 bits, and 4 bytes of its SHA-256; and the distances of held-out photos to their
nearest training photo in this very form, so that the false-alarm rate that is asked for holds for it. docs/copies.md
says what can be got back from such an index: a blur.

Letters: n pictures, N training photos, m held-out photos, S side in pixels, C channels, G side of the grid, t thumbnail
values, d numbers kept, V ways to lay one picture over another.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from packshot.core.errors import PackshotError, UsageError
from packshot.core.random import stream_seed
from packshot.core.shapes import check_shape
from packshot.evaluation.copies import CALIBRATION_LEAST, CALIBRATION_MOST, CHUNK, FALSE_ALARMS, THUMBNAIL, Indices
from packshot.evaluation.features import Features, Pixels
from packshot.evaluation.figures import Floats
from packshot.models.weights import load_tensors, save_tensors

FORMAT = "copies-v1"
KEPT = 24
GRID = 64
PCA_PHOTOS = 5000
NEAR_EXACT = 0.05
"""Distance that stands where no threshold can be calibrated: a correlation of 0.99875 between thumbnails."""
DIGEST = 4
BLOCK, ROWS = 4096, 64

Codes = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Space:
    """What thumbnails become: their place along the main directions of the training photos' thumbnails.

    Attributes:
        mean: float16 [t].
        basis: float16 [t, d], orthonormal but for rounding.
        scales: float32 [d + 1], what one step of a code is worth.
    """

    mean: npt.NDArray[np.float16]
    basis: npt.NDArray[np.float16]
    scales: npt.NDArray[np.float32]

    def place(self, thumbnails: Features) -> Floats:
        """Returns float64 [n, d + 1] of thumbnails float32 [n, t]; the last is the length of what the others leave out.

        The distance of two such rows is at most that of the thumbnails, and equal to it for a photo with nothing left
        out, so few photos, which the directions hold wholly, are not taken for near to everything.
        """
        rest = thumbnails.astype(np.float64) - self.mean.astype(np.float64)
        basis = self.basis.astype(np.float64)
        kept = rest @ basis
        left = np.linalg.norm(rest - kept @ basis.T, axis=1, keepdims=True)
        return np.concatenate([kept, left], axis=1)

    def encode(self, places: Floats) -> Codes:
        """Returns int8 [n, d + 1]."""
        return np.rint(places / self.scales).clip(-127, 127).astype(np.int8)

    def decode(self, codes: Codes) -> Floats:
        """Returns float64 [n, d + 1]."""
        return codes.astype(np.float64) * self.scales


@dataclass(frozen=True, eq=False)
class CopyIndex:
    """The training photos of a generator, as few numbers each, and how near unseen photos come to them.

    Attributes:
        size: S of the pictures that can be looked up, without margin.
        channels: C of them.
        space: what was kept.
        codes: int8 [N, d + 1].
        digests: uint8 [N, 4], the first bytes of each photo's SHA-256.
        held_out: float32 [m], rising: distance of each held-out photo to its nearest training photo.
        about: what the run says of its training set (`core.lineage.TrainingSet.about`).
    """

    size: int
    channels: int
    space: Space
    codes: Codes
    digests: Pixels
    held_out: npt.NDArray[np.float32]
    about: Mapping[str, Any]

    def find_nearest(self, images: Pixels) -> tuple[Indices, Floats]:
        """Returns the nearest training photo of each picture uint8 [n, S, S, C], and its distance: int64, float64 [n].

        Each picture is laid over the photos as it is and mirrored, in place and displaced by a thirty-second of its
        side, a little larger and a little smaller; the nearest of all counts.

        Raises:
            ValueError: pictures of another size or number of channels.
        """
        check_shape("images", images, "n", "S", "S", "C", S=self.size, C=self.channels)
        photos = self.space.decode(self.codes)
        rows = torch.from_numpy(photos.astype(np.float32))
        nearest, distances = np.zeros(len(images), np.int64), np.full(len(images), np.inf)
        for start in range(0, len(images), CHUNK):
            stop = min(start + CHUNK, len(images))
            for thumbnails in laid_over(to_grid(images[start:stop])):
                places = self.space.place(thumbnails)
                found = _search(torch.from_numpy(places.astype(np.float32)), rows)
                exact = np.linalg.norm(places - photos[found], axis=1)  # In float64: not the rounding of the search.
                nearer = exact < distances[start:stop]
                nearest[start:stop][nearer], distances[start:stop][nearer] = found[nearer], exact[nearer]
        return nearest, distances

    def name(self, photo: int) -> str:
        """Returns how a photo is told: the first hex digits of its SHA-256."""
        return bytes(self.digests[photo]).hex()

    def without(self, sha256s: Iterable[str]) -> "CopyIndex":
        """Returns the index less the photos with these SHA-256, in hex digits: for what has to be erased.

        The directions and the held-out distances stay; both are of all photos together.
        """
        gone = {bytes.fromhex(digest)[:DIGEST] for digest in sha256s}
        keep = np.array([row.tobytes() not in gone for row in self.digests], np.bool_)
        return CopyIndex(
            self.size, self.channels, self.space, self.codes[keep], self.digests[keep], self.held_out, self.about
        )

    def save(self, path: Path) -> None:
        """Writes what `load_index` reads.

        Raises:
            PackshotError: the disk refuses.
        """
        arrays = {
            "mean": self.space.mean,
            "basis": self.space.basis,
            "scales": self.space.scales,
            "codes": self.codes,
            "digests": self.digests,
            "held_out": self.held_out,
        }
        header = {"format": FORMAT, "size": self.size, "channels": self.channels, "training_set": dict(self.about)}
        save_tensors(path, {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}, header)


def load_index(path: Path) -> CopyIndex:
    """Reads an index.

    Raises:
        PackshotError: it is missing, damaged, or of another version.
    """
    try:
        tensors, header = load_tensors(path)
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']}")
        space = Space(arrays["mean"], arrays["basis"], arrays["scales"])
        letters = check_shape("basis", space.basis, "t", "d")
        places = letters["d"] + 1
        check_shape("mean", space.mean, "t", t=letters["t"])
        check_shape("scales", space.scales, "p", p=places)
        count = check_shape("codes", arrays["codes"], "N", "p", p=places)["N"]
        check_shape("digests", arrays["digests"], "N", "b", N=count, b=DIGEST)
        check_shape("held_out", arrays["held_out"], "m")
        kinds = {name: str(array.dtype) for name, array in arrays.items()}
        if kinds != KINDS or count == 0 or not (space.scales > 0).all() or not np.isfinite(arrays["held_out"]).all():
            raise ValueError("its numbers are of another kind")
        size, channels, about = int(header["size"]), int(header["channels"]), dict(header["training_set"])
        if letters["t"] != channels * thumbnail_side(size) ** 2:
            raise ValueError("its thumbnails are of another size")
    except (KeyError, TypeError, ValueError, PackshotError) as e:
        raise PackshotError(
            f"{path}, which finds copies of training photos, is damaged or of another version; delete it, and it is "
            "made anew from the run's catalogue (of a generator that came with Packshot: install it again)."
        ) from e
    return CopyIndex(size, channels, space, arrays["codes"], arrays["digests"], np.sort(arrays["held_out"]), about)


def _search(rows: Tensor, photos: Tensor) -> Indices:
    """Returns which of the photos [N, d] is nearest to each row [n, d], int64 [n], by blocks that fit into a cache."""
    halves = (photos * photos).sum(1) / 2
    best, found = torch.full((len(rows),), torch.inf), torch.zeros(len(rows), dtype=torch.int64)
    for first in range(0, len(photos), BLOCK):
        part, norms = photos[first : first + BLOCK].T, halves[None, first : first + BLOCK]
        for start in range(0, len(rows), ROWS):
            here = slice(start, start + ROWS)
            values, places = torch.addmm(norms, rows[here], part, alpha=-1).min(1)
            nearer = values < best[here]
            best[here] = torch.where(nearer, values, best[here])
            found[here] = torch.where(nearer, places + first, found[here])
    return found.numpy()


KINDS = {
    "mean": "float16",
    "basis": "float16",
    "scales": "float32",
    "codes": "int8",
    "digests": "uint8",
    "held_out": "float32",
}


def build_index(
    images: Pixels,
    chosen: Indices,
    digests: Sequence[str],
    held_out: Pixels,
    about: Mapping[str, Any],
    *,
    margin: int = 0,
) -> CopyIndex:
    """Makes the index of training photos, calibrated on held-out photos (at most 5,000, always the same ones).

    Args:
        images: uint8 [P, S, S, C], may be mapped from a file.
        chosen: int64 [N], which of them are the training photos, N > 0.
        digests: SHA-256 of each of the N in hex digits.
        held_out: uint8 [m, S, S, C] that the generator was not trained on; may be none.
        about: what the run says of its training set.
        margin: border in pixels of all of them that is cut off first.

    Raises:
        ValueError: no training photos, or other numbers or sizes.
    """
    shape = check_shape("images", images, "P", "S", "S", "C")
    if not len(chosen) or len(digests) != len(chosen):
        raise ValueError(f"{len(chosen)} training photos and {len(digests)} SHA-256 make no index.")
    side = shape["S"] - 2 * margin

    def cut(images: Pixels) -> Pixels:
        return images[:, margin : margin + side, margin : margin + side]

    parts = [chosen[start : start + CHUNK] for start in range(0, len(chosen), CHUNK)]
    thumbnails = np.concatenate([in_place(to_grid(cut(images[part]))) for part in parts])
    space = _main_directions(thumbnails)
    places = np.concatenate([space.place(rows) for rows in np.array_split(thumbnails, len(parts))])
    steps = np.maximum(np.abs(places).max(0) / 127, 1e-6).astype(np.float32)
    space = Space(space.mean, space.basis, steps)
    first = np.frombuffer(b"".join(bytes.fromhex(d)[:DIGEST] for d in digests), np.uint8).reshape(-1, DIGEST).copy()
    index = CopyIndex(side, shape["C"], space, space.encode(places), first, np.empty(0, np.float32), dict(about))
    rng = np.random.default_rng(stream_seed(0, "copy gate calibration"))
    some = np.sort(rng.permutation(len(held_out))[:CALIBRATION_MOST])
    looks = [index.find_nearest(cut(held_out[some[at : at + CHUNK]]))[1] for at in range(0, len(some), CHUNK)]
    distances = np.sort(np.concatenate([np.empty(0), *looks])).astype(np.float32)
    return CopyIndex(side, shape["C"], space, index.codes, first, distances, dict(about))


def _main_directions(thumbnails: Features) -> Space:
    """Returns mean and main directions of thumbnails [N, t] (of at most 5,000): the covariance's eigenvectors."""
    some = thumbnails[np.linspace(0, len(thumbnails) - 1, min(PCA_PHOTOS, len(thumbnails))).astype(np.int64)]
    mean = some.mean(0, dtype=np.float64).astype(np.float16)
    rest = some.astype(np.float64) - mean.astype(np.float64)
    _, vectors = np.linalg.eigh(rest.T @ rest)
    basis = vectors[:, ::-1][:, : min(KEPT, thumbnails.shape[1])]
    return Space(mean, np.ascontiguousarray(basis).astype(np.float16), np.ones(basis.shape[1] + 1, np.float32))


def displacement(grid: int) -> int:
    """Returns by how many cells of the grid pictures are displaced: half a cell of the thumbnail."""
    return max(1, round(grid / (2 * THUMBNAIL)))


def thumbnail_side(size: int) -> int:
    """Returns the side of the thumbnails of pictures of `size` pixels."""
    grid = min(GRID, size)
    return min(THUMBNAIL, grid - 2 * displacement(grid))


def to_grid(images: Pixels) -> Tensor:
    """Returns pictures uint8 [n, S, S, C] as float32 [n, C, G, G], averaged where S is above 64."""
    pixels = torch.from_numpy(np.ascontiguousarray(images, np.float32)).permute(0, 3, 1, 2)
    return F.adaptive_avg_pool2d(pixels, min(GRID, images.shape[1]))


def in_place(grid: Tensor) -> Features:
    """Returns the thumbnails float32 [n, t] of the pictures' inner part [n, C, G, G], as training photos are kept.

    The border of half a thumbnail's cell is left out, so that a displaced copy shows all that is compared.
    """
    m = displacement(grid.shape[2])
    return _thumbnails(grid[:, :, m:-m, m:-m], grid.shape[2])


def laid_over(grid: Tensor) -> Iterator[Features]:
    """Yields the thumbnails float32 [n, t] of the pictures [n, C, G, G] in the V = 22 ways that they are compared."""
    side, m = grid.shape[2], displacement(grid.shape[2])
    for picture in (grid, grid.flip(3)):
        for y in (0, m, 2 * m):
            for x in (0, m, 2 * m):
                yield _thumbnails(picture[:, :, y : side - 2 * m + y, x : side - 2 * m + x], side)
        yield _thumbnails(picture, side)
        if side > 4 * m:
            yield _thumbnails(picture[:, :, 2 * m : -2 * m, 2 * m : -2 * m], side)


def _thumbnails(part: Tensor, grid: int) -> Features:
    """Returns float32 [n, t]: averaged, less each channel's mean, of length 1; so brightness, contrast and tint go."""
    small = F.adaptive_avg_pool2d(part, min(THUMBNAIL, grid - 2 * displacement(grid)))
    small = small - small.mean((2, 3), keepdim=True)
    out: Features = F.normalize(small.flatten(1), eps=1e-6).numpy()
    return out


@dataclass(frozen=True, eq=False)
class CopyGate:
    """An index with the threshold for a false-alarm rate.

    Attributes:
        index: the training photos.
        threshold: distance below which a picture is refused.
        calibrated: whether held-out photos set it.
        sentence: how the pictures were looked at.
    """

    index: CopyIndex
    threshold: float
    calibrated: bool
    sentence: str
    false_alarms: float

    @classmethod
    def of(cls, index: CopyIndex, false_alarms: float = FALSE_ALARMS) -> "CopyGate":
        """Sets the threshold by the held-out photos.

        It is the k-th smallest of their m distances, k = floor(rate (m + 1)): a photo that is drawn as they were comes
        below it with a probability of k / (m + 1), at most the rate (conformal prediction, Vovk et al. 2005).

        Raises:
            UsageError: a rate out of 0 .. 1, or one that m photos cannot tell.
        """
        if not 0 < false_alarms < 1:
            raise UsageError(f"--false-alarms is {false_alarms}; it has to be between 0 and 1, for example 0.01.")
        photos, m = len(index.codes), len(index.held_out)
        if m < CALIBRATION_LEAST:
            return cls(
                index,
                NEAR_EXACT,
                False,
                f"Not calibrated: fewer than {CALIBRATION_LEAST} photos were held out ({m}). Only nearly exact copies "
                f"of the {photos:,} training photos are refused (distance below {NEAR_EXACT}).",
                false_alarms,
            )
        k = math.floor(false_alarms * (m + 1) + 1e-9)
        if k < 1:
            raise UsageError(
                f"--false-alarms is {false_alarms}, and {m:,} held-out photos can tell no rate below "
                f"{math.ceil(1e4 / (m + 1)) / 1e4}; ask for that or more."
            )
        threshold = float(index.held_out[k - 1])
        sentence = (
            f"A picture is refused where it is nearer to one of the {photos:,} training photos than {threshold:.3g}, "
            f"which {false_alarms:.3g} of unseen photos are ({m:,} held-out photos)."
        )
        if threshold < np.linalg.norm(index.space.scales) / 2:
            sentence += (
                " That is finer than the index tells apart, since many held-out photos are copies themselves: exact "
                "copies may pass. Allow more false alarms, or take the copies out of the test split."
            )
        return cls(index, threshold, True, sentence, false_alarms)

    def look(self, images: Pixels) -> tuple[Indices, Floats]:
        """Returns the nearest training photo of each picture and its closeness, distance over threshold: int64, float64
        [n]. What is below 1 is refused.

        Raises:
            ValueError: pictures of another size or number of channels.
        """
        nearest, distances = self.index.find_nearest(images)
        return nearest, distances / max(self.threshold, 1e-9)

    def said(self, closeness: float) -> str:
        """Returns what a picture's history says of it."""
        how = f"{self.false_alarms:.3g} false alarms" if self.calibrated else "not calibrated"
        return f"nearest training photo at {closeness:.2f} x threshold, {how}"
