"""New product pictures from a pipeline of diffusers: from a text, from a photo, or with a part of a photo repainted.

What the model's licence says goes into the history and the metadata of every picture, and onto the screen.

Letters: H, W height and width in pixels.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from packshot.core.errors import UsageError
from packshot.core.files import sha256_file
from packshot.core.progress import Progress
from packshot.core.random import stream_seed
from packshot.images import xmp
from packshot.images.decode import decode
from packshot.images.picture import Metadata, Operation, ProductImage
from packshot.images.resize import resize, to_grey, to_rgb
from packshot.images.sheet import contact_sheet
from packshot.models.foundation import Foundation, FoundationCard, Work, load_foundation
from packshot.release.door import Released, check_free, release
from packshot.tasks.made_from import note_made_from
from packshot.tasks.notice import place_or_refuse
from packshot.tasks.points import check_fraction
from packshot.tasks.trained import slug

if TYPE_CHECKING:
    from packshot.tasks.create import CreateRequest, CreateResult

STEPS = 20
VARIATION = {"photo": 0.3, "mask": 1.0}
OPERATIONS: dict[Work, str] = {"text": "text_to_image", "photo": "image_to_image", "mask": "inpaint"}
STEM = 40
THUMBNAIL, ON_SHEET = 256, 100


@dataclass(frozen=True, kw_only=True)
class FoundationOptions:
    """What only a pipeline of diffusers understands; None: the default.

    Attributes:
        mask: picture as large as the photo of `like`; what is lighter than half is repainted.
        steps: of denoising; 20.
        guidance: how closely the text is followed; the pipeline's own.
        negative: what the pictures shall not show.
        accelerator: "cpu", "cuda" or "auto" (cuda where it is there).
    """

    mask: Path | None = None
    steps: int | None = None
    guidance: float | None = None
    negative: str | None = None
    accelerator: str | None = None


@dataclass(frozen=True, eq=False)
class _Start:
    """What is given beside the text: the photo, which of its pixels are repainted, and the files' names and SHA-256."""

    photo: ProductImage | None
    mask: npt.NDArray[np.bool_] | None
    ingredients: list[dict[str, Any]]

    @property
    def work(self) -> Work:
        return "text" if self.photo is None else "photo" if self.mask is None else "mask"


def create_foundation(request: "CreateRequest") -> "CreateResult":
    """Makes pictures with the pipeline that `request.run` names, and one contact sheet.

    With a mask the pixels outside of it are the photo's, bit for bit.

    Raises:
        UsageError: no text, an option that does not go with a pipeline, a number out of its range, a mask of another
            size, or a pipeline that cannot do what is asked.
        PackshotError: diffusers is missing, no pipeline there, a photo cannot be read, or a file of that name exists.
    """
    from packshot.tasks.create import CreateResult  # It imports this file for the options.

    text, options = _check(request), request.foundation
    start = _start(request)
    paths, sheet_path = _file_names(request, start.work, text)
    if not request.overwrite:
        check_free([*paths, sheet_path])
    foundation = load_foundation(request.run, start.work, options.accelerator or "auto")
    params = _params(request, foundation, start, text)
    height, width = _size(request.size, foundation, start.photo)
    at_size = None if start.photo is None else resize(to_rgb(start.photo.pixels), height, width)
    mask = None if start.mask is None else _resized(start.mask, height, width)
    notes = [f"{foundation.card.name}: {foundation.card.notice}."]
    if foundation.is_too_long(text):
        notes.append("The text is longer than this pipeline reads; its end was left out.")
    shown = [] if start.photo is None else [_thumbnail(start.photo)]
    released: list[Released] = []
    black, said = 0, set[str]()
    with Progress("Creating", request.n) as bar:
        for i, path in enumerate(paths):
            pixels, blacked_out = foundation.picture(
                text,
                seed=stream_seed(request.seed, "foundation", i),
                steps=params["steps"],
                height=height,
                width=width,
                guidance=options.guidance,
                negative=options.negative,
                photo=at_size,
                mask=mask,
                strength=params.get("strength"),
            )
            black += blacked_out
            operation = Operation(
                OPERATIONS[start.work], "generated", {**params, "index": i, "blacked_out": blacked_out}
            )
            picture = _with_terms(_picture(pixels, start, operation), foundation.card, _prompt(text, options))
            if request.notice is not None:
                placed = place_or_refuse(request.notice, picture)
                picture, said = placed.image, {*said, *placed.notes}
            released.append(release(picture, path, overwrite=request.overwrite))
            if len(shown) < ON_SHEET:
                shown.append(_thumbnail(picture))
            bar.update(i + 1)
    sheet = contact_sheet(shown, max(1, round(np.sqrt(len(shown)))))
    notes += sorted(said)
    whole = _with_terms(sheet, foundation.card, _prompt(text, options))
    released.append(release(whole, sheet_path, overwrite=request.overwrite))
    note_made_from(request.out, released, start.ingredients)
    if black:
        notes.append(f"The pipeline's own safety checker blacked out {black} of {request.n} pictures.")
    return CreateResult(
        paths,
        [],
        sheet_path,
        released[0].source_type,
        foundation.card.name,
        request.seed,
        start.ingredients,
        licence=foundation.card.licence,
        notes=notes,
    )


