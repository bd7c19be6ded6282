"""Bodies that come in several forms: JSON, a form with files, or a file itself. FastAPI takes one form a route."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pydantic_core
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from packshot.core.errors import suggest
from packshot.core.text import printable
from packshot.server.fetch import in_thread
from packshot.server.limits import FORM_BYTES, MOST_FILES
from packshot.server.problems import Problem

M = TypeVar("M", bound=BaseModel)
DEEPEST = 20
MOST_FIELDS = 50
LARGEST = 2**63
BINARY = {"type": "string", "format": "binary"}
REF = "#/components/schemas/{model}"


def content_kind(request: Request, *allowed: str) -> str:
    """Returns the kind of a body, without its parameters.

    Raises:
        Problem: 415, it is none of those that are taken here; "image/*" stands for all pictures, whatever their type.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in allowed:
        return kind
    if "image/*" in allowed and (kind.startswith("image/") or kind == "application/octet-stream"):
        return "image/*"
    raise Problem(415, f"Send {' or '.join(allowed)}, not {kind[:100] or 'a body without a content type'}.")


def as_written(value: object) -> object:
    """Lets a moment through that is written as a date and a time; a bare number would else count as seconds of 1970.

    Raises:
        ValueError: it is a number.
    """
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?[\d.]+\s*", value):
        raise ValueError("write it as a date and a time, for example 2026-08-02T10:00:00Z")
    return value


async def check_query(request: Request) -> None:
    """Refuses parameters of an address that its route does not know: a mistyped one would else do nothing, silently.

    Raises:
        Problem: 422.
    """
    if not request.query_params:
        return
    described = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
    known = [one["name"] for one in described.get("parameters", ()) if one["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            told = f" Known: {', '.join(known)}." if known else ""
            shown = printable(name)[:40]
            raise Problem(422, f"This address takes no parameter '{shown}'.{suggest(shown, known)}{told}", "invalid")


async def json_body(request: Request, model: type[M]) -> M:
    """Returns a JSON body.

    Raises:
        Problem: 400, it is no JSON.
        RequestValidationError: it is not what the model says.
    """
    return await in_thread(parse, await request.body(), model)


def parse(data: bytes | str, model: type[M]) -> M:
    """Returns a model of JSON.

    Raises:
        Problem: 400, it is no JSON, or holds what JSON has no place for: not-a-number, NUL, numbers beyond 2^63.
        RequestValidationError: it is not what the model says.
    """
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as e:
        raise Problem(400, f"The body is no JSON: {str(e)[:200]}.", "no-json") from e
    _check_plain(value, 0)
    try:
        return model.model_validate(value)
    except ValidationError as e:
        mistakes: list[pydantic_core.ErrorDetails] = e.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**m, "loc": ("body", *m["loc"])} for m in mistakes]) from e


def _check_plain(value: Any, depth: int) -> None:
    bad = depth > DEEPEST
    if isinstance(value, float):
        bad |= not math.isfinite(value)
    elif isinstance(value, int):
        bad |= abs(value) >= LARGEST
    elif isinstance(value, str):
        bad |= "\0" in value
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_plain(name, depth + 1)
            _check_plain(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_plain(inner, depth + 1)
    if bad:
        raise Problem(400, "The body nests too deeply, or holds a number or letter that has no place in it.", "no-json")


@asynccontextmanager
async def form_of(request: Request, most_files: int = MOST_FILES) -> AsyncIterator[FormData]:
    """The form of a request; its temporary files go with the block.

    Raises:
        Problem: 400, it is no such form, or was cut short.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        async with request.form(max_fields=MOST_FIELDS, max_part_size=FORM_BYTES) as form:
            yield form
        return
    parser = _Parser(
        request.headers,
        request.stream(),
        max_files=most_files,
        max_fields=MOST_FIELDS,
        max_part_size=FORM_BYTES,
    )
    try:
        form = await parser.parse()
        if not parser.ended:
            raise Problem(400, "The form was cut short: it ends without its last boundary. Send it again.", "cut-short")
        yield form
    except MultiPartException as e:
        raise Problem(400, f"The form cannot be read: {e.message}") from e
    finally:
        for file in parser.files:
            file.close()


class _Parser(MultiPartParser):
    """Notes whether the form's end came: one that was cut short would else be taken for one with fewer pictures."""

    ended = False

    def on_end(self) -> None:
        """Is called at the last boundary."""
        self.ended = True

    @property
    def files(self) -> list[Any]:
        """The temporary files, also of a part that did not end."""
        return list(self._files_to_close_on_error)


def files_of(form: FormData, name: str) -> list[UploadFile]:
    """Returns the files of a form under one name."""
    return [part for part in form.getlist(name) if isinstance(part, UploadFile)]


def others_of(form: FormData, *names: str) -> Mapping[str, UploadFile]:
    """Returns the files of a form under other names, the last of each."""
    return {k: v for k, v in form.items() if k not in names and isinstance(v, UploadFile)}


async def request_part(form: FormData, model: type[M]) -> M:
    """Returns the form's `request` part, as text or as a file of JSON; without one, the model's usual values.

    Raises:
        Problem: 400, it is no JSON.
        RequestValidationError: it is not what the model says.
    """
    part = form.get("request")
    if part is None:
        return parse(b"{}", model)
    data = await part.read(FORM_BYTES) if isinstance(part, UploadFile) else part
    return await in_thread(parse, data, model)


def described(
    model: type[BaseModel] | None,
    form: type[BaseModel] | None,
    *,
    many: bool = False,
    raw: bool = False,
    feed: bool = False,
) -> dict[str, Any]:
    """Returns what OpenAPI says of a body that comes in several forms.

    Args:
        model: of the JSON form; None: there is none.
        form: of the `request` part of the form with files; None: it has none.
        many: whether the form takes several files.
        raw: whether the body may be the picture itself.
        feed: whether the form takes a list of products instead.
    """
    content: dict[str, Any] = {}
    if model is not None:
        content["application/json"] = {"schema": {"$ref": REF.format(model=model.__name__)}}
    file: dict[str, Any] = {"type": "array", "items": BINARY} if many else BINARY
    properties: dict[str, Any] = {"file": file}
    if feed:
        properties["feed"] = BINARY
    if form is not None:
        properties["request"] = {"$ref": REF.format(model=form.__name__)}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if not feed:
        schema["required"] = ["file"]
    part: dict[str, Any] = {"schema": schema}
    if form is not None:
        part["encoding"] = {"request": {"contentType": "application/json"}}
    content["multipart/form-data"] = part
    if raw:
        content["image/*"] = {"schema": BINARY}
    return {"requestBody": {"required": True, "content": content}}
