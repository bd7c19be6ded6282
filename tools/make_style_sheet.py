"""Makes the thumbnails of the named styles, and docs/images/restyle.jpg, from one photo.

    python tools/make_style_sheet.py PHOTO

The committed ones were made from photo 0764e0ee-d399-4ec9-8cba-8d4268540cd8 of the clothing data set (CC0 1.0).
"""

import sys
from pathlib import Path

import numpy as np

from packshot.images.decode import decode
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import resize
from packshot.images.sheet import contact_sheet
from packshot.models.style.presets import PRESETS, THUMBNAILS
from packshot.release.door import release
from packshot.tasks.restyle import RestyleRequest, restyle

THUMBNAIL_WIDTH, SHEET_WIDTH = 144, 216
SHEET = Path(__file__).parents[1] / "docs" / "images" / "restyle.jpg"
KEPT = ("watercolour", "mosaic")


def smaller(image: ProductImage, width: int) -> ProductImage:
    """Returns a picture scaled to a width."""
    height = round(image.height * width / image.width)
    return image.done(Operation("resize", "classical"), resize(image.pixels, height, width))


def main(path: Path) -> None:
    """Makes all of them from the photo in a file."""
    photo = decode(path)
    side = min(photo.height, photo.width)
    top, left = max(0, round((photo.height - side) * 0.3)), (photo.width - side) // 2
    square = np.ascontiguousarray(photo.pixels[top : top + side, left : left + side])
    photo = photo.done(Operation("crop", "classical"), square)
    pictures, captions = [photo], ["photo"]
    THUMBNAILS.mkdir(exist_ok=True)
    for name in PRESETS:
        styled = restyle(photo, RestyleRequest(styles=(name,))).image
        release(smaller(styled, THUMBNAIL_WIDTH), THUMBNAILS / f"{name}.webp", overwrite=True, quality=80)
        pictures.append(styled)
        captions.append(name)
    for name in KEPT:
        pictures.append(restyle(photo, RestyleRequest(styles=(name,), keep_colours=True)).image)
        captions.append(f"{name}, colours kept")
    sheet = contact_sheet([smaller(p, SHEET_WIDTH) for p in pictures], 7, captions)
    release(sheet, SHEET, overwrite=True, quality=74)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
