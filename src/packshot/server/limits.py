"""How much and how often: buckets of requests for each caller, and how large a body may be."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import anyio
from starlette.types import Message, Receive, Scope

from packshot.jobs.settings import Limits
from packshot.server.problems import Problem

PUBLIC_RATE = 30
"""Requests a minute of one address to what is open to strangers and costs work."""
MOST_BUCKETS = 10_000
JSON_BYTES = 4 * 2**20
FORM_BYTES = 2**20
"""What the parts of a form that are no pictures may take."""
UPLOAD_BYTES = 2 * 2**30
"""Of one request with many pictures: it goes to the disk first, so its bound is the disk's, not the memory's."""
IDLE_SECONDS = 30.0
"""That a body may pause, and that its sender has before a rate is asked of him."""
SLOWEST = 4 * 2**10
"""Bytes a second of the slowest body that is taken."""
MOST_FILES = 2_000
"""Pictures of one request; more come by several, or by a feed."""
MANY = ("/v1/jobs", "/v1/pictures", "/jobs", "/upload", "/")
"""Addresses that take many pictures at once."""


class _Bucket:
    """Tokens that come back with time."""

    def __init__(self, now: float, most: float) -> None:
        self.left, self.at = most, now


class Buckets:
    """A bucket of requests for each caller: as many as a minute brings may come at once. Thread-safe.

    Args:
        clock: seconds, going forward only.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, who: str, rate: int) -> float:
        """Takes a request out of a bucket.

        Args:
            who: whose bucket.
            rate: requests a minute.

        Returns:
            0, or, where the bucket is empty, after how many seconds there is one more.
        """
        now = self._clock()
        with self._lock:
            bucket = self._buckets.setdefault(who, _Bucket(now, rate))
            self._buckets.move_to_end(who)
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
            bucket.left = min(float(rate), bucket.left + (now - bucket.at) * rate / 60)
            bucket.at = now
            if bucket.left < 1:
                return (1 - bucket.left) * 60 / rate
            bucket.left -= 1
        return 0.0


def body_bound(path: str, kind: str, limits: Limits) -> int:
    """Returns how many bytes a request's body may have.

    Args:
        path: the address without its query.
        kind: its content type.
        limits: of the studio.
    """
    if kind.startswith("multipart/form-data"):
        if path.rstrip("/") in {p.rstrip("/") for p in MANY}:
            return max(UPLOAD_BYTES, limits.bytes + FORM_BYTES)
        return 4 * limits.bytes + FORM_BYTES  # A photo, and pictures that its steps name.
    if kind.startswith("application/json"):
        return JSON_BYTES + limits.bytes * 4 // 3  # A picture as base64.
    if kind.startswith("application/x-www-form-urlencoded"):
        return FORM_BYTES + limits.bytes * 4 // 3
    return limits.bytes + FORM_BYTES


class BoundedBody:
    """A `receive` that counts the body, whatever its headers say.

    Args:
        scope: of the request.
        receive: the server's.
        bound: bytes that it may have.
    """

    def __init__(self, scope: Scope, receive: Receive, bound: int) -> None:
        self._receive, self._bound = receive, bound
        headers = dict(scope["headers"])
        self._length = headers.get(b"content-length", b"0")
        self._seen, self._began = 0, time.monotonic()
        self.ended = self._length == b"0" and b"transfer-encoding" not in headers
        """Whether all of it came; where not, nothing else can come on this connection."""

    def check_length(self) -> None:
        """Refuses a body whose headers say that it is too large.

        Raises:
            Problem: 413.
        """
        if self._length.isdigit() and int(self._length) > self._bound:
            raise _too_large(self._bound)

    async def __call__(self) -> Message:
        """Returns the next message.

        Raises:
            Problem: 413, the body is too large; 408, it comes too slowly.
        """
        if self.ended:
            return await self._receive()  # Waits for the client to go away, for as long as the answer takes.
        try:
            with anyio.fail_after(IDLE_SECONDS):
                message = await self._receive()
        except TimeoutError as e:
            raise _too_slow() from e
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            self.ended = not message.get("more_body", False)
            if self._seen > self._bound:
                raise _too_large(self._bound)
            spent = time.monotonic() - self._began
            if not self.ended and spent > IDLE_SECONDS and self._seen < spent * SLOWEST:
                raise _too_slow()
        return message


def _too_slow() -> Problem:
    return Problem(408, "The body comes too slowly; send it again over a better line.", headers={"Connection": "close"})


def _too_large(bound: int) -> Problem:
    return Problem(
        413,
        f"The request is larger than the {bound / 2**20:,.0f} MiB that it may have; send a smaller picture, or fewer "
        "at a time.",
    )
