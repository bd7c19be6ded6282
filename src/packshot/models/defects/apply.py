"""Finds damage in pictures of any size, and says what of it is sure enough to be repaired without a person's word.

images/defects.py finds what is plainly damage; the network, where its weights are installed, finds more dust, scratches
and stains. A piece is what hangs together where the network believes in damage more than in none. One that the network
is very sure of opens its kind: then the other pieces of that kind count, too, since dust and scratches come in numbers.
Of a photo that holds no such piece the network leaves everything alone.

Letters: H, W height and width; K kinds of damage that the network is asked for; z the logits.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from packshot.core.config import build_config
from packshot.core.files import sha256_file
from packshot.images.defects import Defect, Defects, find_defects
from packshot.images.filters import dilate
from packshot.images.resize import Pixels, flatten, resize
from packshot.images.tiles import map_tiles
from packshot.models.defects.net import DefectConfig, DefectNet
from packshot.models.threads import one_thread
from packshot.models.weights import load_network

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights" / "model.safetensors"
CARD = WEIGHTS.with_name("card.json")
WORK_SIDE = 480
"""A larger picture is searched at this length of its shorter side: the network was trained with up to so much."""
LEAST_SIDE = 24
"""Nothing is looked for in a smaller picture."""
TILE = 1600
BESIDE = 3
"""Pixels around what is found without the network in which it finds nothing: a hole's edge is sharp as a scratch."""
EIGHT = np.ones((3, 3), np.bool_)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How sure the network has to be of one kind of damage, in logits.

    Attributes:
        edge: from which on a pixel belongs to a piece.
        piece: of a piece's surest pixel, for a piece to be repaired where its kind is open.
        opens: of a piece's surest pixel, for it to open its kind.
        told: of a piece's surest pixel, for a person to be told of a kind that is not open.
    """

    edge: float
    piece: float
    opens: float
    told: float


@dataclass(frozen=True)
class Piece:
    """What hangs together, at the size that was searched.

    Attributes:
        kind: its number.
        sure: whether it may be repaired without a person's word.
        at: rows and columns that hold it.
        region: bool, its pixels within those.
    """

    kind: int
    sure: bool
    at: tuple[slice, slice]
    region: Mask


class DefectFinder:
    """The network with its weights and limits.

    Attributes:
        net: the network, float32.
        limits: of each kind that it is asked for, in the network's order.
        checksum: SHA-256 of the file of weights.
    """

    limits: dict[str, Limits]

    def __init__(self, path: Path) -> None:
        def build(config: dict[str, Any]) -> DefectNet:
            net = DefectNet(build_config(DefectConfig, config["net"]))
            asked = [kind for kind in net.config.kinds if kind in config["limits"]]
            self.limits = {kind: build_config(Limits, config["limits"][kind]) for kind in asked}
            return net

        self.net = load_network(path, "damage detector", build)
        self.checksum = sha256_file(path)

    def __call__(self, pixels: Pixels) -> Defects:
        """Finds damage in RGB or RGBA pixels.

        Args:
            pixels: uint8 [H, W, 3] or [H, W, 4]; nothing is looked for where they are transparent.
        """
        return self.judged(find_defects(pixels), self.logits(pixels))

    def judged(self, plain: Defects, z: Floats | None) -> Defects:
        """Returns what was found by both: `plain`, and the pieces of the network's logits that are no part of it."""
        shape = plain.mask.shape
        mask, unsure, covered = plain.mask.copy(), plain.unsure.copy(), dilate(plain.mask | plain.unsure, BESIDE)
        defects, names = list(plain.found), tuple(self.limits)
        for piece in [] if z is None else find_pieces(z, tuple(self.limits.values())):
            top, left, region = _enlarged(piece, shape, z.shape[:2])
            at = (slice(top, top + region.shape[0]), slice(left, left + region.shape[1]))
            region &= ~covered[at]
            if not region.any():
                continue
            (mask if piece.sure else unsure)[at] |= region
            box = (left, top, region.shape[1], region.shape[0])
            defects.append(Defect(names[piece.kind], box, int(region.sum()), piece.sure))
        return Defects(tuple(defects), mask, unsure & ~mask)

    def logits(self, pixels: Pixels) -> Floats | None:
        """Returns z, float32 [h, w, K], of RGB or RGBA pixels, at the size that is searched; hidden ones have -inf.

        None: the picture is too small for anything to be looked for.
        """
        height, width = pixels.shape[:2]
        shrink = min(1.0, WORK_SIDE / min(height, width))
        size = max(1, round(height * shrink)), max(1, round(width * shrink))
        if min(size) < LEAST_SIDE:
            return None
        rgb = flatten(pixels)
        hidden = pixels[..., 3] < 255 if pixels.shape[2] == 4 else np.zeros((height, width), np.bool_)
        if shrink < 1:
            rgb, hidden = resize(rgb, *size), resize(_levels(hidden), *size)[..., 0] > 0
        kinds = [self.net.config.kinds.index(kind) for kind in self.limits]

        def run(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
            x = torch.from_numpy(part.astype(np.float32)).permute(2, 0, 1)[None] / 255
            with one_thread(), torch.inference_mode():
                return self.net(x)[0, kinds].permute(1, 2, 0).numpy()

        config = self.net.config
        z: Floats = map_tiles(run, rgb, tile=TILE, halo=config.reach, multiple=config.multiple)
        return np.where(hidden[..., None], np.float32(-np.inf), z) if hidden.any() else z


def find_pieces(z: Floats, limits: tuple[Limits, ...]) -> list[Piece]:
    """Returns the pieces of damage that are sure, or worth a person's look.

    Args:
        z: logits, [h, w, K].
        limits: of the K kinds.
    """
    label, count = ndimage.label((z > [k.edge for k in limits]).any(2), EIGHT)
    if not count:
        return []
    places = ndimage.find_objects(label)
    peaks = np.stack([ndimage.maximum(z[..., k], label, np.arange(1, count + 1)) for k in range(len(limits))], axis=1)
    beyond = peaks - [k.piece for k in limits]
    kinds = beyond.argmax(1)
    peak = peaks[np.arange(count), kinds]
    opened = {k for k, limit in enumerate(limits) if (peak[kinds == k] >= limit.opens).any()}
    pieces = []
    for number in range(count):
        kind = int(kinds[number])
        sure = kind in opened and bool(peak[number] >= limits[kind].piece)
        if sure or peak[number] >= limits[kind].told:
            at = places[number]
            pieces.append(Piece(kind, sure, at, label[at] == number + 1))
    return pieces


def _enlarged(piece: Piece, shape: tuple[int, ...], searched: tuple[int, int]) -> tuple[int, int, Mask]:
    """Returns top, left and pixels of a piece in a picture of `shape` that was searched at another size."""
    if searched == shape:
        return piece.at[0].start, piece.at[1].start, piece.region
    region = dilate(np.pad(piece.region, 1), 1)
    spans = []
    for side, n, where in zip(shape, searched, piece.at, strict=True):
        begin, end = (round(v * side / n) for v in (where.start - 1, where.stop + 1))
        spans.append((begin, end))
    large = resize(_levels(region), *(b - a for a, b in spans))[..., 0] > 127
    inner = [(max(0, -a), min(side, b) - a) for (a, b), side in zip(spans, shape, strict=True)]
    cut = large[inner[0][0] : inner[0][1], inner[1][0] : inner[1][1]]
    return max(0, spans[0][0]), max(0, spans[1][0]), cut


def _levels(mask: Mask) -> Pixels:
    return np.where(mask, np.uint8(255), np.uint8(0))[..., None]


@functools.cache
def load_defect_finder(path: Path = WEIGHTS) -> DefectFinder | None:
    """Returns the detector, once in a process; None: its weights are not there.

    Raises:
        PackshotError: the file is damaged, or holds something else.
    """
    return DefectFinder(path) if path.is_file() else None
