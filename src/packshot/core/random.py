"""Named random streams: every use of chance derives its own seed from the run's seed, a name and numbers.

A stream depends on nothing that was drawn before, so a resumed run draws what the unbroken run would have drawn.
"""

import hashlib

import numpy as np
import numpy.typing as npt


def stream_seed(seed: int, name: str, *index: int) -> int:
    """Returns a 63-bit seed for the stream `name` at `index`, for example `stream_seed(7, "noise", step)`."""
    text = ":".join([str(seed), name, *map(str, index)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def draw_subset(count: int, limit: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Returns which of `count` photos a run with `data.limit` is trained on: int64 [min(count, limit)], rising."""
    if limit is None:
        return np.arange(count)
    order = np.random.Generator(np.random.PCG64(stream_seed(seed, "subset"))).permutation(count)
    return np.sort(order[:limit])
