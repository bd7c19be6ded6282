"""Pipelines of diffusers: large text-to-image models that others trained, from a folder or from the hub by name.

The one file that imports diffusers, and only when a pipeline is loaded: its import takes seconds and it comes with the
extra `foundation`. Only safetensors are read, never a pickle; code that comes with a model is never run.

Letters: H, W height and width in pixels.
"""

import inspect
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import read_json, sha256_file

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Work = Literal["text", "photo", "mask"]

HUB = "hub:"
INDEX = "model_index.json"
LOADERS: dict[Work, tuple[str, str]] = {
    "text": ("AutoPipelineForText2Image", "make pictures from a text alone"),
    "photo": ("AutoPipelineForImage2Image", "make pictures from a photo"),
    "mask": ("AutoPipelineForInpainting", "repaint a part of a photo"),
}
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
LICENCE_FILES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "LICENCE.md", "LICENCE.txt")
TEXT_READ, LONGEST = 100_000, 200
NON_COMMERCIAL = re.compile(
    r"(^|[^a-z])nc([^a-z]|$)|non.?commercial|(research|academic).?(only|use|licen|community)", re.I
)
OPEN = re.compile(r"(apache|mit|bsd|isc|cc0|cc-by-\d|cc-by-sa|unlicense|mpl|public domain)\b", re.I)
UNKNOWN = "licence unknown: read the model's card before you use the pictures in a shop"


@dataclass(frozen=True, kw_only=True)
class FoundationCard:
    """Whose model it is and what its licence says.

    Attributes:
        name: the folder's name, or hub:OWNER/NAME.
        version: the commit on the hub, or the SHA-256 of a folder's model_index.json.
        licence: its identifier or title as the model states it, or None where none is found.
        notice: what the licence means for a shop: a part of a sentence.
    """

    name: str
    version: str
    licence: str | None
    notice: str


def is_foundation(run: Path) -> bool:
    """Whether this names a pipeline of diffusers (a folder with model_index.json, or hub:OWNER/NAME), not a run."""
    return str(run).startswith(HUB) or (run / INDEX).is_file()


def read_card(folder: Path, name: str, version: str | None = None) -> FoundationCard:
    """Reads the licence from README.md's front matter, else from the folder's LICENSE file; nothing is guessed.

    Args:
        folder: of the pipeline.
        name: as it shall be called.
        version: its commit; None: the SHA-256 of model_index.json.
    """
    stated = _front_matter(folder / "README.md")
    title = next((t for t in map(_title, (folder / file for file in LICENCE_FILES)) if t), None)
    licence = stated.get("license")
    if licence is None or licence.lower() in ("other", "unknown"):
        licence = stated.get("license_name") or title
    version = version or sha256_file(folder / INDEX)
    if licence is None:
        return FoundationCard(name=name, version=version, licence=None, notice=UNKNOWN)
    # The stricter of the two where the card and the licence's text differ.
    if NON_COMMERCIAL.search(" ".join(filter(None, (licence, stated.get("license_name"), title)))):
        meaning = "it does not allow commercial use, so do not use the pictures in a shop"
    elif re.search("rail", licence, re.I):
        meaning = "commercial use is allowed under its rules on use, which also bind you; read them"
    elif OPEN.match(licence):
        meaning = "commercial use is allowed"
    else:
        meaning = "read it before you use the pictures in a shop"
    return FoundationCard(name=name, version=version, licence=licence, notice=f"licence {licence}: {meaning}")


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as f:
            return f.read(TEXT_READ)
    except OSError:
        return ""


def _front_matter(readme: Path) -> dict[str, str]:
    """Returns `license` and `license_name` of a model card's YAML header: a word, or the first of a list."""
    header = re.match(r"\s*---\s*\n(.*?)\n---", _text(readme), re.S)
    found = re.findall(r"^(license|license_name):[ \t]*(?:\n\s*-[ \t]*)?(.*)$", header[1], re.M) if header else []
    words = {key: _plain(value.split(" #")[0].strip("[]'\" \t").split(",")[0]) for key, value in found}
    return {key: word for key, word in words.items() if word}


def _title(path: Path) -> str | None:
    """Returns the first line of a licence's text that says something."""
    lines = (_plain(line).strip("#*= ") for line in _text(path).splitlines())
    return next((line for line in lines if line and not line.lower().startswith("copyright")), None)


