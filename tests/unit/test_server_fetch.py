"""Addresses that strangers name lead to the public internet and nowhere else, whatever trick they are written with."""

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.jobs import outside
from packshot.jobs.outside import Answer, Bounds, Refused, Unreachable, check_address, check_url, exchange
from packshot.jobs.steps import wanted_pictures
from packshot.server.feeds import read_feed
from packshot.server.fetch import read_base64, with_parts
from packshot.server.problems import Problem

PUBLIC = Bounds()
INSIDE = Bounds(private=True, seconds=5)


def get(url: str, bounds: Bounds = PUBLIC) -> Answer:
    return anyio.run(exchange, "GET", url, bounds)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",  # Metadata of a cloud.
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",  # Metadata of most clouds.
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1.
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1.
        "2002:a9fe:a9fe::",
        "2001:0:7f00:1::",  # Teredo.
        "2001:db8::1",
        "fc00::1",
        "fd00:ec2::254",  # Metadata of a cloud.
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_addresses_that_are_not_asked(address: str) -> None:
    with pytest.raises(Refused):
        check_address(ipaddress.ip_address(address), PUBLIC)
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(Refused):
        get(f"http://{host}/photo.jpg")
    check_address(ipaddress.ip_address(address), INSIDE)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_that_are_asked(address: str) -> None:
    check_address(ipaddress.ip_address(address), PUBLIC)


