"""From pixels back to the register: which released picture is this, where its labels are gone or cannot be believed?

A watermark proves: an id is read from a picture without one at most once in two million times (`release.watermark`),
and has to be a registered one on top. A fingerprint proves nothing: it says that two pictures look alike, as an edit
looks like the photo that it was made from.

dHash and thumb: `packshot.catalog.fingerprint`. The bounds were chosen on 340 product photos: of what a JPEG of quality
50, a resize to a quarter and a screenshot left of them, nothing differed in more than 4 bits, 1.1 grey levels on
average and 7 in any part of the thumb; of 57,630 pairs of different photos 5 are within the bounds. A crop is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from packshot.catalog.fingerprint import fingerprint_grey, words_of
from packshot.images.resize import Pixels, flatten
from packshot.release.register import Entry, find_by_number, fingerprints, thumbs

MAX_BITS, MAX_MEAN, MAX_PART = 8, 3.0, 24.0
"""Of 64 bits of dHash, and of grey levels of the thumb, that pictures which look alike may differ in."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How much two pictures look alike.

    Attributes:
        bits: of 64 bits of dHash, how many differ.
        mean: difference of the grey thumbs, in levels of 255, on average.
        part: and where it is largest.
    """

    bits: int
    mean: float
    part: float

    @property
    def near(self) -> bool:
        """Whether one may be the other, encoded again."""
        return self.bits <= MAX_BITS and self.mean <= MAX_MEAN and self.part <= MAX_PART


class Fingerprint:
    """The fingerprint of a picture, to be compared with the register's.

    Attributes:
        dhash: 16 hex digits.
        thumb: 16 x 16 grey pixels, uint8, row by row.
    """

    def __init__(self, pixels: Pixels) -> None:
        grey = np.asarray(Image.fromarray(flatten(pixels)).convert("L"))
        (self.dhash,), (self.thumb,) = fingerprint_grey(grey[None])

    def likeness(self, dhash: str, thumb: bytes) -> Likeness:
        """Returns how much the picture looks like the one with this fingerprint."""
        bits = int(np.bitwise_count(words_of([self.dhash]) ^ words_of([dhash]))[0])
        other = np.frombuffer(thumb, np.uint8).astype(np.float32)
        difference = np.abs(np.frombuffer(self.thumb, np.uint8) - other)
        return Likeness(bits=bits, mean=round(float(difference.mean()), 2), part=float(difference.max()))

    def nearest(self) -> tuple[Entry, Likeness, int] | None:
        """Returns the registered picture that looks most alike, how much, and how many others are near, too."""
        known = fingerprints()
        if not known:
            return None
        bits = np.bitwise_count(words_of([dhash for _, dhash in known]) ^ words_of([self.dhash]))
        candidates = {known[i][0]: known[i][1] for i in np.flatnonzero(bits <= MAX_BITS)}
        found = [(self.likeness(candidates[n], thumb), n) for n, thumb in thumbs(list(candidates))]
        near = sorted(((like.mean, like.bits, -n, like) for like, n in found if like.near), key=lambda t: t[:3])
        if not near:
            return None
        entry = find_by_number(-near[0][2])
        return None if entry is None else (entry, near[0][3], len(near) - 1)
