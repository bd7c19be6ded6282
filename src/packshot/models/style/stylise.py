"""A photo in a style, at any size: strokes as large in the picture as they should be, drawn at its full resolution.

The networks draw strokes of so many pixels; run over 4,000 px they give a fine grain and no painting, run over 768 px
and scaled up, a blurred one. So the photo is stylised at the style's own size first, and that picture, scaled up in
steps, is stylised again in tiles. The small picture gives the colours and the large strokes, the large one the edges
and the fine strokes (coarse to fine: Gatys et al. 2017, arXiv:1611.07865, section 6).

Moments (see `networks`) are measured once for each size and then fixed, so tiles fit together. They are measured over
the photo and a still reference of coloured noise with a natural spectrum: alone, a mug on plain white has next to no
variance, and dividing by it turns white into mud and draws rings around the mug.

Letters: H, W height and width of the photo; side its sqrt(H W).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from packshot.images.recolour import with_areas_of
from packshot.images.resize import Pixels, resize
from packshot.images.tiles import map_tiles
from packshot.models.style.networks import (
    CODE_SIDE,
    N_STYLES,
    STRIDE,
    StyledNetwork,
    network_of_26,
    network_of_any,
    style_code,
)

Floats = npt.NDArray[np.float32]

SMALLEST = 32
"""Sides that the networks get, at least; smaller pictures are reflected."""
AS_IT_IS = 1.25
"""A photo that is larger or smaller than the style's size by less than this factor is stylised at its own size."""
LARGEST_UP = 4.0
"""A small photo is enlarged by this factor at most before it is stylised."""
LARGEST_STEP = 4.0
"""From one size to the next."""
REFERENCE_SHARE = 0.35
"""What the still reference counts in the moments."""
REFERENCE_SIDE = 256
"""Its own `side` at most: noise of a natural spectrum has much the same moments at any size."""
DETAIL = 0.3
"""How much of the photo shines through where a size is stylised after the first one."""
TILE, HALO, BLEND = 1088, 48, 16
"""Beyond HALO pixels the networks see (their reach is 65), but less than one level of 255; blending hides that."""
SAMPLE = 256
"""Side of the crops that moments of a large picture are measured on; there are up to six."""


@dataclass(frozen=True)
class Style:
    """A style: which network draws it, and how.

    Attributes:
        network: "many" (of the 26) or "any" (of a picture).
        vector: see `networks.network_of_26` and `networks.network_of_any`.
        size: the `side` at which its strokes have the right size; more is finer.
    """

    network: str
    vector: Floats
    size: int


def style_of_26(weights: dict[int, float], size: int) -> Style:
    """Returns one of the 26 styles, or a mixture of them; weights by number, 0 to 25, any sum above 0."""
    vector = np.zeros(N_STYLES, np.float32)
    for number, weight in weights.items():
        vector[number] = weight
    return Style("many", vector / vector.sum(), size)


def style_of_picture(picture: Pixels, size: int) -> Style:
    """Returns the style of a picture, uint8 [H, W, 3]: of its middle square."""
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = resize(picture[top : top + side, left : left + side], CODE_SIDE, CODE_SIDE)
    return Style("any", style_code(square.astype(np.float32) / 255), size)


def mix_styles(one: Style, other: Style, share: float) -> Style | None:
    """Returns (1 - share) of one and `share` of the other as one style; None: different networks draw them."""
    if one.network != other.network:
        return None
    size = round(one.size ** (1 - share) * other.size**share)
    return Style(one.network, (1 - share) * one.vector + share * other.vector, size)


def stylise(photo: Pixels, style: Style) -> Pixels:
    """Returns a photo, uint8 [H, W, 3], in a style; the same size, any size."""
    network = StyledNetwork(network_of_26() if style.network == "many" else network_of_any(), style.vector)
    height, width = photo.shape[:2]
    first, *others = sizes(height, width, style.size)
    out = _whole(network, resize(photo, *first))
    for h, w in others:
        out = _in_tiles(network, photo if (h, w) == (height, width) else resize(photo, h, w), out)
    return out if (height, width) == out.shape[:2] else resize(out, height, width)


