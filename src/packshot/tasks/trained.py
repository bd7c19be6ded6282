"""What every task with a trained generator needs: the generator of a run, and its pictures with their history."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.core.runs import RunFolder
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import to_rgb
from packshot.sampling.generator import TrainedGenerator, load_generator


def load_run_generator(path: Path) -> TrainedGenerator:
    """Loads the generator of a run folder.

    Raises:
        PackshotError: no run there, or it has no model yet.
    """
    return load_generator(RunFolder.open(path).trained_model())


def generated_picture(
    pixels: npt.NDArray[np.uint8], generator: TrainedGenerator, operation: str, params: Mapping[str, Any]
) -> ProductImage:
    """Returns uint8 pixels [H, W, C] of a generator as a picture whose history says where it came from."""
    history = (Operation(operation, "generated", {"model": generator.model, **params}),)
    return ProductImage(to_rgb(pixels), history=history)


def slug(name: str) -> str:
    """Returns a name as a part of a file name: "T-shirt/top" becomes "t-shirt-top"."""
    return re.sub(r"[^\w]+", "-", name.lower()).strip("-") or "picture"
