"""What the desk's processes are asked. Each function stands alone: bytes and plain values in, the like out.

Everything heavy is imported inside: the server imports this file only to name its functions.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tempfile
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePosixPath
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any

from packshot.core.errors import PackshotError
from packshot.jobs.ready import Ready, ReadyEdits
from packshot.jobs.records import Output

if TYPE_CHECKING:
    from packshot.jobs.settings import Limits
    from packshot.tasks.edit import Edit
    from packshot.tasks.journal import PhotoResult

MIMES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
}
NAMES = {
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/png": (".png", ".apng"),
    "image/webp": (".webp",),
    "image/tiff": (".tif", ".tiff"),
    "image/bmp": (".bmp", ".dib"),
    "image/gif": (".gif",),
    "image/avif": (".avif",),
    "image/heic": (".heic", ".heif", ".hif"),
}
"""The name endings that are right for each type; as in `packshot.images.decode`, which loads too much."""
ENDINGS = {mime: endings[0] for mime, endings in NAMES.items()}
LOOK = 64
"""Sides that a JPEG is decoded at where only its soundness matters."""
KEPT_EDITS = 4
"""Edits that a process keeps ready, with their networks."""
LONGEST_NAME = 100
SPOKEN = ("Length", "Margins", "Rectangle", "Polygon")
"""Types of settings that are written as text, as on the command line: "5%", "10,10,80,80"."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a picture file is.

    Attributes:
        mime: media type, told from its content.
        width, height: pixels, upright.
        ending: of file names, with its dot.
    """

    mime: str
    width: int
    height: int
    ending: str


@dataclass(frozen=True, kw_only=True)
class OneResult:
    """What became of one picture.

    Attributes:
        data: the file; None: there is none (refused or failed).
        mime: of the file; "" without one.
        name: of the file, the photo's stem with the right ending; "" without one.
        result: what became of it, as in a batch.
        beside: further files by name ("matte", "heat"), PNG.
        made_from: SHA-256 of the picture, and of those that the steps name; for `Studio.add_picture`, where it is kept.
    """

    data: bytes | None
    mime: str
    name: str
    result: PhotoResult
    beside: Mapping[str, bytes] = field(default_factory=dict)
    made_from: tuple[str, ...] = ()


def probe(data: bytes, limits: Limits) -> Probe:
    """Decodes a picture, small where its format lets that, and says what it is.

    Raises:
        PackshotError: it is no picture, damaged, cut short, or has more bytes or pixels than the limits allow.
    """
    from packshot.images.decode import Limits as ImageLimits
    from packshot.images.decode import decode

    image = decode(data, limits=ImageLimits(max_bytes=limits.bytes, max_pixels=limits.pixels), at_least=LOOK)
    params = image.history[0].params
    width, height = params["size"]
    mime = MIMES[str(params["format"])]
    return Probe(mime=mime, width=width, height=height, ending=ENDINGS[mime])


def thumb(data: bytes, side: int, limits: Limits) -> bytes:
    """Returns a picture as a WebP whose longer side has `side` pixels, or its own size where it is smaller.

    Raises:
        PackshotError: it cannot be decoded.
    """
    from PIL import Image

    from packshot.images.decode import Limits as ImageLimits
    from packshot.images.decode import decode
    from packshot.images.resize import resize

    image = decode(data, limits=ImageLimits(max_bytes=limits.bytes, max_pixels=limits.pixels), at_least=side)
    scale = min(1.0, side / max(image.width, image.height))
    height, width = max(1, round(image.height * scale)), max(1, round(image.width * scale))
    pixels = image.pixels if scale == 1 else resize(image.pixels, height, width)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", quality=82)
    return out.getvalue()


def clean_name(name: str, mime: str) -> str:
    """Returns a file name without folders, control characters or what some system does not take, its ending by `mime`.

    The ending stays where it is right for the type ("jpeg" as well as "jpg"). With "" the name says the type.
    """
    base = PurePosixPath(name.replace("\\", "/")).name
    base = "".join(c if c.isprintable() and c not in '<>:"|?*/' else "_" for c in base).strip(" .")
    stem, dot, ending = base.rpartition(".")
    if mime == "" and dot and stem:
        mime = next((m for m, endings in NAMES.items() if f".{ending.lower()}" in endings), "")
    if not (dot and stem and f".{ending.lower()}" in NAMES.get(mime, ())):
        known = dot and any(f".{ending.lower()}" in endings for endings in NAMES.values())
        stem, ending = (stem if known else base), ENDINGS.get(mime, ".bin").removeprefix(".")
    while len(f"{stem}.{ending}".encode()) > LONGEST_NAME:
        stem = stem[:-1]
    return f"{stem.strip(' .') or 'photo'}.{ending}"


def edit_one(
    steps: Sequence[Mapping[str, Any]], data: bytes, name: str, output: Output, pictures: Mapping[str, bytes]
) -> OneResult:
    """Edits one picture with the very code of a job's shard, so that the pixels are those of the command line.

    Args:
        steps: of a recipe (`packshot.jobs.steps`).
        data: the picture's file.
        name: its name, as `clean_name` gives it.
        output: how the result is written.
        pictures: the files that steps name as "picture:SHA256", by checksum.

    Raises:
        PackshotError: a step is wrong, or cannot be made ready. What is wrong with the picture is in the result.
    """
    from packshot.tasks.batch import BatchOptions, edit_photos

    held = {name: hashlib.sha256(one).hexdigest() for name, one in pictures.items()}
    edit, made_from = _ready(steps, output, pictures, held), (hashlib.sha256(data).hexdigest(), *held.values())
    with tempfile.TemporaryDirectory(prefix="packshot-desk-") as folder:
        photo, out = Path(folder) / "in" / name, Path(folder) / "out"
        photo.parent.mkdir()
        photo.write_bytes(data)
        options = BatchOptions(format=output.format, quality=output.quality, quiet=True, workers=1)
        result = edit_photos([photo], edit, out, options).photos[0].without(photo.parent)
        beside = {of: (out / path).read_bytes() for of, path in result.beside.items()}
        if result.picture is None:
            return OneResult(data=None, mime="", name="", result=result, beside=beside, made_from=made_from)
        path = out / result.picture
        mime = next(m for m, e in ENDINGS.items() if e == path.suffix)
        file = path.read_bytes()
        return OneResult(data=file, mime=mime, name=path.name, result=result, beside=beside, made_from=made_from)


_edits = ReadyEdits(KEPT_EDITS)


def _ready(
    steps: Sequence[Mapping[str, Any]], output: Output, pictures: Mapping[str, bytes], held: Mapping[str, str]
) -> Edit:
    """Returns the edit of some steps, one that was made before if it is still kept; `held`: what each picture holds."""
    from packshot.jobs.steps import build_steps

    def make() -> Ready:
        folder = tempfile.TemporaryDirectory(prefix="packshot-desk-")
        try:
            files = {sha256: Path(folder.name) / sha256 for sha256 in pictures}
            for sha256, data in pictures.items():
                files[sha256].write_bytes(data)
            return Ready(build_steps(steps, output, files), files, folder.cleanup)
        except BaseException:
            folder.cleanup()
            raise

    today = date.today().isoformat()  # Channels and laws have rules that begin on a day.
    # By what the files hold, whatever they are called: nobody may get another's mask.
    about = [today, list(map(dict, steps)), dataclasses.asdict(output), dict(held)]
    return _edits.get(json.dumps(about, sort_keys=True, default=str), make)


def check_steps(steps: Sequence[Mapping[str, Any]], output: Output) -> None:
    """Makes sure that steps can be done, without any picture.

    Raises:
        UsageError: as the command line would say it.
    """
    from packshot.jobs.steps import check_steps

    check_steps(steps, output)


def verify_one(data: bytes, name: str, limits: Limits) -> dict[str, Any]:
    """Returns what is found out about one file (`packshot.tasks.verify.Verified.as_json`).

    Raises:
        PackshotError: it has more bytes or pixels than the limits allow, or the register cannot be used.
    """
    from packshot.images.decode import BadPicture, read_header
    from packshot.images.decode import Limits as ImageLimits
    from packshot.tasks.verify import verify

    ImageLimits(max_bytes=limits.bytes, max_pixels=limits.pixels)
    with tempfile.TemporaryDirectory(prefix="packshot-desk-") as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        try:
            header = read_header(path)
        except BadPicture:
            header = None  # `verify` says so in its own words.
        if header is not None and header.width * header.height > limits.pixels:
            raise PackshotError(
                f"The picture has {header.width * header.height / 1e6:,.1f} megapixels; "
                f"the limit is {limits.pixels / 1e6:,.1f}."
            )
        found: dict[str, Any] = json.loads(
            json.dumps(verify([path])[0].as_json(), default=str).replace(json.dumps(f"{folder}/")[1:-1], "")
        )
    return found


def describe_tasks() -> dict[str, Any]:
    """Returns the tasks that a step can name, each with its settings as JSON Schema, and what it does."""
    from packshot.jobs.steps import known_tasks

    return {name: _schema(request) for name, request in known_tasks().items()}


def _schema(cls: type[Any]) -> dict[str, Any]:
    """Returns the JSON Schema of a request dataclass, described by its own docstring."""
    hints = typing.get_type_hints(cls)
    about = _attributes(cls.__doc__ or "")
    properties: dict[str, Any] = {}
    required = []
    for f in dataclasses.fields(cls):
        one = _type_schema(hints[f.name])
        if f.name in about:
            one["description"] = about[f.name]
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        if default is dataclasses.MISSING:
            required.append(f.name)
        elif isinstance(default, (str, int, float, bool, NoneType)):
            one["default"] = default
        properties[f.name] = one
    out: dict[str, Any] = {
        "type": "object",
        "description": (cls.__doc__ or "").strip().splitlines()[0] if cls.__doc__ else "",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**out, "required": required} if required else out


def _type_schema(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, UnionType):
        kinds = [_type_schema(a) for a in arguments if a is not NoneType]
        return {"anyOf": [*kinds, {"type": "null"}]} if NoneType in arguments else {"anyOf": kinds}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is tuple and arguments[-1:] != (Ellipsis,):
        return {"type": "array", "items": _type_schema(arguments[0]), "minItems": len(arguments)}
    if origin in (tuple, list):
        return {"type": "array", "items": _type_schema(arguments[0])}
    if hint is Path:
        return {"type": "string", "pattern": "^picture:[0-9a-f]{64}$"}
    if hint in (int, float, str, bool):
        return {"type": {int: "integer", float: "number", str: "string", bool: "boolean"}[hint]}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and hint.__name__ not in SPOKEN:
        return _schema(hint)
    return {"type": ["string", "number"]}


def _attributes(doc: str) -> dict[str, str]:
    """Returns the descriptions of a Google-style docstring's Attributes, by name."""
    out: dict[str, str] = {}
    inside, names = False, []  # type: bool, list[str]
    for line in doc.splitlines():
        text = line.strip()
        if text in ("Attributes:", "Args:"):
            inside = True
        elif inside and text in ("Raises:", "Returns:"):
            break
        elif inside and text:
            indent = len(line) - len(line.lstrip())
            head, colon, rest = text.partition(": ")
            if indent <= 8 and colon:
                names = [n.strip() for n in head.split(",")]
                out |= dict.fromkeys(names, rest)
            else:
                out |= {n: f"{out[n]} {text}" for n in names}
    return out
