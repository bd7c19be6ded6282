"""What files say of their rights: PLUS, C2PA, owners; and files that lie, are broken, or are out to harm."""

import contextlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from packshot.catalog.statements import Statements, forbidding, read_statements, reserves_all
from packshot.images.decode import decode
from packshot.images.jumbf import MAX_DEPTH, STORE, BadStore, check_cbor, check_store, find_store
from packshot.images.picture import Metadata
from tests.c2pa_files import box, description, signed, store_with
from tests.catalog_photos import encoded, jpeg, photo

VOCABULARY = "http://ns.useplus.org/ldf/vocab/"
PROHIBITED = (
    "DMI-PROHIBITED",
    "DMI-PROHIBITED-AIMLTRAINING",
    "DMI-PROHIBITED-GENAIMLTRAINING",
    "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING",
    "DMI-PROHIBITED-SEECONSTRAINT",
    "DMI-PROHIBITED-SEEEMBEDDEDRIGHTSEXPR",
    "DMI-PROHIBITED-SEELINKEDRIGHTSEXPR",
)
NOTHING = Metadata()
KEYS = ("cawg.data_mining", "cawg.ai_training", "cawg.ai_generative_training", "cawg.ai_inference")


def packet(inside: str, attributes: str = "") -> bytes:
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/" '
        f'{attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def with_xmp(kind: str, xmp: bytes) -> bytes:
    if kind != "PNG":
        return encoded(photo(1, 40, 30), kind, xmp=xmp)
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return encoded(photo(1, 40, 30), kind, pnginfo=texts)


def said(data: bytes) -> Statements:
    return read_statements(data, decode(data).metadata)


