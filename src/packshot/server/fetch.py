"""Pictures that come in: by upload, by address, as base64, or by the checksum of one that is there."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter, to_thread
from fastapi import Request
from starlette.datastructures import UploadFile

from packshot.core.text import printable
from packshot.jobs.desk import Desk, Probe, clean_name, probe
from packshot.jobs.desk_models import Sample
from packshot.jobs.outside import Answer, Bounds, Refused, Unreachable, exchange
from packshot.jobs.records import Picture
from packshot.jobs.settings import StudioSettings
from packshot.jobs.studio import Studio
from packshot.server.problems import Problem

A = TypeVar("A")
SHA256 = re.compile(r"[0-9a-f]{64}")
PART = "part:"
PIECE = 2**20
SPARE = 16
"""Threads for the desk beyond those that wait or are at work."""


class Incoming(NamedTuple):
    """A picture file that came, not looked at yet."""

    data: bytes
    name: str


def studio_of(request: Request) -> Studio:
    """Returns the studio that a request is to."""
    studio: Studio = request.app.state.studio
    return studio


def desk_of(request: Request) -> Desk:
    """Returns its desk."""
    desk: Desk = request.app.state.desk
    return desk


async def in_thread(call: Callable[..., A], *args: Any, **options: Any) -> A:
    """Calls what waits for disk, database or desk, in a thread, so that the loop goes on.

    Who waits for the desk has threads of its own: it may take minutes, and nobody else shall wait for that.
    """
    owner = getattr(call, "__self__", None)
    limiter = _limiter(owner) if isinstance(owner, Desk) else None
    return await to_thread.run_sync(partial(call, *args, **options), limiter=limiter)


_limiters: WeakKeyDictionary[Desk, CapacityLimiter] = WeakKeyDictionary()


def _limiter(desk: Desk) -> CapacityLimiter:
    """Returns the threads that wait for a desk: more than may wait there, so that it is the desk that says no."""
    if desk not in _limiters:
        _limiters[desk] = CapacityLimiter(desk.limits.waiting + desk.count + SPARE)
    return _limiters[desk]


async def read_upload(file: UploadFile, limits_bytes: int) -> Incoming:
    """Returns a file of a form.

    Raises:
        Problem: 413, it is too large; 422, it is empty.
    """
    data = bytearray()
    while piece := await file.read(PIECE):
        data += piece
        if len(data) > limits_bytes:
            raise _too_large(file.filename or "The file", limits_bytes)
    name = file.filename or "photo"
    if not data:
        raise Problem(422, f"{_shown(name)} is empty.", "no-picture")
    return Incoming(bytes(data), name)


async def read_body(request: Request, limits_bytes: int) -> Incoming:
    """Returns a body that is a picture itself.

    Raises:
        Problem: 413, it is too large; 422, it is empty.
    """
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > limits_bytes:
            raise _too_large("The body", limits_bytes)
    if not data:
        raise Problem(422, "The body is empty; send a picture.", "no-picture")
    return Incoming(bytes(data), "photo")


def read_base64(text: str, name: str | None, limits_bytes: int) -> Incoming:
    """Returns a picture that was sent as base64, a data URL or its content alone.

    Raises:
        Problem: 413, it is too large; 422, it is no base64.
    """
    head, comma, rest = text.partition(",")
    if text.startswith("data:") and comma:
        if not head.endswith(";base64"):
            raise Problem(422, "A data URL has to be base64.", "no-picture")
        text = rest
    if len(text) > limits_bytes * 4 // 3 + 8:
        raise _too_large("The picture", limits_bytes)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as e:
        raise Problem(422, "input.base64 is no base64.", "no-picture") from e
    return Incoming(data, name or "photo")


async def fetch(settings: StudioSettings, url: str, most_bytes: int | None = None) -> Answer:
    """Returns what an address gives that somebody named; it never leads into the own network.

    Raises:
        Problem: 422, the address is not asked, or gives nothing.
    """
    limits = settings.limits
    bounds = Bounds(seconds=limits.fetch_seconds, bytes=most_bytes or limits.bytes, private=settings.fetch_private)
    try:
        answer = await exchange("GET", url, bounds)
    except Refused as e:
        raise Problem(422, str(e), "address-refused") from e
    except Unreachable as e:
        raise Problem(422, str(e), "address-silent") from e
    if answer.status != 200:
        raise Problem(422, f"The address answered {answer.status}.", "address-silent")
    return answer


async def fetch_picture(settings: StudioSettings, url: str) -> Incoming:
    """Returns the file at an address. Raises as `fetch` does."""
    answer = await fetch(settings, url)
    name = unquote(urlsplit(answer.url).path.rpartition("/")[2])
    return Incoming(answer.body, name or "photo")


async def look_at(request: Request, incoming: Incoming) -> tuple[str, Probe]:
    """Returns the clean name of a file that came, and what it is.

    Raises:
        PackshotError: it is no picture, damaged, or too large.
    """
    limits = studio_of(request).settings.limits
    found = await in_thread(desk_of(request).ask, probe, incoming.data, limits, quick=True)
    return clean_name(incoming.name, found.mime), found


async def keep(request: Request, tenant: str, incoming: Incoming, made_from: Collection[str] = ()) -> Picture:
    """Puts a file that came, or was made, into the store, after the desk has looked at it.

    Args:
        request: whose studio.
        tenant: whose it is.
        incoming: the file.
        made_from: checksums of what it was made from, so that an erasure of one finds it.

    Raises:
        PackshotError: it is no picture, damaged, or too large.
    """
    name, found = await look_at(request, incoming)
    return await in_thread(
        studio_of(request).add_picture,
        tenant,
        incoming.data,
        name=name,
        mime=found.mime,
        width=found.width,
        height=found.height,
        made_from=made_from,
    )


def keep_sample(studio: Studio, tenant: str, sample: Sample, made_from: Collection[str] = ()) -> Picture:
    """Puts a made picture into the store; `made_from`: the photo that it was asked to be like."""
    return studio.add_picture(
        tenant,
        sample.data,
        name=sample.name,
        mime="image/png",
        width=sample.width,
        height=sample.height,
        made_from=made_from,
    )


def with_parts(value: Any, parts: Mapping[str, str]) -> Any:
    """Returns settings in which "part:NAME" is "picture:SHA256" of the form's part of that name.

    Raises:
        Problem: 422, there is no such part.
    """
    if isinstance(value, str) and value.startswith(PART):
        name, colon, rest = value.removeprefix(PART).partition(":")
        if name not in parts:
            raise Problem(422, f"The form has no part '{_shown(name)}'.")
        return f"picture:{parts[name]}{colon}{rest}"
    if isinstance(value, Mapping):
        return {k: with_parts(v, parts) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_parts(v, parts) for v in value]
    return value


def _too_large(name: str, most: int) -> Problem:
    return Problem(413, f"{_shown(name)} has more than the {most / 2**20:,.0f} MiB that a picture may have.")


def _shown(name: str) -> str:
    return printable(name)[:100]