@given(st.ip_addresses())
def test_only_what_is_global_is_asked(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    try:
        check_address(address, PUBLIC)
    except Refused:
        return
    inner = getattr(address, "ipv4_mapped", None) or address
    if isinstance(inner, ipaddress.IPv6Address) and any(inner in n for n in outside.NAT64):
        inner = ipaddress.IPv4Address(int(inner) & 0xFFFFFFFF)
    assert inner.is_global
    assert not (inner.is_private or inner.is_loopback or inner.is_link_local or inner.is_multicast)


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/",  # 127.0.0.1 as one number,
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://0/",
        "http://2852039166/",  # and 169.254.169.254.
        "http://0xa9fea9fe/",
        "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:ffff:127.0.0.1]/",
        "http://[::1%25lo]/",
        "http://user:secret@8.8.8.8/",
        "http://8.8.8.8@127.0.0.1/",
        "http://8.8.8.8\\@127.0.0.1/",
        "http://127.0.0.1\t/",
        "http://127.0.0.1 /",
        "http://\u2460\u2461\u2466.0.0.1/",  # Circled digits, which some parsers take for digits.
        "http://127\u30020\u30020\u30021/",
        "http://8.8.8.8:22/",
        "http://8.8.8.8:6379/",
        "http://8.8.8.8:99999/",
        "http://8.8.8.8:x/",
        "http:///photo.jpg",
        "http://",
        "//8.8.8.8/",
        "/etc/passwd",
        "file:///etc/passwd",
        "ftp://8.8.8.8/",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "http://8.8.8.8/\r\nHost: inside",
        "http://[::1",
        "http://8.8.8.8/" + "a" * 5000,
        "",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(Refused):
        check_url(url, PUBLIC)
    with pytest.raises(Refused):
        get(url)


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for url in (text, f"http://{text}/"):
        try:
            host, port = check_url(url, PUBLIC)
        except Refused:
            continue
        assert host
        assert port in outside.PORTS


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append((self.client_address[0], self.headers["Host"], self.path))  # type: ignore[attr-defined]
        self.server.act(self)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


class _Site(ThreadingHTTPServer):
    def __init__(self, act: Callable[[BaseHTTPRequestHandler], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.act, self.seen = act, list[tuple[str, str, str]]()
        self.port = self.server_address[1]


@contextlib.contextmanager
def site(act: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[_Site]:
    with _Site(act) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def test_an_answer_with_redirects_comes_whole() -> None:
    def act(h: BaseHTTPRequestHandler) -> None:
        if h.path == "/moved":
            send(h, 302, Location="/photo.jpg")
        else:
            send(h, 200, b"picture", Content_Type="image/jpeg")

    with site(act) as there:
        answer = get(f"http://127.0.0.1:{there.port}/moved", INSIDE)
    assert (answer.status, answer.body, answer.url.rpartition("/")[2]) == (200, b"picture", "photo.jpg")
    assert answer.headers["content-type"] == "image/jpeg"


def _public_but_here(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[list[str]]], port: int) -> list[str]:
    """Has names resolve, each time to the next of their lists of addresses; a public one leads to a server of ours.

    Returns:
        The addresses that were connected to, in order.
    """
    connected: list[str] = []

    async def resolve(host: str, _: int) -> list[str]:
        answers = names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    class Backend(httpcore.AnyIOBackend):
        async def connect_tcp(self, host: str, port_: int, *how: object, **more: object) -> httpcore.AsyncNetworkStream:
            connected.append(host)
            return await super().connect_tcp("127.0.0.1", port)

    monkeypatch.setattr(outside, "resolve", resolve)
    monkeypatch.setattr(httpcore, "AnyIOBackend", Backend)
    return connected


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/secret",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://2130706433/",
        "http://inside.example/",
        "file:///etc/passwd",
        "gopher://8.8.8.8/",
        "//10.0.0.1/",
        "http://8.8.8.8:25/",
        "http://a:b@8.8.8.8/",
    ],
)
def test_redirects_inside_are_refused(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with site(lambda h: send(h, 302, Location=target)) as there:
        names = {"photos.example": [["93.184.216.34"]], "inside.example": [["10.1.2.3"]]}
        connected = _public_but_here(monkeypatch, names, there.port)
        with pytest.raises(Refused):
            get("http://photos.example/photo.jpg")
        assert connected == ["93.184.216.34"]
        assert len(there.seen) == 1


def test_a_name_is_resolved_once_and_the_connection_goes_to_what_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    with site(lambda h: send(h, 200, b"picture")) as there:
        names = {"rebind.example": [["93.184.216.34"], ["127.0.0.1"]]}
        connected = _public_but_here(monkeypatch, names, there.port)
        assert get("http://rebind.example/photo.jpg").body == b"picture"
        assert connected == ["93.184.216.34"]
        assert there.seen == [("127.0.0.1", "rebind.example", "/photo.jpg")]
        with pytest.raises(Refused):  # The second time its name leads inside.
            get("http://rebind.example/photo.jpg")
        assert connected == ["93.184.216.34"]


def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"mixed.example": [["93.184.216.34", "192.168.0.1"]], "mapped.example": [["::ffff:10.0.0.1"]]}
    connected = _public_but_here(monkeypatch, names, 1)
    for host in names:
        with pytest.raises(Refused):
            get(f"http://{host}/photo.jpg")
    assert connected == []


def test_a_rebinding_redirect_to_the_same_name_is_judged_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with site(lambda h: send(h, 302, Location="http://rebind.example/again")) as there:
        names = {"rebind.example": [["93.184.216.34"], ["127.0.0.1"]]}
        connected = _public_but_here(monkeypatch, names, there.port)
        with pytest.raises(Refused):
            get("http://rebind.example/")
        assert connected == ["93.184.216.34"]


def test_redirects_end() -> None:
    with site(lambda h: send(h, 302, Location="/again")) as there, pytest.raises(Refused, match="more than 4 times"):
        get(f"http://127.0.0.1:{there.port}/", INSIDE)
    assert len(there.seen) == 5


def test_too_large_an_answer_is_refused_with_or_without_its_length() -> None:
    def act(h: BaseHTTPRequestHandler) -> None:
        if h.path == "/told":
            h.send_response(200)
            h.send_header("Content-Length", "1000000000")
            h.end_headers()
            return
        h.send_response(200)
        h.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(10_000):
                h.wfile.write(b"x" * 1000)

    small = Bounds(private=True, bytes=5000, seconds=5)
    with site(act) as there:
        for path in ("told", "untold"):
            with pytest.raises(Refused, match="more than"):
                get(f"http://127.0.0.1:{there.port}/{path}", small)


def test_a_slow_answer_ends_at_the_deadline() -> None:
    def act(h: BaseHTTPRequestHandler) -> None:
        h.send_response(200)
        h.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(100):
                h.wfile.write(b"x")  # Never silent for long, and never done.
                time.sleep(0.02)

    with site(act) as there:
        started = time.monotonic()
        with pytest.raises(Unreachable, match=r"0\.3 seconds"):
            get(f"http://127.0.0.1:{there.port}/", Bounds(private=True, seconds=0.3))
        assert time.monotonic() - started < 1.5


def test_nobody_there_and_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unreachable):
        get(f"http://127.0.0.1:{port}/", INSIDE)
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def answer() -> None:
            connection, _ = odd.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unreachable):
            get(f"http://127.0.0.1:{odd.getsockname()[1]}/", INSIDE)
        thread.join()
    with pytest.raises(Unreachable):
        get("http://no-such-host.invalid/", INSIDE)


