"""A C2PA manifest store in a file's bytes, found and looked through before a library decodes it.

JUMBF (ISO/IEC 19566-5) is boxes in boxes, each `length, type, payload`; the contents of C2PA's are CBOR (RFC 8949).
A few bytes that announce a string of many gigabytes make a decoder ask for that memory at once: measured with c2pa-rs
0.91 as 20 GiB and a minute for a file of 120 KB. So every length is held against the bytes that are really there.
"""

from __future__ import annotations

MAX_STORE = 16 * 2**20
MAX_DEPTH, MAX_BOXES = 32, 20_000
STORE = b"c2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x008\x9bq"
"""The type of C2PA's outermost box (C2PA 2.2, section 11.1.4.2)."""


class BadStore(Exception):
    """A manifest store that is damaged or hostile."""


def find_store(data: bytes) -> bytes | None:
    """Returns the manifest store in a file of any format, or None.

    Raises:
        BadStore: it is cut short or too large.
    """
    if b"c2pa" not in data:  # Spares nearly every file the rest.
        return None
    if data.startswith(b"\xff\xd8"):
        data = _segments(data)
    at = data.find(STORE) - 16  # jumb, then the head of jumd.
    if at < 0:
        return None
    size = int.from_bytes(data[at : at + 4], "big")
    if not 24 <= size <= MAX_STORE or at + size > len(data):
        raise BadStore("a manifest store of a wrong length")
    return data[at : at + size]


def _segments(data: bytes) -> bytes:
    """Returns the JUMBF of a JPEG: what its APP11 segments hold, one after the other (ISO/IEC 19566-5, annex D)."""
    parts, at, seen = [], 2, set()
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA or size < 2:  # The picture itself begins.
            break
        body = data[at + 4 : at + 2 + size]
        if marker == 0xEB and body[:2] == b"JP" and len(body) > 16:
            # Every segment but the first of a box repeats the box's head.
            parts.append(body[16:] if body[2:4] in seen else body[8:])
            seen.add(body[2:4])
        at += 2 + size
    return b"".join(parts)


def check_store(store: bytes) -> None:
    """Makes sure that a decoder of the store needs no more memory than it has bytes, and no deep recursion.

    Raises:
        BadStore: boxes that do not fit into each other, compressed ones, or CBOR that announces what is not there.
    """
    waiting, boxes = [(0, len(store), 0)], 0
    while waiting:
        at, end, depth = waiting.pop()
        while at < end:
            boxes += 1
            size, kind, head = int.from_bytes(store[at : at + 4], "big"), store[at + 4 : at + 8], 8
            if size == 1:
                size, head = int.from_bytes(store[at + 8 : at + 16], "big"), 16
            elif size == 0:
                size = end - at
            if size < head or at + size > end or boxes > MAX_BOXES or depth > MAX_DEPTH:
                raise BadStore("boxes that do not fit into each other")
            if kind == b"brob":
                raise BadStore("a compressed manifest")
            if kind == b"jumb":
                waiting.append((at + head, at + size, depth + 1))
            elif kind == b"cbor":
                check_cbor(store[at + head : at + size])
            at += size


def check_cbor(data: bytes) -> None:
    """Makes sure that one item of CBOR is whole: no length or count goes beyond the bytes that follow.

    Raises:
        BadStore: it is not, or is nested too deeply.
    """
    at, open_items = 0, [1.0]  # How many items each open array or map still wants; infinite: until a break.
    while open_items:
        if open_items[-1] == 0:
            open_items.pop()
            continue
        if at >= len(data) or len(open_items) > 4 * MAX_DEPTH:
            raise BadStore("CBOR that is cut short or nested too deeply")
        major, info = data[at] >> 5, data[at] & 31
        at += 1
        if major == 7 and info == 31:  # A break.
            if open_items.pop() != float("inf"):
                raise BadStore("CBOR with a break out of place")
            continue
        if info > 27 and not (info == 31 and 2 <= major <= 5):
            raise BadStore("CBOR of a reserved form")
        width = 1 << (info - 24) if 24 <= info <= 27 else 0
        value = int.from_bytes(data[at : at + width], "big") if width else info
        at += width
        open_items[-1] -= 1
        if info == 31:
            open_items.append(float("inf"))
        elif major in (2, 3):
            at += value
        elif major in (4, 5):
            open_items.append(value * (major - 3))
        elif major == 6:
            open_items.append(1)
        if at > len(data) or (major in (4, 5) and info != 31 and value > len(data) - at):
            raise BadStore("CBOR that announces more than there is")
