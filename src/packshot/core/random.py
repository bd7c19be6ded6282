"""Named random streams: every use of chance derives its own seed from the run's seed, a name and numbers.

A stream depends on nothing that was drawn before, so a resumed run draws what the unbroken run would have drawn.
"""

import hashlib


def stream_seed(seed: int, name: str, *index: int) -> int:
    """Returns a 63-bit seed for the stream `name` at `index`, for example `stream_seed(7, "noise", step)`."""
    text = ":".join([str(seed), name, *map(str, index)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
