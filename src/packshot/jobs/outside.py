"""Requests to addresses that somebody else named, so that they lead outside and nowhere else.

A name is resolved once, every address that it has is judged, and the connection goes to the very address that was
judged: what the name says a moment later (DNS rebinding) does not matter. Each redirect is judged anew. The whole
exchange has one deadline, and one bound of bytes.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import anyio
import httpcore

import packshot
from packshot.core.errors import PackshotError

REDIRECTS = 4
PORTS = (80, 443, 8080, 8443)
"""Others are no web servers: a mail server or a database may take a request for a command."""
LONGEST_URL = 4096
MOVED = (301, 302, 303, 307, 308)
NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
COMPATIBLE = ipaddress.IPv6Network("::/96")
UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that the public internet uses."""
SPECIAL = (ipaddress.IPv4Network("100.64.0.0/10"), ipaddress.IPv4Network("192.0.0.0/24"))
"""Of carriers and clouds; some keep their metadata there."""


class Refused(PackshotError):
    """An address that is not asked, or an answer that is not taken."""


class Unreachable(PackshotError):
    """Who was asked did not answer, or badly."""


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: of HTTP.
        headers: lower-case names.
        body: at most as many bytes as were allowed.
        url: that gave it, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one exchange may take.

    Attributes:
        seconds: from the first step to the last byte, redirects included.
        bytes: of the answer's body.
        private: whether addresses of the own network are allowed. Never where strangers name them.
        redirects: that are followed.
    """

    seconds: float = 20.0
    bytes: int = 40 * 2**20
    private: bool = False
    redirects: int = REDIRECTS


def check_url(url: str, bounds: Bounds) -> tuple[str, int]:
    """Returns host and port of an address that may be asked, as far as its text tells.

    Raises:
        Refused: it is no address of the web, holds a password, or names an address of the own network.
    """
    if len(url) > LONGEST_URL or not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        raise Refused("This is no address of the web: it is too long, or holds letters that no address has.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as e:
        raise Refused("This is no address of the web.") from e
    if parts.scheme not in ("http", "https") or not host:
        raise Refused("Only addresses that begin with http:// or https:// can be asked.")
    if parts.username is not None or parts.password is not None or "\\" in url:
        raise Refused("An address with a user's name in it is not asked.")
    port = port or (443 if parts.scheme == "https" else 80)
    if port not in PORTS and not bounds.private:
        raise Refused(f"Port {port} is not asked; it can be {', '.join(map(str, PORTS))}.")
    if (literal := _literal(host)) is not None:
        check_address(literal, bounds)
    return host, port


def check_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address, bounds: Bounds) -> None:
    """Makes sure that an address is one of the public internet.

    Raises:
        Refused: it is not; the sentence does not say what it is, so that nobody learns the network's map by asking.
    """
    if bounds.private:
        return
    for inner in _inside(address):
        if isinstance(inner, ipaddress.IPv4Address):
            special = any(inner in network for network in SPECIAL)
        else:
            special = inner not in UNICAST
        if special or not inner.is_global or inner.is_multicast or inner.is_reserved or inner.is_unspecified:
            raise Refused("This address does not lead to the public internet, so it is not asked.")


def _inside(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> Iterable[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Yields an address, and the IPv4 one that it stands for, in each way that there is."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    mapped = address.ipv4_mapped
    if mapped is not None:
        yield mapped  # It is not global itself, and need not be.
        return
    if any(address in network for network in NAT64):
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return
    yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in COMPATIBLE:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Returns the address that a host is, in any spelling that some resolver takes: 127.1, 0x7f000001, 017700000001."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


async def resolve(host: str, port: int) -> list[str]:
    """Returns the addresses of a host, by the system's resolver.

    Raises:
        Unreachable: it has none.
    """
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        raise Unreachable("The address's host is not known.") from e
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were judged a moment before, in the same step."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds, self._backend = bounds, httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolves, judges every address that was found, and connects to the first that answers."""
        literal = _literal(host)
        found = [str(literal)] if literal is not None else await resolve(host, port)
        for address in found:
            # One bad address among good ones is a trick, not an accident.
            check_address(ipaddress.ip_address(address.partition("%")[0]), self._bounds)
        last: Exception | None = None
        for address in found:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as e:
                last = e
        raise last or httpcore.ConnectError("no address")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Any = None
    ) -> httpcore.AsyncNetworkStream:
        """Never: no address of the web is a socket of this machine."""
        raise Refused("Only addresses of the web can be asked.")

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await anyio.sleep(seconds)


@cache
def _trust() -> ssl.SSLContext:
    return httpcore.default_ssl_context()


async def exchange(
    method: str, url: str, bounds: Bounds, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """Asks an address and returns its answer, after redirects.

    Args:
        method: "GET" or "POST"; only GET follows redirects.
        url: that somebody named.
        bounds: what it may take.
        headers: to send along.
        body: to send.

    Raises:
        Refused: an address on the way is not asked, or the answer is too large.
        Unreachable: no answer, not in time, or no HTTP.
    """
    try:
        with anyio.fail_after(bounds.seconds):
            for _ in range(bounds.redirects + 1):
                answer, goes_on = await _once(method, url, bounds, headers or {}, body)
                if goes_on is None or method != "GET":
                    return answer
                url = urljoin(url, goes_on)
            raise Refused(f"The address leads on more than {bounds.redirects} times.")
    except TimeoutError as e:
        raise Unreachable(f"The address did not answer in full within {bounds.seconds:g} seconds.") from e
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, ssl.SSLError, OSError) as e:
        raise Unreachable(f"The address did not answer ({type(e).__name__}).") from e
    except (httpcore.UnsupportedProtocol, UnicodeError, ValueError) as e:
        raise Refused("This is no address of the web.") from e


async def _once(
    method: str, url: str, bounds: Bounds, headers: Mapping[str, str], body: bytes | None
) -> tuple[Answer, str | None]:
    check_url(url, bounds)
    sent = {
        "User-Agent": f"packshot/{packshot.__version__}",
        "Accept-Encoding": "identity",  # Else a small answer could become a large one.
        **headers,
    }
    pool = httpcore.AsyncConnectionPool(
        ssl_context=_trust(), network_backend=_Pinned(bounds), max_connections=1, http2=False, retries=0
    )
    async with pool, pool.stream(method, url, headers=list(sent.items()), content=body) as answer:
        said = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
        if answer.status in MOVED and "location" in said:
            return Answer(answer.status, said, b"", url), said["location"]
        length = said.get("content-length", "")
        if length.isdigit() and int(length) > bounds.bytes:
            raise Refused(f"The answer has more than the {bounds.bytes / 2**20:,.0f} MiB that are allowed.")
        data = bytearray()
        async for chunk in answer.aiter_stream():
            data += chunk
            if len(data) > bounds.bytes:
                raise Refused(f"The answer has more than the {bounds.bytes / 2**20:,.0f} MiB that are allowed.")
        return Answer(answer.status, said, bytes(data), url), None