@pytest.mark.parametrize("term", [*PROHIBITED, "DMI-ALLOWED", "DMI-UNSPECIFIED"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_plus_values_are_read_from_files(term: str, kind: str) -> None:
    as_element = packet(f"<plus:DataMining>{VOCABULARY}{term}</plus:DataMining>")
    as_attribute = packet("", f'plus:DataMining="{VOCABULARY}{term}"')
    as_resource = packet(f'<plus:DataMining rdf:resource="{VOCABULARY}{term}"/>')
    for xmp in (as_element, as_attribute, as_resource):
        mining = said(with_xmp(kind, xmp)).mining
        assert mining == f"plus:{term}"
        assert bool(forbidding(mining)) is (term in PROHIBITED)


def test_other_spellings_of_a_prohibition() -> None:
    words = packet("<plus:DataMining>Prohibited for AI/ML training</plus:DataMining>")
    assert forbidding(said(jpeg(photo(1), xmp=words)).mining) == ["PLUS DMI-PROHIBITED"]
    other_prefix = (
        packet("")
        .replace(b"xmlns:plus", b"xmlns:q")
        .replace(
            b"</rdf:Description>", f"<q:DataMining>{VOCABULARY}DMI-PROHIBITED</q:DataMining></rdf:Description>".encode()
        )
    )
    assert said(jpeg(photo(1), xmp=other_prefix)).mining == "plus:DMI-PROHIBITED"
    wide = packet("", f'plus:DataMining="{VOCABULARY}DMI-PROHIBITED"').decode().encode("utf-16")
    assert said(encoded(photo(1), "WEBP", xmp=wide)).mining == "plus:DMI-PROHIBITED"
    broken = packet("", f'plus:DataMining="{VOCABULARY}DMI-PROHIBITED"')[:-60]
    assert said(jpeg(photo(1), xmp=broken)).mining == "plus:DMI-PROHIBITED", "a broken no is still a no"


def test_a_word_in_the_title_is_no_opt_out() -> None:
    title = packet("<dc:title>how to use plus:DataMining</dc:title>")
    assert said(jpeg(photo(1), xmp=title)) == Statements()
    assert said(jpeg(photo(1))) == Statements()


def test_owners_are_read_from_xmp_and_exif() -> None:
    def text(name: str, words: str) -> str:
        return f'<{name}><rdf:Alt><rdf:li xml:lang="x-default">{words}</rdf:li></rdf:Alt></{name}>'

    inside = text("dc:rights", "(c) 2026 Shop.\n  All rights reserved") + text("xmpRights:UsageTerms", "Ask first")
    inside += "<photoshop:Credit>Agency</photoshop:Credit>"
    xmp = packet(inside, 'xmpRights:WebStatement="https://example.org/terms"')
    tags = Image.Exif()
    tags[0x8298], tags[0x013B] = "someone else", "A. Photographer"
    says = said(jpeg(photo(1), xmp=xmp, exif=tags)).says
    assert says is not None and reserves_all(says)
    assert json.loads(says) == {
        "copyright": "(c) 2026 Shop. All rights reserved",
        "creator": "A. Photographer",
        "usage_terms": "Ask first",
        "credit": "Agency",
        "web_statement": "https://example.org/terms",
    }
    alone = said(jpeg(photo(1), exif=tags)).says
    assert alone is not None and json.loads(alone)["copyright"] == "someone else" and not reserves_all(alone)


@pytest.mark.parametrize(
    "entities",
    [
        '<!DOCTYPE x [<!ENTITY a "DMI-ALLOWED"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    ],
)
def test_hostile_xmp_is_not_expanded_and_its_no_is_heard(entities: str) -> None:
    bad = entities.encode() + packet("<dc:rights>&b;</dc:rights>", f'plus:DataMining="{VOCABULARY}DMI-PROHIBITED"')
    found = read_statements(bad, Metadata(xmp=bad))
    assert (found.mining, found.says) == ("plus:DMI-PROHIBITED", None)
    deep = packet("<dc:rights>" * 5000 + "</dc:rights>" * 5000)
    assert read_statements(deep, Metadata(xmp=deep)) == Statements()
    long = packet(f"<dc:rights>{'rights ' * 700_000}</dc:rights>")
    assert read_statements(long, Metadata(xmp=long)) == Statements()
    wordy = packet(f"<dc:rights>{'w' * 5000}</dc:rights>")
    assert len(read_statements(wordy, Metadata(xmp=wordy)).says or "") < 400


@given(st.binary(max_size=200))
def test_nothing_in_a_file_makes_the_reading_fail(noise: bytes) -> None:
    for data in (noise, b"rights" + noise, b"\xff\xd8\xff\xeb\x00\x20JP" + noise + b"c2pa" + STORE + noise):
        read_statements(data, Metadata(xmp=data, exif=b"Exif\0\0MM\0*" + b"\x82\x98" + data))


@pytest.mark.parametrize(("kind", "mime"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_c2pa_assertions_are_read_from_signed_files(kind: str, mime: str) -> None:
    entries = {key: {"use": "notAllowed"} for key in KEYS[1:3]} | {KEYS[0]: {"use": "constrained"}}
    entries[KEYS[3]] = {"use": "notAllowed"}
    data = signed(encoded(photo(1), kind), mime, entries)
    mining = said(data).mining
    assert set((mining or "").split()) == {f"{key}:{entry['use']}" for key, entry in entries.items()}
    assert len(forbidding(mining)) == 3, "inference is no training"
    assert any("constrained" in words for words in forbidding(mining))


def test_the_older_label_what_is_allowed_and_what_says_nothing() -> None:
    old = signed(
        jpeg(photo(1)), "image/jpeg", {"c2pa.ai_training": {"use": "notAllowed"}}, label="c2pa.training-mining"
    )
    assert said(old).mining == "c2pa.ai_training:notAllowed"
    allowed = signed(jpeg(photo(1)), "image/jpeg", {key: {"use": "allowed"} for key in KEYS})
    assert said(allowed).mining and not forbidding(said(allowed).mining)
    assert said(signed(jpeg(photo(1)), "image/jpeg", None)) == Statements()


def test_the_opt_out_of_an_ingredient_counts() -> None:
    parent = signed(jpeg(photo(2)), "image/jpeg", {KEYS[1]: {"use": "notAllowed"}})
    collage = signed(jpeg(photo(1)), "image/jpeg", None, parent=parent)
    assert forbidding(said(collage).mining) == ["C2PA cawg.ai_training notAllowed"]


def test_a_changed_or_cut_manifest_still_says_no() -> None:
    data = signed(encoded(photo(1, 24, 24), "PNG"), "image/png", {KEYS[1]: {"use": "notAllowed"}})
    at = data.index(STORE)
    for size in (0, 2**31, 40):
        cut = data[: at - 16] + size.to_bytes(4, "big") + data[at - 12 :]
        assert forbidding(read_statements(cut, NOTHING).mining), size
    rng = random.Random(1)
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(rng.choice((1, 3, 20))):
            broken[rng.randrange(at, len(data))] = rng.choice((0, 0xFF, 0x9B, 0x5B, rng.randrange(256)))
        read_statements(bytes(broken), NOTHING)  # Whatever it says: it ends, and soon.


BOMBS = {
    "a string of 4 GiB": b"\xa1\x5b\x00\x00\x00\x00\xff\xff\xff\xff",
    "a list of 2^40": b"\xa1\x9b\x00\x00\x01\x00\x00\x00\x00\x00",
    "a map of 2^62": b"\xbb\x40\x00\x00\x00\x00\x00\x00\x00",
    "text of 1.5 GiB": b"\xa1\x7a\x5a\x5a\x5a\x5a",
    "nested without end": b"\x81" * 40_000,
    "tags without end": b"\xc1" * 40_000,
    "never closed": b"\x9f" + b"\x01" * 50,
    "a break alone": b"\xff",
    "a reserved form": b"\x1c",
    "nothing": b"",
}


@pytest.mark.parametrize("name", BOMBS)
def test_cbor_that_would_take_the_memory_is_never_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import c2pa

    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("the library was asked to decode it")

    store = store_with(BOMBS[name] + b"notAllowed")
    if name != "nothing":
        with pytest.raises(BadStore):
            check_store(store)
    with pytest.raises(BadStore):
        check_cbor(BOMBS[name])
    if name != "nothing":
        monkeypatch.setattr(c2pa, "Reader", decoded)
        assert forbidding(read_statements(b"RIFF" + store, NOTHING).mining) == ["C2PA c2pa.training-mining notAllowed"]


def test_good_cbor_passes() -> None:
    for data in (
        b"\x00",
        b"\xa1\x61a\x61b",
        b"\x9f\x01\x02\xff",
        b"\x5f\x42ab\xff",
        b"\xc0\x63abc",
        b"\xf6",
        b"\x1a\0\0\0\1",
    ):
        check_cbor(data)
    check_store(store_with(b"\xa1\x67entries\xa0"))
    for kind, mime in (("JPEG", "image/jpeg"), ("PNG", "image/png")):
        store = find_store(signed(encoded(photo(1), kind), mime, {KEYS[0]: {"use": "allowed"}}))
        assert store is not None
        check_store(store)


def test_boxes_out_of_place_are_refused() -> None:
    deep = description(b"c2pa", b"x")
    for _ in range(MAX_DEPTH + 2):
        deep = box(b"jumb", deep)
    many = box(b"jumb", box(b"free", b"") * 30_000)
    for bad in (deep, many, box(b"jumb", box(b"brob", b"x")), box(b"jumb", b"\0\0\0\x40cbor"), b"\0\0\0\x04jumb"):
        with pytest.raises(BadStore):
            check_store(bad)


@given(st.binary(max_size=120))
def test_the_check_ends_on_any_bytes(noise: bytes) -> None:
    for check in (check_cbor, check_store):
        with contextlib.suppress(BadStore):
            check(noise)


def test_a_label_across_two_segments_of_a_jpeg_is_found(tmp_path: Path) -> None:
    store = store_with(b"\xa1\x67entries\xa1\x70cawg.ai_training\xa1\x63use\x6anotAllowed")
    pieces = [store[at : at + 40] for at in range(0, len(store), 40)]
    segments = b""
    for number, piece in enumerate(pieces, 1):
        body = b"JP\0\1" + number.to_bytes(4, "big") + (b"" if number == 1 else store[:8]) + piece
        segments += b"\xff\xeb" + (len(body) + 2).to_bytes(2, "big") + body
    plain = jpeg(photo(1))
    data = plain[:2] + segments + plain[2:]
    assert find_store(data) == store
    assert forbidding(said(data).mining)