def _plain(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()[:LONGEST]


class Foundation:
    """A loaded pipeline.

    Attributes:
        card: whose it is, and its licence.
        side: its own size in pixels.
        unit: heights and widths have to be multiples of it.
        made_with: name and version of what runs it, for the history.
    """

    def __init__(self, pipeline: Any, card: FoundationCard, device: str, made_with: str) -> None:
        self.card, self.made_with, self._pipeline = card, made_with, pipeline
        net = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
        if net is None:
            raise PackshotError(
                f"{card.name} has neither a U-Net nor a transformer; choose a pipeline that makes pictures."
            )
        factor = getattr(pipeline, "vae_scale_factor", 8)
        sample = getattr(pipeline, "default_sample_size", None) or net.config.get("sample_size") or 64
        self.side = int(max(sample) if isinstance(sample, (list, tuple)) else sample) * factor
        # Transformers cut the codes into patches of 2 x 2.
        self.unit = factor * (1 if getattr(pipeline, "unet", None) is not None else 2)
        pipeline.to(device)
        for part in pipeline.components.values():
            if isinstance(part, nn.Module):
                part.eval()
                if device == "cpu":
                    part.to(memory_format=torch.channels_last)
        pipeline.set_progress_bar_config(disable=True)
        self._accepted = inspect.signature(pipeline.__call__).parameters

    def is_too_long(self, text: str) -> bool:
        """Whether each of the pipeline's text encoders leaves out the end of the text."""
        parts = self._pipeline.components.items()
        tokenizers = [part for name, part in parts if name.startswith("tokenizer") and part is not None]
        return bool(tokenizers) and all(len(t(text).input_ids) > t.model_max_length for t in tokenizers)

    def picture(
        self,
        text: str,
        *,
        seed: int,
        steps: int,
        height: int,
        width: int,
        guidance: float | None = None,
        negative: str | None = None,
        photo: Pixels | None = None,
        mask: Mask | None = None,
        strength: float | None = None,
    ) -> tuple[Pixels, bool]:
        """Makes one picture.

        Args:
            text: what it shall show.
            seed: of its noise; equal seeds give equal pixels on one machine.
            steps: of denoising.
            height: H of the result, a multiple of `unit`.
            width: W of the result, a multiple of `unit`.
            guidance: how closely the text is followed; None: the pipeline's own.
            negative: what it shall not show.
            photo: uint8 [H, W, 3] to start from; for the work "photo" and "mask".
            mask: bool [H, W], true where the photo is repainted; for the work "mask".
            strength: 0 .. 1, share of the steps that are done on the photo.

        Returns:
            uint8 [H, W, 3], and whether the pipeline's own safety checker blacked it out.

        Raises:
            UsageError: the pipeline does not take guidance or a negative text.
            PackshotError: it fails, or makes something that is not a number.
        """
        given = {
            "guidance_scale": ("--guidance", guidance),
            "negative_prompt": ("--negative", negative),
            "strength": ("--variation", strength),
        }
        for key, (option, value) in given.items():
            if value is not None and key not in self._accepted:
                raise UsageError(f"The pipeline of {self.card.name} takes no {option}; leave it out.")
        words: dict[str, Any] = {key: value for key, (_, value) in given.items() if value is not None}
        words |= {k: v for k, v in {"height": height, "width": width}.items() if k in self._accepted}
        if photo is not None:
            words["image"] = Image.fromarray(photo)
        if mask is not None:
            words["mask_image"] = Image.fromarray(mask.astype(np.uint8) * 255)
        # On the CPU, so that the noise does not depend on the device.
        noise = torch.Generator("cpu").manual_seed(seed)
        try:
            with torch.inference_mode():
                made = self._pipeline(
                    prompt=text, num_inference_steps=steps, generator=noise, output_type="np", **words
                )
        except (ValueError, RuntimeError, TypeError) as e:
            raise PackshotError(f"The pipeline of {self.card.name} cannot make this picture: {_reason(e)}.") from e
        values = np.asarray(made.images[0])
        if not np.isfinite(values).all():
            raise PackshotError(
                f"The pipeline of {self.card.name} made values that are no numbers; try other --steps or --guidance."
            )
        blacked_out = any(getattr(made, "nsfw_content_detected", None) or ())
        return (np.clip(values, 0, 1) * 255).round().astype(np.uint8), blacked_out


def load_foundation(run: Path, work: Work, accelerator: str = "auto") -> Foundation:
    """Loads a pipeline for one kind of work.

    A folder is read without any network. A name that begins with `hub:` is fetched from the hub into its cache.

    Args:
        run: folder with model_index.json, or hub:OWNER/NAME or hub:OWNER/NAME@REVISION.
        work: from a text, from a photo, or with a mask.
        accelerator: "cpu" (float32), "cuda" (float16), or "auto" for cuda where it is there.

    Raises:
        UsageError: no such name or device.
        PackshotError: diffusers is missing, the folder is no pipeline of this kind, its weights are pickles, or it
            needs code of its own.
    """
    device = _device(accelerator)
    diffusers = _package()
    folder, name, commit = run, run.resolve().name, None
    if str(run).startswith(HUB):
        folder, name = _fetch(diffusers, str(run))
        commit = folder.name
    _check_index(folder, name)
    loader, purpose = LOADERS[work]
    try:
        pipeline = getattr(diffusers, loader).from_pretrained(
            folder,
            dtype=torch.float32 if device == "cpu" else torch.float16,
            use_safetensors=True,
            local_files_only=True,
        )
    except Exception as e:  # What lies in a folder can make the libraries raise nearly anything.
        if "can't find a pipeline linked to" in str(e):
            raise UsageError(f"The pipeline of {name} cannot {purpose}; choose another one.") from e
        raise PackshotError(f"The pipeline of {name} cannot be loaded: {_reason(e)}.") from e
    net, codes = getattr(pipeline, "unet", None), getattr(pipeline, "vae", None)
    if work != "mask" and net and codes and net.config.in_channels > codes.config.latent_channels:
        raise UsageError(f"The pipeline of {name} cannot {purpose}; its network expects a photo and a mask beside it.")
    card = read_card(folder, name, commit)
    return Foundation(pipeline, card, device, f"diffusers {diffusers.__version__}")


def _device(accelerator: str) -> str:
    there = torch.cuda.is_available()
    if accelerator == "cuda" and not there:
        raise UsageError("There is no CUDA device here; leave --accelerator out, or use --accelerator cpu.")
    return "cuda" if there and accelerator != "cpu" else "cpu"


def _package() -> Any:
    # Before the import, which reads it; a choice that the user has made in the environment stays.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import diffusers
        import transformers
    except ImportError as e:
        raise PackshotError(
            f"A pipeline of diffusers needs the packages diffusers and transformers ({e.name} is missing); install "
            "them with: pip install 'packshot[foundation]'"
        ) from e
    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    return diffusers


def _fetch(diffusers: Any, name: str) -> tuple[Path, str]:
    """Returns the folder in the hub's cache, whose name is the commit, and hub:OWNER/NAME."""
    match = re.fullmatch(HUB + r"([\w.-]+/[\w.-]+)(?:@([\w.-]+))?", name)
    if match is None:
        raise UsageError(f"'{name}' is no name on the hub; write hub:OWNER/NAME, or hub:OWNER/NAME@REVISION.")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    repository, revision = match[1], match[2]
    try:
        folder = Path(diffusers.DiffusionPipeline.download(repository, revision=revision, use_safetensors=True))
        for file in ("README.md", *LICENCE_FILES):
            try:
                hf_hub_download(repository, file, revision=folder.name)
            except EntryNotFoundError:
                continue  # Most of these names are not there.
    except Exception as e:  # The hub's client raises errors of several packages.
        raise PackshotError(f"Cannot fetch {repository} from the hub: {_reason(e)}.") from e
    return folder, HUB + repository


def _check_index(folder: Path, name: str) -> None:
    """Refuses a folder that is no pipeline, holds pickles alone, or wants its own code to run."""
    index = read_json(folder / INDEX)
    if not isinstance(index, Mapping) or not isinstance(index.get("_class_name"), (str, list)):
        raise PackshotError(f"{name} is no pipeline of diffusers: its {INDEX} names no class; save it again.")
    parts = [key for key, value in index.items() if isinstance(value, list) and any(value)]
    own_code = PackshotError(f"{name} needs code of its own, which Packshot never runs; choose another model.")
    if isinstance(index["_class_name"], list):
        raise own_code
    for part in parts:
        files = sorted(p.name for p in (folder / part).glob("*") if p.is_file())
        if any(f.endswith(".py") for f in files):
            raise own_code
        pickles = [f for f in files if f.endswith(PICKLES)]
        if pickles and not any(f.endswith(".safetensors") for f in files):
            raise PackshotError(
                f"{name} keeps its weights in {part}/{pickles[0]}, a pickle, which can run code and is never read; "
                "use a copy that has them as .safetensors."
            )


def _reason(e: Exception) -> str:
    lines = str(e).strip().splitlines()
    return _plain(lines[0].split(". ")[0].rstrip(".:")) if lines else type(e).__name__
