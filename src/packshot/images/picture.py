"""What a picture is here: its pixels, the metadata it carries, and the history of what was done to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

Origin = Literal["capture", "classical", "learned", "generated"]


@dataclass(frozen=True)
class Metadata:
    """What a picture file carries beside its pixels; each part is None where the file has none.

    Attributes:
        exif: EXIF, starting with `Exif\\0\\0`; its orientation is always 1, since the pixels are stored upright.
        icc: an ICC profile that is right for sRGB pixels. A profile that the pixels were converted from is not kept.
        xmp: an XMP packet (XML), as it was found.
        dpi: horizontal and vertical resolution in pixels per inch.
        credentials: the whole file, where it holds a C2PA manifest: what leaves later keeps that manifest as the
            ingredient that it began with.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    credentials: bytes | None = field(default=None, repr=False)


def _json(value: Any) -> Any:
    """Returns a deep copy of a JSON value; raises TypeError with the part that is none."""
    if value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, (list, tuple)):
        return [_json(v) for v in value]
    if isinstance(value, Mapping) and all(isinstance(k, str) for k in value):
        return {k: _json(v) for k, v in value.items()}
    raise TypeError(repr(value))


@dataclass(frozen=True)
class Operation:
    """One entry of a picture's history.

    Attributes:
        name: what was done, for example "decode", "resize", "sample".
        origin: what kind of process the pixels went through: "capture" (they came out of a file), "classical"
            (crop, resize, colour), "learned" (a network changed pixels that were there, or decided which stay),
            "generated" (pixels were made that nobody photographed there).
        params: details, as JSON values (str, int, float, bool, None, lists and tables of them).

    Raises:
        ValueError: an unknown origin, or params that JSON cannot hold.
    """

    name: str
    origin: Origin
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.origin not in get_args(Origin):
            raise ValueError(f"origin is {self.origin!r}; it can be {', '.join(get_args(Origin))}.")
        try:
            # A copy: whoever gave the table may change it later, the history may not.
            params = _json(self.params)
        except TypeError as e:
            raise ValueError(f"params of operation '{self.name}' hold {e}, which is not a JSON value.") from e
        object.__setattr__(self, "params", params)


@dataclass(frozen=True, eq=False)
class ProductImage:
    """A picture: sRGB pixels, metadata, history. It never changes; `done` returns the next one.

    Attributes:
        pixels: [H, W, 3] (RGB) or [H, W, 4] (RGBA, alpha not premultiplied), uint8, read-only. A writable array is
            copied, so that nobody can change the picture through it.
        metadata: what the file carried.
        history: what was done, oldest first. Labels for AI-made pictures derive from it.

    Raises:
        ValueError: pixels of another shape or type, or without a pixel.
    """

    pixels: Pixels
    metadata: Metadata = field(default_factory=Metadata)
    history: tuple[Operation, ...] = ()

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or 0 in pixels.shape or pixels.dtype.name != "uint8":
            raise ValueError(
                f"pixels are {pixels.dtype.name} {list(pixels.shape)}; expected uint8 [H, W, 3] or [H, W, 4]."
            )
        if pixels.flags.writeable or not pixels.flags.c_contiguous:
            pixels = pixels.copy(order="C")
            pixels.flags.writeable = False
        object.__setattr__(self, "pixels", pixels)
        object.__setattr__(self, "history", tuple(self.history))

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor, so that the copy in another process is read-only too.
        return ProductImage, (self.pixels, self.metadata, self.history)

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def has_alpha(self) -> bool:
        """Whether the pixels are RGBA."""
        return int(self.pixels.shape[2]) == 4

    def done(self, operation: Operation, pixels: Pixels | None = None) -> ProductImage:
        """Returns the picture after `operation`: new pixels (None: the same ones) and one more entry in the history."""
        return replace(self, pixels=self.pixels if pixels is None else pixels, history=(*self.history, operation))


def combined_history(pictures: Iterable[ProductImage]) -> tuple[Operation, ...]:
    """Returns the history of something put together from several pictures: each kind of operation once.

    Details are left out, all but a `source_type` that a file declared, so the result stays short for any number of
    pictures and still says all that labels derive from.
    """
    kinds: dict[tuple[str, Origin, str | None], None] = {}
    for picture in pictures:
        for operation in picture.history:
            kinds[operation.name, operation.origin, operation.params.get("source_type")] = None
    return tuple(
        Operation(name, origin, {"source_type": declared} if declared else {}) for name, origin, declared in kinds
    )
