"""The matting network that comes with the package."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from packshot.core.config import build_config
from packshot.core.files import sha256_file
from packshot.models.cutout.guess import Floats, Guess, agreement, certainty, plausible
from packshot.models.cutout.net import MULTIPLE, MattingConfig, MattingNet
from packshot.models.threads import one_thread
from packshot.models.weights import load_network

WEIGHTS = Path(__file__).parent / "weights" / "model.safetensors"
CARD = WEIGHTS.with_name("card.json")


class OwnMatter:
    """Runs the network on the photo and on its mirror image, and means the two; how they differ says how sure it is."""

    name = "packshot-matte"
    size: int
    threshold: float

    def __init__(self, path: Path) -> None:
        def build(config: dict[str, Any]) -> MattingNet:
            self.size, self.threshold = int(config["size"]), float(config["threshold"])
            return MattingNet(build_config(MattingConfig, config["net"]))

        self.net = load_network(path, "matting network", build)
        self.checksum = sha256_file(path)

    def settings(self) -> dict[str, Any]:
        """Returns name and checksum."""
        return {"name": self.name, "sha256": self.checksum}

    def __call__(self, photo: npt.NDArray[np.uint8]) -> Guess:
        """Returns the matte of a photo, uint8 [H, W, 3]; its longer side is the network's input size."""
        x, (h, w) = self.prepare(photo)
        with one_thread(), torch.inference_mode():
            one = torch.sigmoid(self.net(x)[0])[0, 0, :h, :w]
            mirrored = torch.cat([x[..., :w].flip(3), x[..., w:]], 3)
            other = torch.sigmoid(self.net(mirrored)[0])[0, 0, :h, :w].flip(1)
        first, second = np.asarray(one), np.asarray(other)
        alpha: Floats = (first + second) / 2
        return Guess(alpha, agreement(first, second) * certainty(alpha) * plausible(alpha))

    def prepare(self, photo: npt.NDArray[np.uint8]) -> tuple[torch.Tensor, tuple[int, int]]:
        """Returns the network's input [1, 3, H, W] in [0, 1], and the height and width of the photo in it.

        What is missing to a multiple of 32 is filled at the right and below with the border's own pixels.
        """
        height, width = photo.shape[:2]
        factor = self.size / max(height, width)
        h, w = max(1, round(height * factor)), max(1, round(width * factor))
        small = np.asarray(Image.fromarray(photo).resize((w, h), Image.Resampling.BILINEAR))
        padded = np.pad(small, ((0, -h % MULTIPLE), (0, -w % MULTIPLE), (0, 0)), mode="edge")
        x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
        return x.contiguous(memory_format=torch.channels_last), (h, w)


@functools.cache
def load_own() -> OwnMatter:
    """Returns the network that comes with the package; once in a process.

    Raises:
        PackshotError: its weights are missing or damaged.
    """
    return OwnMatter(WEIGHTS)