def _check(request: "CreateRequest") -> str:
    """Returns the text; refuses what does not go together before anything is loaded."""
    options = request.foundation
    refused = {
        "--label": bool(request.labels),
        "--attributes": bool(request.attributes),
        "--text-model": request.text_model is not None,
        "--truncation": request.truncation_psi != 1,
        "--mix": request.mix is not None,
        "--styles": request.styles,
        "--interpolate": request.interpolate,
    }
    asked = [name for name, given in refused.items() if given]
    if asked:
        raise UsageError(f"{asked[0]} does not go with a pipeline of diffusers; say what you want by --text.")
    if request.text is None or not request.text.strip():
        raise UsageError("A pipeline of diffusers makes pictures from words; say them by --text.")
    if request.n < 1:
        raise UsageError(f"--n is {request.n}; ask for at least 1 picture.")
    for name, value in (("--steps", options.steps), ("--size", request.size)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; it has to be 1 or more.")
    if options.guidance is not None and not 0 <= options.guidance < np.inf:
        raise UsageError(f"--guidance is {options.guidance}; it has to be 0 or more.")
    if request.like is None:
        for name, given in (("--mask", options.mask is not None), ("--variation", request.variation is not None)):
            if given:
                raise UsageError(f"{name} needs a photo to begin with; name it by --like.")
        return request.text
    steps, variation = options.steps or STEPS, _variation(request)
    check_fraction("--variation", variation)
    if int(steps * variation) < 1:
        raise UsageError(
            f"--variation {variation} of {steps} steps leaves none to take; ask for {1 / steps:.3g} or more, or for "
            "more --steps."
        )
    return request.text


def _variation(request: "CreateRequest") -> float:
    default = VARIATION["photo" if request.foundation.mask is None else "mask"]
    return default if request.variation is None else request.variation


def _start(request: "CreateRequest") -> _Start:
    if request.like is None:
        return _Start(None, None, [])
    files, mask = [request.like], None
    photo = decode(request.like)
    if request.foundation.mask is not None:
        files.append(request.foundation.mask)
        painted = decode(request.foundation.mask)
        if (painted.height, painted.width) != (photo.height, photo.width):
            raise UsageError(
                f"The mask has {painted.width} x {painted.height} pixels and the photo {photo.width} x {photo.height}; "
                "paint it over the photo, at the same size."
            )
        mask = to_grey(painted.pixels)[..., 0] > 127
        if not mask.any():
            raise UsageError("The mask is dark everywhere; paint white what shall be repainted.")
    return _Start(photo, mask, [{"name": path.name, "sha256": sha256_file(path)} for path in files])


def _file_names(request: "CreateRequest", work: Work, text: str) -> tuple[list[Path], Path]:
    if request.like is None:
        stem, sheet = slug(text)[:STEM].strip("-"), f"sheet-{request.seed}.png"
    else:
        stem = f"{'like' if work == 'photo' else 'repaint'}-{slug(request.like.stem)}"
        sheet = f"{stem}-{request.seed}-sheet.png"
    return [request.out / f"{stem}-{request.seed}-{i:04d}.png" for i in range(request.n)], request.out / sheet


def _params(request: "CreateRequest", foundation: Foundation, start: _Start, text: str) -> dict[str, Any]:
    """Returns what the history says of every picture of the request."""
    options, card = request.foundation, foundation.card
    params: dict[str, Any] = {
        "model": card.name,
        "version": card.version,
        "licence": card.licence,
        "licence_notice": card.notice,
        "made_with": foundation.made_with,
        "text": text,
        "negative": options.negative,
        "seed": request.seed,
        "steps": options.steps or STEPS,
        "guidance": options.guidance,
    }
    if start.photo is not None:
        params |= {"strength": _variation(request), "ingredients": start.ingredients}
    if start.mask is not None:
        params |= {"repainted": round(float(start.mask.mean()), 4), "outside_mask": "the photo's pixels, unchanged"}
    return params


def _size(asked: int | None, foundation: Foundation, photo: ProductImage | None) -> tuple[int, int]:
    """Returns H, W that the pipeline works at: a square, or the photo's shape with `asked` as its longer side."""
    unit, side = foundation.unit, asked or foundation.side
    if asked is not None and asked % unit:
        raise UsageError(f"--size is {asked}; with this pipeline it has to be a multiple of {unit}.")
    if photo is None:
        return side, side
    scale = side / max(photo.height, photo.width)
    height, width = (max(unit, round(v * scale / unit) * unit) for v in (photo.height, photo.width))
    return height, width


def _resized(mask: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Returns the mask at [height, width]: a pixel is repainted as soon as any that it covers is."""
    grey = resize(mask[..., None].astype(np.uint8) * 255, height, width)[..., 0]
    small: npt.NDArray[np.bool_] = grey > 0
    return small


def _picture(pixels: npt.NDArray[np.uint8], start: _Start, operation: Operation) -> ProductImage:
    if start.photo is None:
        return ProductImage(pixels, history=(operation,))
    if start.mask is None:
        # The photo's metadata would say of these pixels that a camera took them; its history stays.
        return ProductImage(pixels, history=(*start.photo.history, operation))
    out = start.photo.pixels.copy()
    out[start.mask, :3] = resize(pixels, start.photo.height, start.photo.width)[start.mask]
    out[start.mask, 3:] = 255
    return start.photo.done(operation, out)


def _prompt(text: str, options: FoundationOptions) -> str:
    return text if options.negative is None else f"{text} | not: {options.negative}"


def _with_terms(picture: ProductImage, card: FoundationCard, prompt: str) -> ProductImage:
    """Returns the picture with the model, the text and the licence in its XMP (IPTC Photo Metadata 2025.1)."""
    packet = xmp.Packet.empty()
    if picture.metadata.xmp is not None:
        with suppress(xmp.BadXmp):  # What is damaged is not carried.
            packet = xmp.Packet.parse(picture.metadata.xmp)
    for name, value in ((xmp.AI_SYSTEM, card.name), (xmp.AI_VERSION, card.version), (xmp.AI_PROMPT, prompt)):
        packet.set(name, "".join(c if c.isprintable() else " " for c in value))
    terms, carried = f"Made with {card.name}; {card.notice}.", packet.get(xmp.USAGE_TERMS) or ""
    packet.set_text(xmp.USAGE_TERMS, carried if terms in carried else f"{carried} {terms}".strip())
    return replace(picture, metadata=replace(picture.metadata, xmp=packet.tobytes()))


def _thumbnail(picture: ProductImage) -> ProductImage:
    """Returns the picture small enough for a sheet of a hundred."""
    scale = min(1.0, THUMBNAIL / max(picture.height, picture.width))
    height, width = (max(1, round(v * scale)) for v in (picture.height, picture.width))
    small = resize(picture.pixels, height, width)
    return ProductImage(small, Metadata(), picture.history)
