"""Matting networks that a user brings: ONNX files of U2-Net, ISNet (DIS), BiRefNet, MODNet, or any with a descriptor.

A descriptor is FILE.json beside FILE.onnx and says how the network wants its photo and what its answer means.
Without one the network is recognised by its input's name and size.

Source of the recognised ones' preprocessing: their publications' own inference code; Qin et al. 2020, arXiv:2005.09007
(U2-Net); Qin et al. 2022, arXiv:2203.03041 (DIS); Zheng et al. 2024, arXiv:2401.03407 (BiRefNet); Ke et al. 2020,
arXiv:2011.11961 (MODNet).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from packshot.core.config import build_config, to_table
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import disk_errors, read_json, sha256_file
from packshot.models.cutout.guess import Floats, Guess, certainty, plausible

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FOREIGN_THRESHOLD = 0.7


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """How an ONNX matting network is fed and read. The photo is scaled to `size`, RGB, NCHW.

    Attributes:
        kind: a name for a person.
        size: height and width of the input; one number: both.
        mean: subtracted from each channel, after values 0 .. 255 were divided by `range`.
        std: what each channel is then divided by.
        range: the pixel value that becomes 1.
        brightest: the photo's own largest value becomes 1 instead.
        output: which of the outputs is the matte, from 0.
        sigmoid: the output is logits.
        stretch: the output is stretched so that its least value is 0 and its largest 1.
        threshold: below this confidence a person should look.
    """

    kind: str = "descriptor"
    size: tuple[int, ...] = (320,)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    range: float = 255.0
    brightest: bool = False
    output: int = 0
    sigmoid: bool = False
    stretch: bool = False
    threshold: float = FOREIGN_THRESHOLD

    def __post_init__(self) -> None:
        if len(self.size) not in (1, 2) or not all(16 <= n <= 4096 for n in self.size):
            raise ValueError(f"size is {list(self.size)}; it can be one or two numbers from 16 to 4096")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(self.std) or self.range <= 0:
            raise ValueError("mean and std are three numbers each, none of std is 0, and range is above 0")
        if self.output < 0:
            raise ValueError(f"output is {self.output}; outputs are counted from 0")


KNOWN = {
    "u2net": Descriptor(kind="u2net", size=(320,), brightest=True, stretch=True),
    "isnet": Descriptor(kind="isnet", size=(1024,), mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0), stretch=True),
    "birefnet": Descriptor(kind="birefnet", size=(1024,), sigmoid=True),
    "modnet": Descriptor(kind="modnet", size=(512,), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
}


class ForeignMatter:
    """Runs an ONNX file with onnxruntime."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.session = _open(path)
        self.descriptor = _describe(path, self.session)
        self.name, self.threshold = f"{self.descriptor.kind} ({path.name})", self.descriptor.threshold
        self.checksum = sha256_file(path)

    def settings(self) -> dict[str, Any]:
        """Returns the file's checksum and how it is fed and read."""
        return {"name": self.path.name, "sha256": self.checksum, "descriptor": to_table(self.descriptor)}

    def __call__(self, photo: npt.NDArray[np.uint8]) -> Guess:
        """Returns the matte of a photo, uint8 [H, W, 3].

        Raises:
            PackshotError: the network fails, or its answer is no matte.
        """
        d = self.descriptor
        h, w = d.size[0], d.size[-1]
        small = np.asarray(Image.fromarray(photo).resize((w, h), Image.Resampling.LANCZOS), np.float32)
        largest = max(float(small.max()), 1e-6) if d.brightest else d.range
        x = (small / largest - np.array(d.mean, np.float32)) / np.array(d.std, np.float32)
        try:
            answers = self.session.run(None, {self.session.get_inputs()[0].name: x.transpose(2, 0, 1)[None]})
        except Exception as e:  # onnxruntime's errors have no common class of their own.
            raise PackshotError(_no_matte(self.path, f"it fails on a picture of {w} x {h}: {_first_line(e)}")) from e
        if d.output >= len(answers):
            raise PackshotError(_no_matte(self.path, f"it has {len(answers)} outputs, and number {d.output} is asked"))
        answer = np.asarray(answers[d.output])
        plane = answer.reshape(answer.shape[-2:]) if answer.ndim >= 2 and answer.size == h * w else None
        if plane is None or plane.shape != (h, w) or plane.dtype.kind != "f":
            raise PackshotError(_no_matte(self.path, f"its answer is {answer.dtype} {list(answer.shape)}"))
        alpha = plane.astype(np.float32)
        if not np.isfinite(alpha).all():
            raise PackshotError(_no_matte(self.path, "its answer holds values that are no numbers"))
        if d.sigmoid:
            alpha = 1 / (1 + np.exp(-np.clip(alpha, -60, 60)))
        if d.stretch:
            low, high = float(alpha.min()), float(alpha.max())
            alpha = (alpha - low) / max(high - low, 1e-6)
        elif alpha.min() < -0.05 or alpha.max() > 1.05:
            raise PackshotError(_no_matte(self.path, "its answer is not in 0 .. 1; is `sigmoid` or `stretch` missing?"))
        alpha = _shaped_as(np.clip(alpha, 0, 1), photo)
        return Guess(alpha, certainty(alpha) * plausible(alpha))


