"""The gate that every request passes: an id, who asks, whether he may come in, how much he may send, and the log.

Plain ASGI, so that a body that is too large, or a stranger's, is refused before anything of it is read.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import structlog
from anyio import to_thread
from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from packshot.jobs.keys import Key, Keys
from packshot.jobs.settings import StudioSettings
from packshot.server.callers import COOKIE, LOGIN, ON_LOOPBACK, Caller, caller_of_key, key_needed
from packshot.server.limits import PUBLIC_RATE, BoundedBody, Buckets, body_bound
from packshot.server.logs import log, without_secrets
from packshot.server.metrics import Metrics
from packshot.server.problems import Problem, answer
from packshot.server.signing import Signer

PUBLIC = (
    "/health",
    "/ready",
    "/openapi.json",
    "/v1/verify",
    "/verify",
    "/login",
    "/logout",
    "/favicon.ico",
)
"""What is open to strangers; the keys guard the rest."""
PUBLIC_BELOW = ("/static/", "/s/", "/theme/", "/verify/")
SAFE = ("GET", "HEAD", "OPTIONS")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]", "::1")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
}
EMBEDDED = "/s/"
"""Below it, other sites may show a page in a frame of theirs: the shop embeds it."""
CORS_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
CORS_HEADERS = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-ID"
QUIET = ("/health", "/ready", "/metrics", "/static/{name:path}")
"""Not worth a line each."""


class Gate:
    """ASGI middleware around everything.

    Args:
        app: what lies behind it.
        settings: of the studio.
        keys: of the studio.
        signer: of the login's cookie.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, settings: StudioSettings, keys: Keys, signer: Signer, metrics: Metrics) -> None:
        self.app, self.settings, self.keys, self.signer, self.metrics = app, settings, keys, signer, metrics
        self.buckets = Buckets()
        self.origins = frozenset(settings.origins)
        public = urlsplit(settings.public_url)
        self.own_hosts = frozenset(filter(None, (*LOOPBACK_NAMES, public.hostname)))
        self.https = public.scheme == "https"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request in, or answers it here."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # There are no web sockets; the server closes what nobody accepts.
        await _Passage(self, scope, receive, send).go()

    async def caller(self, headers: Headers, cookie: str | None) -> Caller | None:
        """Returns who asks; None: nobody who is known.

        Raises:
            Problem: 401, a key was sent that is not good; 429, it was used too often.
        """
        if not self.settings.need_keys:
            return ON_LOOPBACK
        key: Key | None = None
        word, _, text = headers.get("authorization", "").partition(" ")
        if word:
            if word.lower() == "bearer":
                key = await to_thread.run_sync(self.keys.check, text.strip())
            if key is None:
                raise key_needed()
        elif cookie and (ident := self.signer.read(LOGIN, cookie)) is not None:
            found = await to_thread.run_sync(self.keys.find, str(ident))
            key = found if found is not None and found.opens else None
        if key is None:
            return None
        if key.rate is not None:
            self.check_rate(f"key {key.id}", key.rate)
        return caller_of_key(key)

    def check_rate(self, who: str, rate: int) -> None:
        """Counts a request.

        Raises:
            Problem: 429, there were too many.
        """
        wait = self.buckets.take(who, rate)
        if wait:
            seconds = max(1, round(wait + 0.5))
            raise Problem(
                429,
                f"That is more than {rate:,} requests a minute; come again in {seconds} s.",
                headers={"Retry-After": str(seconds)},
            )

    def check_host(self, headers: Headers) -> None:
        """Refuses names that are not the machine's own, where nothing else tells friend from foe.

        A page of another site can make its own name lead to 127.0.0.1 (DNS rebinding); it cannot change the name.

        Raises:
            Problem: 421.
        """
        if self.settings.need_keys:
            return
        host = headers.get("host", "")
        name = host if host == "::1" else re.sub(r":\d*$", "", host)
        if name.lower() not in self.own_hosts:
            raise Problem(
                421,
                "This studio needs no keys, so it answers under the names of its own machine alone (localhost, "
                "127.0.0.1); set public_url, or start it with keys.",
            )

    def check_origin(self, scope: Scope, headers: Headers) -> None:
        """Refuses what another site's page sends in the name of its visitor (CSRF).

        A request with a key of its own is no such thing: no browser adds one by itself.

        Raises:
            Problem: 403.
        """
        if scope["method"] in SAFE or headers.get("authorization"):
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None:
            own = urlsplit(origin).netloc.lower() in {headers.get("host", "").lower(), self._public_netloc()}
            if (own and origin != "null") or origin in self.origins:
                return
        elif site in (None, "same-origin", "none"):
            return
        raise Problem(403, "This was sent by a page of another site; use the studio's own.", "other-site")

    def _public_netloc(self) -> str:
        return urlsplit(self.settings.public_url).netloc.lower() or "-"


