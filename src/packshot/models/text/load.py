"""Opens a model of pictures and texts: a run of `clip`, or a folder of a CLIP that others trained.

Letters: N texts or pictures, H W C their sizes, D length of a vector.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from packshot.catalog.dataset import Fit
from packshot.core.config import build_config
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import sha256_file
from packshot.core.runs import RunFolder
from packshot.images.resize import to_grey
from packshot.models.spec import PictureSpec
from packshot.models.text.clip import ClipConfig, ClipNet
from packshot.models.text.tokens import tokenize
from packshot.models.text.view import middle_square, picture_view
from packshot.models.weights import load_header, load_into, load_tensors, take_part

BATCH = 500


class TextModel(Protocol):
    """Pictures and texts as vectors of one space.

    Attributes:
        name: of the model.
        dim: D.
        size: the side in pixels at which photos should come.
        fit: how photos were made square, as for `Catalog.packed`.
        channels: 1 where it was trained on grey pictures alone, else 3.
        about: `path`, `sha256`, and `licence` (None where it is not known).
    """

    name: str
    dim: int
    size: int
    fit: Fit
    channels: int
    about: dict[str, Any]

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 [N, D] of unit length."""
        ...

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Returns float32 [N, D] of unit length, of uint8 pictures [N, H, W, C], grey or RGB."""
        ...


def load_text_model(path: Path) -> TextModel:
    """Opens a run folder of `clip` or its model.safetensors, or a folder with a CLIP model of transformers.

    Raises:
        PackshotError: nothing there, damaged, or a package is missing.
        UsageError: it knows no texts.
    """
    own = own_model_file(path)
    if own is not None:
        return OwnTextModel(own)
    from packshot.models.text.foreign import load_foreign

    return load_foreign(path)


def own_model_file(path: Path) -> Path | None:
    """Returns the model file of a run folder, or the file itself; None where the folder is none of Packshot's.

    Raises:
        PackshotError: nothing there, or the run has no model yet.
    """
    if path.is_dir():
        return RunFolder.open(path).trained_model() if (path / "run.json").is_file() else None
    if not path.is_file():
        raise PackshotError(f"There is no text model at {path}; train one with: packshot train CATALOG --model clip")
    return path


class OwnTextModel:
    """A trained `clip`; see `TextModel`."""

    def __init__(self, path: Path) -> None:
        if (made_by := load_header(path).get("model")) != "clip":
            raise UsageError(
                f"{path} is a '{made_by}', which knows no texts; train one: packshot train CATALOG --model clip"
            )
        tensors, header = load_tensors(path)
        try:
            config, spec = build_config(ClipConfig, header["net"]), PictureSpec(**header["spec"])
        except (KeyError, TypeError, UsageError) as e:
            raise PackshotError(f"{path} was written by another version of Packshot ({e}); train again.") from e
        self.network = ClipNet(config, spec)
        load_into(self.network, take_part(tensors, "net/"), str(path))
        self.network.eval().requires_grad_(False)
        self.name, self.dim, self.size, self.channels = "clip", config.dim, spec.size, spec.channels
        self.fit: Fit = header.get("fit", "auto")
        self.about = {"path": str(path.resolve()), "sha256": sha256_file(path), "licence": None}

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 [N, D] of unit length."""
        with torch.inference_mode():
            parts = [self.network.encode_text(t) for t in torch.from_numpy(tokenize(texts)).split(BATCH)]
        return torch.cat(parts).numpy()

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Returns float32 [N, D] of unit length, of uint8 pictures [N, H, W, C]; what is not square loses its ends."""
        images = middle_square(images)
        if self.channels == 1 and images.shape[3] == 3:
            images = np.stack([to_grey(image) for image in images])
        return self.encode_views(picture_view(images))

    def encode_views(self, views: np.ndarray) -> np.ndarray:
        """Returns float32 [N, D] of unit length, of what `picture_view` says of pictures."""
        with torch.inference_mode():
            return self.network.encode_picture(torch.from_numpy(views)).numpy()