def _open(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as e:
        raise PackshotError(
            f"--model needs onnxruntime ({e.name} is missing); install it with: pip install 'packshot[onnx]'"
        ) from e
    with disk_errors(path):
        if path.exists() and not path.is_file():  # Opening a pipe would wait for ever.
            raise UsageError(f"{path} is not a file; give an .onnx file.")
        with path.open("rb"):
            pass
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # As above.
        raise UsageError(f"{path} is no ONNX model that can be run ({_first_line(e)}); give an .onnx file.") from e
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = inputs[0].shape if len(inputs) == 1 else []
    named = len(shape) == 4 and (shape[1] in (3, None) or isinstance(shape[1], str))
    if not named or inputs[0].type != "tensor(float)":
        raise UsageError(_no_matte(path, "it does not take one picture [1, 3, H, W] of 32-bit numbers"))
    if not outputs or all(o.shape is not None and len(o.shape) < 3 for o in outputs):
        raise UsageError(_no_matte(path, "none of its outputs is a picture"))
    return session


def _describe(path: Path, session: Any) -> Descriptor:
    """Returns the descriptor beside the file, else that of the network that its input looks like."""
    beside = path.with_suffix(".json")
    if beside.is_file():
        table = read_json(beside)
        if isinstance(table, dict) and isinstance(table.get("size"), int):
            table = {**table, "size": [table["size"]]}
        try:
            return build_config(Descriptor, table)
        except UsageError as e:
            raise UsageError(f"{beside}: {e}") from e
    wanted, outputs = session.get_inputs()[0], session.get_outputs()
    sides = {n for n in wanted.shape[2:] if isinstance(n, int)}
    if wanted.name == "input_image":
        return KNOWN["birefnet"]
    if sides == {320}:
        return KNOWN["u2net"]
    if sides == {1024}:
        return KNOWN["isnet"]
    if len(outputs) == 1 and (sides == {512} or not sides):
        return KNOWN["modnet"]
    raise UsageError(
        f"{path} is none of {', '.join(KNOWN)} (its input is {wanted.name} {list(wanted.shape)}); say in {beside.name} "
        "how it is used: size, mean, std, range, output, sigmoid, stretch."
    )


def _shaped_as(alpha: Floats, photo: npt.NDArray[np.uint8]) -> Floats:
    """Returns the matte in the photo's own proportions: the longer side stays, the shorter one is scaled."""
    height, width = photo.shape[:2]
    factor = max(alpha.shape) / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BILINEAR)).clip(0, 1)


def _no_matte(path: Path, why: str) -> str:
    return f"{path} is no matting model that Packshot can use: {why}."


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160].rstrip(".") if str(error).strip() else type(error).__name__
