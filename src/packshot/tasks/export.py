"""A generator as one ONNX file, prior and all, for programs without Packshot or torch.

Letters: N pictures, H height, W width, C channels, z ~ N(0, I) as `TrainedGenerator.noise` draws it.
"""

import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import packshot
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import atomic_path, read_json
from packshot.core.runs import RunFolder
from packshot.models.ranges import to_uint8
from packshot.release.door import check_free
from packshot.sampling.generator import TrainedGenerator, equal_shares
from packshot.tasks.points import check_fraction
from packshot.tasks.trained import load_run_generator

# Has all that the networks use, and old runtimes read it.
OPSET = 17
CHECKED = 64
MOST_DIFFERENCE = 1
THREADS = 2
TIMED_SECONDS = 1.0


@dataclass(frozen=True)
class ExportResult:
    """The file, and how it compares.

    Attributes:
        file: the ONNX file: `z` float32 [N, z_dim] ~ N(0, I) and `label` int64 [N] to `pictures` uint8 [N, H, W, C].
        model: name of the model.
        z_dim: length of z.
        shape: H, W, C.
        opset: of the ONNX operators.
        bytes: size of the file.
        truncation_psi: built into the graph.
        difference: largest difference to torch on 64 random z, in grey levels of 255.
        torch_pictures_per_second: on `threads` threads, in batches of 64.
        onnx_pictures_per_second: the same by ONNX Runtime.
        threads: 2, or 1 where there is one core.
    """

    file: Path
    model: str
    z_dim: int
    shape: tuple[int, int, int]
    opset: int
    bytes: int
    truncation_psi: float
    difference: int
    torch_pictures_per_second: float
    onnx_pictures_per_second: float
    threads: int


class _Graph(nn.Module):
    """What is exported: z and label to uint8 pictures [N, H, W, C] without their margin."""

    def __init__(self, generator: TrainedGenerator, truncation_psi: float) -> None:
        super().__init__()
        # As modules of its own, so that their weights become the file's.
        self.network, self.prior = generator.network, generator.prior
        self.generator, self.truncation_psi = generator, truncation_psi

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        pictures = to_uint8(self.generator.render(z, label, truncation_psi=self.truncation_psi))
        size, margin = self.generator.spec.size, self.generator.margin
        return pictures[:, margin : size - margin, margin : size - margin]


def export(run_path: Path, out: Path, *, truncation_psi: float = 1.0, overwrite: bool = False) -> ExportResult:
    """Writes the generator of a run as an ONNX file, compares it with torch, and measures both.

    The file's metadata holds the categories (a label is an index into them), the model's name and card, the sizes, and
    the source type that pictures made with it have to carry.

    Args:
        run_path: the run folder.
        out: the file, ending in .onnx.
        truncation_psi: 0 .. 1, built in.
        overwrite: replace the file.

    Raises:
        UsageError: another ending, or truncation out of its range.
        PackshotError: no trained model there, onnx is not installed, the model has a part that ONNX cannot hold, or
            the file's pictures differ from torch's by more than 1 grey level. Nothing is left behind.
    """
    if out.suffix != ".onnx":
        raise UsageError(f"--onnx {out} has to end in .onnx.")
    check_fraction("--truncation", truncation_psi)
    if not overwrite:
        check_free([out])
    onnx, runtime = _packages()
    generator = load_run_generator(run_path)
    if not generator.is_smooth:
        raise PackshotError(
            f"Model '{generator.model}' cannot be exported: it draws codes one after the other, which is no ONNX graph."
        )
    card = read_json(RunFolder.open(run_path).card_file)
    graph = _Graph(generator, truncation_psi).eval()
    z = generator.noise(0, 0, CHECKED)
    label = torch.from_numpy(equal_shares(CHECKED, len(generator.categories)))
    threads = min(THREADS, os.cpu_count() or 1)
    with atomic_path(out, overwrite=overwrite) as temporary:
        _write(graph, z, label, temporary, generator.model)
        model = onnx.load(temporary)
        onnx.helper.set_model_props(model, _metadata(generator, truncation_psi, card))
        onnx.checker.check_model(model)
        onnx.save(model, temporary)
        feeds = {"z": z.numpy(), "label": label.numpy()}
        session, theirs = _run(runtime, temporary, feeds, threads, generator.model)
        ours = generator.pictures(z, label, truncation_psi=truncation_psi)
        difference = _difference(ours, theirs)
        if difference > MOST_DIFFERENCE:
            raise PackshotError(
                f"The ONNX file's pictures differ from torch's by up to {difference} grey levels of 255; nothing was "
                f"written. Model '{generator.model}' cannot be exported faithfully."
            )
        size = temporary.stat().st_size
    old = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            torch_rate = _rate(lambda: graph(z, label))
    finally:
        torch.set_num_threads(old)
    onnx_rate = _rate(lambda: session.run(None, feeds))
    h, w, c = ours.shape[1:]
    return ExportResult(
        out,
        generator.model,
        z.shape[1],
        (h, w, c),
        OPSET,
        size,
        truncation_psi,
        difference,
        torch_rate,
        onnx_rate,
        threads,
    )


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
    except ImportError as e:
        raise PackshotError(
            f"Export needs onnx and onnxruntime ({e.name} is missing); install them with: pip install 'packshot[onnx]'"
        ) from e
    return onnx, onnxruntime