def test_a_body_that_is_packed_is_not_unpacked() -> None:
    with site(lambda h: send(h, 200, b"\x1f\x8bzipped", Content_Encoding="gzip")) as there:
        assert get(f"http://127.0.0.1:{there.port}/", INSIDE).body == b"\x1f\x8bzipped"


def test_base64_and_data_urls() -> None:
    assert read_base64("aGVsbG8=", None, 100).data == b"hello"
    assert read_base64("data:image/png;base64,aGVsbG8=", "a.png", 100) == (b"hello", "a.png")
    for bad in ("%%%", "data:image/png,hello", "aGVsbG8"):
        with pytest.raises(Problem) as refused:
            read_base64(bad, None, 100)
        assert refused.value.status_code == 422
    with pytest.raises(Problem) as refused:
        read_base64("A" * 1000, None, 100)
    assert refused.value.status_code == 413


def test_pictures_that_steps_name() -> None:
    a, b = "a" * 64, "b" * 64
    steps = [{"task": "repair", "mask": f"picture:{a}"}, {"task": "restyle", "styles": [f"picture:{b}:0.5", "ink:0.5"]}]
    assert wanted_pictures(steps) == [a, b]
    assert with_parts({"mask": "part:mask", "styles": ["part:mask:0.3", "ink"], "n": 3}, {"mask": a}) == {
        "mask": f"picture:{a}",
        "styles": [f"picture:{a}:0.3", "ink"],
        "n": 3,
    }
    with pytest.raises(Problem, match="no part 'other'"):
        with_parts(["part:other"], {"mask": a})


RSS = b"""<?xml version="1.0"?><rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>
<item><g:id>7</g:id><title>Shoe</title><g:image_link>https://x.example/7.jpg</g:image_link></item>
<item><title>Hat</title></item></channel></rss>"""


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"id,image_link\n7,https://x.example/7.jpg\n8,\n", [(1, "7", "https://x.example/7.jpg"), (2, "8", "")]),
        (b"\xef\xbb\xbfSKU\tImage Src\n7\thttps://x.example/7.jpg\n", [(1, "7", "https://x.example/7.jpg")]),
        (b'url;title\nhttps://x.example/7.jpg;"a;b"\n', [(1, "a;b", "https://x.example/7.jpg")]),
        (RSS, [(1, "7", "https://x.example/7.jpg"), (2, "Hat", "")]),
    ],
)
def test_feeds(data: bytes, rows: list[tuple[int, str, str]]) -> None:
    assert read_feed(data, 10) == rows


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"id,price\n1,2\n",
        b"\xff\xfe\x00",
        b'id,image\n1,"open',
        b"<rss><item>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><rss><item>&a;</item></rss>',
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss><item><id>&a;</id></item></rss>',
        b"id,image_link\n" + b"1,https://x.example/1.jpg\n" * 11,
    ],
)
def test_what_is_no_feed(data: bytes) -> None:
    with pytest.raises(Problem) as refused:
        read_feed(data, 10)
    assert refused.value.status_code == 422
