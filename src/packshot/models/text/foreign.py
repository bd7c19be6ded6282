"""CLIP models that others trained, from a local folder in the format of transformers; nothing is downloaded.

Only safetensors are read, never a pickle, and no code that comes with a model is run.

Letters: N texts or pictures, H W C their sizes, D length of a vector.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from packshot.catalog.dataset import Fit
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import read_json, sha256_file
from packshot.models.text.view import middle_square

BATCH = 32
# Radford et al. 2021: mean and deviation of the pictures that CLIP was trained on.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def load_foreign(path: Path) -> "ForeignTextModel":
    """Opens a folder that holds a CLIPModel with its tokenizer.

    Raises:
        UsageError: another kind of model, or another format.
        PackshotError: the package is missing, or a file is missing or damaged.
    """
    if (path / "open_clip_config.json").is_file() and not (path / "config.json").is_file():
        raise UsageError(f"{path} is in OpenCLIP's format; give the model's folder in the format of transformers.")
    if not (path / "config.json").is_file():
        raise UsageError(
            f"{path} is no text model: it has neither run.json (a run of packshot train CATALOG --model clip) nor "
            "config.json (a CLIP model of transformers)."
        )
    config = read_json(path / "config.json")
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "clip":
        raise UsageError(f"{path} holds a model of the type '{kind}'; only CLIP models ('clip') can be opened.")
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        raise PackshotError(f"{path} has no weights in safetensors; other formats can run code and are not opened.")
    try:
        from transformers import AutoTokenizer, CLIPModel
    except ImportError as e:
        raise PackshotError(
            f"CLIP models of others need a package that is missing ({e}); run: pip install 'packshot[foundation]'"
        ) from e
    try:
        model = CLIPModel.from_pretrained(path, local_files_only=True, use_safetensors=True, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except Exception as e:  # Of many kinds, from the tokenizer's Rust code too.
        raise PackshotError(f"The CLIP model in {path} cannot be opened ({_first_line(e)}); copy it again.") from e
    return ForeignTextModel(path, model, tokenizer, weights)


class ForeignTextModel:
    """A CLIPModel with its tokenizer; see `packshot.models.text.TextModel`."""

    fit: Fit = "crop"
    channels = 3

    def __init__(self, path: Path, model: Any, tokenizer: Any, weights: Sequence[Path]) -> None:
        self.model, self.tokenizer = model.eval().requires_grad_(False), tokenizer
        self.name, self.dim = path.resolve().name, int(model.config.projection_dim)
        self.size = int(model.config.vision_config.image_size)
        self.length = int(model.config.text_config.max_position_embeddings)
        shown = path / "preprocessor_config.json"
        settings = read_json(shown) if shown.is_file() else {}
        self.mean, self.std = (
            torch.tensor(settings.get(key, usual)).view(1, 3, 1, 1)
            for key, usual in (("image_mean", MEAN), ("image_std", STD))
        )
        from packshot.models.foundation import read_card

        sha256 = sha256_file(weights[0])
        self.about = {
            "path": str(path.resolve()),
            "sha256": sha256,
            "licence": read_card(path, self.name, sha256).licence,
        }

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 [N, D] of unit length; what is longer than the model reads is cut off."""
        out = []
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH):
                part = list(texts[start : start + BATCH])
                inputs = self.tokenizer(
                    part, padding=True, truncation=True, max_length=self.length, return_tensors="pt"
                )
                read = self.model.text_model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
                out.append(F.normalize(self.model.text_projection(read.pooler_output), dim=1))
        return torch.cat(out).numpy()

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Returns float32 [N, D] of unit length, of uint8 pictures [N, H, W, C]; what is not square loses its ends."""
        images, out = middle_square(images), []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                x = torch.from_numpy(np.array(images[start : start + BATCH])).permute(0, 3, 1, 2).float() / 255
                x = F.interpolate(x, size=self.size, mode="bicubic", antialias=True).clamp(0, 1).expand(-1, 3, -1, -1)
                seen = self.model.vision_model(pixel_values=(x - self.mean) / self.std)
                out.append(F.normalize(self.model.visual_projection(seen.pooler_output), dim=1))
        return torch.cat(out).numpy()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