def _write(graph: nn.Module, z: Tensor, label: Tensor, path: Path, name: str) -> None:
    # The exporter by tracing needs the package onnx alone; torch's newer one needs two more and ten times the time.
    # Its notices about that, and about sizes that the trace takes as constants, say nothing to a user: the comparison
    # with torch, on a batch of another size than the traced one, is what decides.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph,
                (z[:2], label[:2]),
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=["z", "label"],
                output_names=["pictures"],
                dynamic_axes={part: {0: "N"} for part in ("z", "label", "pictures")},
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as e:
        raise PackshotError(
            f"Model '{name}' has a part that ONNX cannot hold ({_reason(e)}); nothing was written."
        ) from e


def _run(runtime: Any, path: Path, feeds: dict[str, Any], threads: int, name: str) -> tuple[Any, npt.NDArray[np.uint8]]:
    """Returns a session of the file, and the pictures that it makes of `feeds`."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # What goes wrong is said by an exception too.
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return session, session.run(None, feeds)[0]
    except Exception as e:  # ONNX Runtime's exceptions have no other class in common.
        raise PackshotError(
            f"ONNX Runtime cannot run the file of model '{name}' on another number of pictures than it was traced "
            f"with ({_reason(e)}); nothing was written."
        ) from e


def _reason(e: Exception) -> str:
    return str(e).strip().splitlines()[0].split(". ")[0].rstrip(".")


def _metadata(generator: TrainedGenerator, truncation_psi: float, card: Any) -> dict[str, str]:
    values = {
        "packshot": packshot.__version__,
        "model": generator.model,
        "categories": list(generator.categories),
        "size": generator.spec.size - 2 * generator.margin,
        "margin": generator.margin,
        "channels": generator.spec.channels,
        "truncation_psi": truncation_psi,
        "digital_source_type": "trainedAlgorithmicMedia",
        "card": card,
    }
    return {name: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for name, v in values.items()}


def _difference(ours: Any, theirs: Any) -> int:
    if ours.shape != theirs.shape or theirs.dtype != np.uint8:
        return 255
    return int(np.abs(ours.astype(np.int16) - theirs.astype(np.int16)).max())


def _rate(work: Callable[[], object]) -> float:
    """Returns pictures in a second, of work that makes CHECKED of them; once to warm up, then for a second."""
    work()
    start, rounds = time.perf_counter(), 0
    while rounds < 3 or time.perf_counter() - start < TIMED_SECONDS:
        work()
        rounds += 1
    return round(CHECKED * rounds / (time.perf_counter() - start), 1)
