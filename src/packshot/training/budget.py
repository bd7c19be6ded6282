"""How long to train: wall seconds, CPU-seconds or thousands of pictures."""

import math
import re
from dataclasses import dataclass

from packshot.core.errors import UsageError

_UNITS = {
    "s": ("seconds", 1),
    "m": ("seconds", 60),
    "h": ("seconds", 3600),
    "cpu-s": ("cpu_seconds", 1),
    "kimg": ("kimg", 1),
}


@dataclass(frozen=True)
class Budget:
    """An amount of one kind: "seconds" (wall), "cpu_seconds" (all threads of this process) or "kimg"."""

    kind: str
    amount: float

    def progress(self, *, seconds: float, cpu_seconds: float, images: int) -> float:
        """Returns the share of the budget that is used, in [0, 1]."""
        used = {"seconds": seconds, "cpu_seconds": cpu_seconds, "kimg": images / 1000}[self.kind]
        return min(1.0, used / self.amount)


def parse_budget(text: str) -> Budget:
    """Reads "120s", "5m", "2h", "300cpu-s" or "200kimg".

    Raises:
        UsageError: it is none of these, or not above zero.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(s|m|h|cpu-s|kimg)\s*", text)
    if match is None or not 0 < float(match[1]) < math.inf:
        raise UsageError(
            f"'{text}' is no budget; write for example 120s, 5m, 300cpu-s (CPU-seconds) or 200kimg (pictures)."
        )
    kind, factor = _UNITS[match[2]]
    return Budget(kind, float(match[1]) * factor)