def is_public(path: str) -> bool:
    """Returns whether an address is open to strangers."""
    return path in PUBLIC or path.startswith(PUBLIC_BELOW)


class _Passage:
    """One request on its way through."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self.gate, self.scope, self._receive, self._send = gate, scope, receive, send
        self.headers = Headers(scope=scope)
        sent = self.headers.get("x-request-id", "")
        self.id = sent if REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
        self.status = 0
        kind = self.headers.get("content-type", "").lower()
        self.body = BoundedBody(scope, receive, body_bound(scope["path"], kind, gate.settings.limits))
        scope.setdefault("state", {})
        scope["state"]["request_id"] = self.id

    async def go(self) -> None:
        started = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request=self.id)
        self.gate.metrics.open.inc()
        try:
            await self._through()
        except Exception as e:
            if self.status:  # Half an answer is out: nothing can be said any more but by breaking off.
                log.error("broken off", exc_info=e)
                raise
            await answer(Request(self.scope, self.body), e)(self.scope, self.body, self._sent)
        finally:
            self.gate.metrics.open.dec()
            self._note(time.perf_counter() - started)

    async def _through(self) -> None:
        gate, scope, path = self.gate, self.scope, self.scope["path"]
        gate.check_host(self.headers)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in self.headers:
            return await self._preflight()
        gate.check_origin(scope, self.headers)
        cookie = _cookie(self.headers)
        public = is_public(path)
        try:
            caller = await gate.caller(self.headers, cookie)
        except Problem:
            if not public:
                raise
            caller = None
        scope["state"]["caller"] = caller
        if caller is not None:
            structlog.contextvars.bind_contextvars(tenant=caller.tenant, key=caller.key)
        elif not public:
            raise key_needed()
        elif scope["method"] not in SAFE:
            client = scope.get("client") or ("?", 0)
            gate.check_rate(f"address {client[0]}", PUBLIC_RATE)
        self.body.check_length()
        await gate.app(scope, self.body, self._sent)

    async def _preflight(self) -> None:
        """Answers a browser that asks whether another site's page may ask: only those of the settings."""
        allowed = self.headers.get("origin") in self.gate.origins
        headers = [(b"content-length", b"0")]
        if allowed:
            headers += [
                (b"access-control-allow-methods", CORS_METHODS.encode()),
                (b"access-control-allow-headers", CORS_HEADERS.encode()),
                (b"access-control-max-age", b"600"),
            ]
        await self._sent({"type": "http.response.start", "status": 204 if allowed else 403, "headers": headers})
        await self._sent({"type": "http.response.body", "body": b""})

    async def _sent(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add(MutableHeaders(scope=message))
        await self._send(message)

    def _add(self, headers: MutableHeaders) -> None:
        """Adds what every answer has; a route's own word goes before."""
        headers["X-Request-ID"] = self.id
        if not self.body.ended:
            headers["Connection"] = "close"  # What else comes is the rest of a body that nobody wants.
        usual: Iterable[tuple[str, str]] = HEADERS.items()
        if self.scope["path"].startswith(EMBEDDED):
            usual = _embedded(HEADERS).items()
        for name, value in usual:
            headers.setdefault(name, value)
        if self.scope["path"].startswith("/v1/"):
            headers.setdefault("Cache-Control", "no-store")
        if self.gate.https:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        origin = self.headers.get("origin")
        if origin is not None and origin in self.gate.origins:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Location, Retry-After, X-Request-ID, Packshot-Result"
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            headers.add_vary_header("Origin")

    def _note(self, seconds: float) -> None:
        scope, metrics = self.scope, self.gate.metrics
        route = getattr(scope.get("route"), "path", None) or "-"
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE", "OPTIONS") else "other"
        metrics.requests.labels(method, route, str(self.status)).inc()
        metrics.seconds.labels(route).observe(seconds)
        if route in QUIET and self.status < 400:
            return
        job = scope.get("path_params", {}).get("id")
        if job:
            structlog.contextvars.bind_contextvars(job=str(job))
        log.info(
            "request",
            method=method,
            path=without_secrets(scope["path"]),
            status=self.status,
            ms=round(seconds * 1000, 1),
        )


def _cookie(headers: Headers) -> str | None:
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return None


def _embedded(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns the headers of pages that other sites may show in a frame."""
    out = {k: v for k, v in headers.items() if k not in ("X-Frame-Options", "Cross-Origin-Resource-Policy")}
    out["Content-Security-Policy"] = out["Content-Security-Policy"].replace(
        "frame-ancestors 'none'", "frame-ancestors *"
    )
    return out
