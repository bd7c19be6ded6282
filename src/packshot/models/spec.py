"""What a network has to make: the size, channels and number of categories of the pictures."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PictureSpec:
    """The pictures of a training set.

    Attributes:
        size: height and width of the square pictures, in pixels.
        channels: 1 grey or 3 RGB.
        categories: how many categories there are; labels are 0 .. categories - 1.
    """

    size: int
    channels: int
    categories: int