def sizes(height: int, width: int, size: int) -> list[tuple[int, int]]:
    """Returns the sizes (height, width) at which a photo is stylised, one after the other."""
    side = float(np.sqrt(height * width))
    if 1 / AS_IT_IS <= side / size <= AS_IT_IS:
        return [(height, width)]
    scale = min(size / side, LARGEST_UP)
    if scale > 1:
        return [_scaled(height, width, scale)]
    steps = int(np.ceil(np.log(1 / scale) / np.log(LARGEST_STEP)))
    return [_scaled(height, width, scale ** (1 - i / steps)) for i in range(steps)] + [(height, width)]


def _scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    return max(1, round(height * scale)), max(1, round(width * scale))


def _whole(network: StyledNetwork, photo: Pixels) -> Pixels:
    height, width = photo.shape[:2]
    padded = _padded(photo)
    scale = min(1.0, REFERENCE_SIDE / float(np.sqrt(padded.shape[0] * padded.shape[1])))
    h, w = (max(SMALLEST, round(n * scale / STRIDE) * STRIDE) for n in padded.shape[:2])
    shares = np.array([1 - REFERENCE_SHARE], np.float32)
    out, _ = network.run_and_measure(_planes(padded)[None], shares, _planes(still_reference(h, w))[None])
    return _pixels(out[0])[:height, :width]


def _in_tiles(network: StyledNetwork, photo: Pixels, small: Pixels) -> Pixels:
    """Returns the photo stylised, with the colours of `small`, which is the same at another size."""
    height, width = photo.shape[:2]
    large = resize(small, height, width)
    content = np.asarray(Image.blend(Image.fromarray(large), Image.fromarray(photo), DETAIL))
    local = network.frozen(network.run_and_measure(*_samples(content))[1])
    tiled = map_tiles(
        lambda x: _pixels(local(_planes(_padded(x))[None])[0])[: x.shape[0], : x.shape[1]],
        content,
        tile=TILE,
        halo=HALO,
        blend=BLEND,
        multiple=STRIDE,
    )
    return with_areas_of(tiled, large, max(1, round(max(small.shape[:2]) / 4)))


def _samples(content: Pixels) -> tuple[Floats, Floats]:
    """Returns crops of a picture, spread evenly, and the still reference [N, 3, h, w]; and what each counts [N]."""
    height, width = content.shape[:2]
    h, w = (max(SMALLEST, min(n, SAMPLE) // STRIDE * STRIDE) for n in (height, width))
    padded = content if h <= height and w <= width else _padded(content)
    rows, columns = (3, 2) if height >= width else (2, 3)
    tops, lefts = (
        np.linspace(0, n - m, k).astype(int) for n, m, k in ((padded.shape[0], h, rows), (padded.shape[1], w, columns))
    )
    crops = [_planes(padded[t : t + h, x : x + w]) for t in tops for x in lefts]
    shares = np.full(len(crops) + 1, (1 - REFERENCE_SHARE) / len(crops), np.float32)
    shares[-1] = REFERENCE_SHARE
    return np.stack([*crops, _planes(still_reference(h, w))]), shares


@lru_cache(maxsize=2)
def still_reference(height: int, width: int) -> Pixels:
    """Returns coloured noise, uint8 [height, width, 3], whose amplitudes fall with 1 / frequency, as in photos.

    Mostly of one lightness pattern with some colour; the same for a size, always.
    """
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    phases = rng.random((3, *frequency.shape))
    noise = np.fft.irfft2(np.exp(2j * np.pi * phases) / frequency, s=(height, width), axes=(1, 2))
    noise /= noise.std(axis=(1, 2), keepdims=True) + 1e-9
    tones = 0.5 + 0.22 * (0.85 * noise[:1] + 0.5 * noise)
    pixels = _pixels(tones.astype(np.float32))
    pixels.flags.writeable = False
    return pixels


def _padded(pixels: Pixels) -> Pixels:
    """Returns pixels reflected to the right and below, to sides that the networks take."""
    height, width = pixels.shape[:2]
    h, w = (max(SMALLEST, -(-n // STRIDE) * STRIDE) for n in (height, width))
    return (
        pixels
        if (h, w) == (height, width)
        else np.pad(pixels, ((0, h - height), (0, w - width), (0, 0)), mode="reflect")
    )


def _planes(pixels: Pixels) -> Floats:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / 255


def _pixels(planes: Floats) -> Pixels:
    return np.rint(np.clip(planes.transpose(1, 2, 0), 0, 1) * 255).astype(np.uint8)
