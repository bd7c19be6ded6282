"""What the desk's processes are asked about styles: small pictures to choose by. The full size is an edit.

A preview is shown on a page and is no release: it says in its XMP that AI changed it, and is neither signed nor
registered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from packshot.jobs.settings import Limits

QUALITY = 84


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a preview is to look.

    Attributes:
        style: a preset's name; "": that of the picture that comes along.
        strength: 0 to 1.
        keep_colours: the style's strokes in the photo's colours.
        only: "product" or "background"; None: everything.
    """

    style: str
    strength: float = 1.0
    keep_colours: bool = False
    only: Literal["product", "background"] | None = None


def style_preview(data: bytes, look: Look, side: int, limits: Limits, style: bytes | None = None) -> bytes:
    """Returns a photo in a style as a WebP of at most `side` pixels a side.

    Args:
        data: the photo's file.
        look: what is wanted.
        side: of the longer side.
        limits: of what is decoded.
        style: file of a picture whose style is taken; None: `look.style` is a preset.

    Raises:
        UsageError: there is no such style.
        PackshotError: a picture cannot be decoded, or the style picture is of one flat colour.
    """
    import tempfile
    from dataclasses import replace
    from pathlib import Path

    from packshot.images import xmp
    from packshot.images.decode import Limits as ImageLimits
    from packshot.images.decode import decode
    from packshot.images.encode import encode
    from packshot.images.picture import Metadata
    from packshot.images.resize import resize
    from packshot.release.source_type import derive_source_type
    from packshot.tasks.cutout import Cutout
    from packshot.tasks.restyle import Restyle, RestyleRequest

    image = decode(data, limits=ImageLimits(max_bytes=limits.bytes, max_pixels=limits.pixels), at_least=side)
    scale = min(1.0, side / max(image.width, image.height))
    small = resize(image.pixels, max(1, round(image.height * scale)), max(1, round(image.width * scale)))
    with tempfile.TemporaryDirectory(prefix="packshot-desk-") as folder:
        name = look.style
        if style is not None:
            path = Path(folder) / "style"
            path.write_bytes(style)
            name = str(path)
        request = RestyleRequest(styles=(name,), strength=look.strength, keep_colours=look.keep_colours, only=look.only)
        edit = Restyle(request, Cutout() if look.only is not None else None)
        done = edit(replace(image, pixels=small, metadata=Metadata())).image
    term = derive_source_type(done.history)
    metadata = Metadata(xmp=None if term is None else xmp.stating(term))
    return encode(replace(done, metadata=metadata), "WEBP", QUALITY)
