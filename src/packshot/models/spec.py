"""What a network has to make: the size, channels and number of categories of the pictures."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PictureSpec:
    """The pictures of a training set.

    Attributes:
        size: height and width of the square pictures, in pixels.
        channels: 1 grey or 3 RGB.
        categories: how many categories there are; labels are 0 .. categories - 1.
        conditions: lengths of the parts of the vector of what else can be asked for (`models.conditions`).
    """

    size: int
    channels: int
    categories: int
    conditions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "conditions", tuple(self.conditions))  # JSON knows only lists.

    @property
    def halvings(self) -> int:
        """How often the side can be halved down to 4."""
        return (self.size // 4).bit_length() - 1

    def doubled_widths(self, width: int) -> list[int]:
        """Returns the channels at size/2, size/4, ... 4: `width`, and twice as many at every halving."""
        return [width * 2**i for i in range(self.halvings)]


def usual_size(native: int) -> int:
    """Returns the side at which photos of a native side are trained unless one is asked for: 32 up to 32, else 64."""
    return 32 if native <= 32 else 64
