"""Contact sheets: many pictures on one white page, large enough for people to see what they are."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from packshot.core.errors import UsageError
from packshot.images.picture import Metadata, Operation, ProductImage, combined_history
from packshot.images.resize import WHITE, flatten

INK = (60, 60, 60)
FONT_SIZE = 13
LINE = 18
MAX_ROW_CAPTION = 220
TEXT_GAP = 8


def contact_sheet(
    pictures: Sequence[ProductImage], columns: int, captions: Sequence[str] | None = None, scale: int = 1
) -> ProductImage:
    """Puts pictures side by side, row by row, on white.

    Args:
        pictures: one or more, of any sizes; each is centred in a cell as large as the largest, alpha over white.
        columns: pictures in a row.
        captions: one per picture (written below it), or one per row (written to its left); None: no text. Text that
            is too long is cut with an ellipsis.
        scale: each pixel becomes a square of `scale` x `scale`, so that pictures of 28 to 64 pixels can be recognised.

    Returns:
        The sheet, RGB. Its history holds each kind of operation that the pictures went through, so a sheet of generated
        pictures is a generated picture.

    Raises:
        UsageError: no pictures, columns or scale below 1, or captions that are neither one per picture nor per row.
    """
    if not pictures:
        raise UsageError("A contact sheet needs at least one picture.")
    if columns < 1 or scale < 1:
        raise UsageError(f"A contact sheet needs columns and scale of 1 or more, not {columns} and {scale}.")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    if captions is not None and len(captions) not in (len(pictures), rows):
        raise UsageError(
            f"{len(captions)} captions fit neither the {len(pictures)} pictures nor the {rows} rows of the sheet."
        )
    below = captions if captions is not None and len(captions) == len(pictures) else None
    beside = captions if captions is not None and below is None else None

    height = scale * max(p.height for p in pictures)
    width = scale * max(p.width for p in pictures)
    gap = max(2, min(height, width) // 16)
    font = ImageFont.load_default(FONT_SIZE)
    left = gap
    if beside is not None:
        left += TEXT_GAP + min(MAX_ROW_CAPTION, round(max(font.getlength(c) for c in beside)) + 1)
    step_y, step_x = height + gap + (LINE if below is not None else 0), width + gap
    page = np.full((gap + rows * step_y, left + columns * step_x, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        pixels = flatten(picture.pixels, WHITE).repeat(scale, axis=0).repeat(scale, axis=1)
        top = gap + i // columns * step_y + (height - pixels.shape[0]) // 2
        at = left + i % columns * step_x + (width - pixels.shape[1]) // 2
        page[top : top + pixels.shape[0], at : at + pixels.shape[1]] = pixels
    if captions is not None:
        im = Image.fromarray(page)
        draw = ImageDraw.Draw(im)
        for i, caption in enumerate(captions):
            if below is not None:
                middle = left + i % columns * step_x + width / 2
                text = _cut(caption, width, font)
                draw.text((middle, gap + i // columns * step_y + height + LINE / 2), text, INK, font, anchor="mm")
            else:
                text = _cut(caption, MAX_ROW_CAPTION, font)
                draw.text((left - TEXT_GAP, gap + i * step_y + height / 2), text, INK, font, anchor="rm")
        page = np.asarray(im)
    operation = Operation("contact_sheet", "classical", {"pictures": len(pictures), "columns": columns, "scale": scale})
    return ProductImage(page, Metadata(), (*combined_history(pictures), operation))


def _cut(text: str, width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Returns the first line of `text`, cut with an ellipsis where it is wider than `width` pixels."""
    text = " ".join(text.split())
    if len(text) > width:  # No letter is narrower than a pixel; measuring a whole book would take long.
        text = text[: int(width)]
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1].rstrip()
    return text + "…"
