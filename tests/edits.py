"""An edit for tests of batches, in a module that worker processes can import."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packshot.core.errors import DiskFull, PackshotError
from packshot.images.picture import Operation, ProductImage
from packshot.tasks.edit import Edited

ODD = 13
"""The width of a photo that something happens to."""


@dataclass(frozen=True)
class Noted:
    """Turns colours into their opposites, and notes the name of each photo in a file.

    Attributes:
        log: the file.
        wait: seconds that a photo takes.
        odd: what becomes of a photo of the width ODD: "killed once", "killed", "refused", "full", "fault".
    """

    log: Path
    wait: float = 0.0
    odd: str = "refused"

    task = "noted"

    def settings(self) -> dict[str, Any]:
        return {"wait": self.wait}

    def __call__(self, image: ProductImage) -> Edited:
        name = str(image.history[0].params["name"])
        with self.log.open("a") as f:
            f.write(f"{name} {os.getpid()}\n")
        time.sleep(self.wait)
        if image.width == ODD:
            self.be_odd(name)
        pixels = np.uint8(255) - image.pixels
        return Edited(image=image.done(Operation("invert", "classical"), pixels), notes=(f"{name} was noted.",))

    def be_odd(self, name: str) -> None:
        times = sum(line.startswith(f"{name} ") for line in self.log.read_text().splitlines())
        if self.odd == "killed" or (self.odd == "killed once" and times == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.odd == "refused":
            raise PackshotError("13 pixels wide is unlucky; use another photo.")
        if self.odd == "full":
            raise DiskFull("Cannot use it: the disk is full.")
        if self.odd == "fault":
            raise ValueError("what nobody thought of")
