"""XMP: all the ways to write one property, hostile packets, and prefixes that survive."""

from xml.etree.ElementTree import fromstring

import pytest

from packshot.images import xmp

RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
EXT = 'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
URI = xmp.SOURCE_TYPE_TERMS + "compositeWithTrainedAlgorithmicMedia"


def packet(inside: str, wrapped: bool = True) -> bytes:
    rdf = f"<rdf:RDF {RDF} {EXT}>{inside}</rdf:RDF>"
    return (f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{rdf}</x:xmpmeta>' if wrapped else rdf).encode()


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize(
    "inside",
    [
        f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{URI}"/>',
        f"<rdf:Description><Iptc4xmpExt:DigitalSourceType> {URI} </Iptc4xmpExt:DigitalSourceType></rdf:Description>",
        f'<rdf:Description><Iptc4xmpExt:DigitalSourceType rdf:resource="{URI}"/></rdf:Description>',
        f'<rdf:Description/><rdf:Description xmlns:i="{EXT[19:-1]}"><i:DigitalSourceType>{URI}</i:DigitalSourceType>'
        "</rdf:Description>",
    ],
)
def test_the_source_type_is_found_however_it_is_written(inside: str, wrapped: bool) -> None:
    assert xmp.source_type(packet(inside, wrapped)) == "compositeWithTrainedAlgorithmicMedia"


def test_utf_16_packets_are_read() -> None:
    text = packet(f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{URI}"/>').decode()
    assert xmp.source_type(text.encode("utf-16")) == "compositeWithTrainedAlgorithmicMedia"


def test_setting_replaces_every_way_it_was_written() -> None:
    parsed = xmp.Packet.parse(
        packet(
            f'<rdf:Description Iptc4xmpExt:DigitalSourceType="a/b"/><rdf:Description>'
            f"<Iptc4xmpExt:DigitalSourceType>{URI}</Iptc4xmpExt:DigitalSourceType></rdf:Description>"
        )
    )
    parsed.set(xmp.SOURCE_TYPE, "http://x/y/z")
    data = parsed.tobytes()
    assert data.count(b"DigitalSourceType") == 2  # One element: its start and its end.
    assert xmp.source_type(data) == "z"
    assert b"<Iptc4xmpExt:DigitalSourceType>http://x/y/z</Iptc4xmpExt:DigitalSourceType>" in data


def test_prefixes_survive_and_clashes_are_resolved() -> None:
    data = packet(
        '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/png">'
        '<a:one xmlns:a="urn:1"><a:two xmlns:a="urn:2" xmlns:x="urn:3" x:three="3"/></a:one></rdf:Description>'
    )
    parsed = xmp.Packet.parse(data)
    again = parsed.tobytes()
    assert b'dc:format="image/png"' in again
    root = fromstring(again.partition(b"?>")[2].rpartition(b"<?")[0])
    assert [e.tag for e in root.iter()] == [e.tag for e in parsed.root.iter()]
    assert [e.attrib for e in root.iter()] == [e.attrib for e in parsed.root.iter()]
    assert xmp.Packet.parse(again).tobytes() == again


def test_an_empty_packet_can_be_filled() -> None:
    parsed = xmp.Packet.empty()
    parsed.set(xmp.SOURCE_TYPE, URI + '<&">')
    assert xmp.Packet.parse(parsed.tobytes()).get(xmp.SOURCE_TYPE) == URI + '<&">'


BOMB = "<!DOCTYPE a [<!ENTITY a0 'x'>" + "".join(f"<!ENTITY a{i} '&a{i - 1};&a{i - 1};'>" for i in range(1, 40)) + "]>"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"<a/>",
        b"<x:xmpmeta/>",
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
        packet("<rdf:Description>")[:-30],
        BOMB.encode() + packet("<rdf:Description>&a39;</rdf:Description>"),
        b'<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + packet("<rdf:Description>&f;</rdf:Description>"),
        b"<!DOCTYPE a>" + packet(""),
        packet("<a>" * 5000 + "</a>" * 5000),
        packet("<rdf:Description>" + "x" * (xmp.MAX_BYTES + 1) + "</rdf:Description>"),
        b'<?xml version="1.0" encoding="martian"?>' + packet(""),
    ],
    ids=range(12),
)
def test_bad_packets_are_bad_xmp_and_nothing_else(data: bytes) -> None:
    with pytest.raises(xmp.BadXmp):
        xmp.Packet.parse(data)
    assert xmp.clean(data) is None
    assert xmp.source_type(data + b"<!-- SourceType -->") is None


def test_cleaning_leaves_no_place_at_any_depth() -> None:
    data = packet(
        '<rdf:Description xmlns:e="http://ns.adobe.com/exif/1.0/" e:GPSAltitude="1" e:Flash="0">'
        "<e:Outer><rdf:Seq><rdf:li><e:GPSLatitude>1</e:GPSLatitude></rdf:li></rdf:Seq></e:Outer></rdf:Description>"
    )
    cleaned = xmp.clean(data)
    assert cleaned is not None
    assert b"GPS" not in cleaned
    assert b"Flash" in cleaned


def test_a_text_is_written_once_and_for_all_languages() -> None:
    parsed = xmp.Packet.empty()
    for value in ("first", "second & last"):
        parsed.set_text(xmp.USAGE_TERMS, value)
    data = parsed.tobytes()
    alternatives = b'<rdf:Alt><rdf:li xml:lang="x-default">second &amp; last</rdf:li></rdf:Alt>'
    assert b"<xmpRights:UsageTerms>" + alternatives + b"</xmpRights:UsageTerms>" in data
    assert xmp.Packet.parse(data).get(xmp.USAGE_TERMS) == "second & last"
