"""Shape checks at boundaries: a letter, once bound, holds for the arguments that follow."""

from typing import Any


def check_shape(name: str, array: Any, *dims: int | str, **bound: int) -> dict[str, int]:
    """Checks `array.shape` against `dims` and returns the letters bound so far.

    Args:
        name: the argument's name, for the message.
        array: anything with a `.shape`.
        dims: an int is that size; a letter is any size, but the same size wherever the letter is bound already.
        bound: letters bound by earlier arguments: `b = check_shape("image", x, "H", "W", 3)` and then
            `check_shape("mask", m, "H", "W", **b)`.

    Raises:
        ValueError: the shape differs.
    """
    shape = tuple(array.shape)
    letters = dict(bound)
    ok = len(shape) == len(dims)
    for size, dim in zip(shape, dims, strict=False):
        want = dim if isinstance(dim, int) else letters.setdefault(dim, size)
        ok = ok and size == want
    if not ok:
        expected = ", ".join(f"{d}={bound[d]}" if isinstance(d, str) and d in bound else str(d) for d in dims)
        raise ValueError(f"{name} has shape {list(shape)}, expected [{expected}].")
    return letters
