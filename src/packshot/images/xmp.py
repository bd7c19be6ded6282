"""XMP packets: read with suspicion, cleaned, and written with their own name prefixes.

XMP is RDF in XML (ISO 16684-1): `x:xmpmeta` > `rdf:RDF` > `rdf:Description`, each property an attribute or an element.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree.ElementTree import Element, SubElement, TreeBuilder, tostring

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
EXIF = "http://ns.adobe.com/exif/1.0/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
XMP = "http://ns.adobe.com/xap/1.0/"
IPTC_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
DC = "http://purl.org/dc/elements/1.1/"
PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
XMP_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
XML = "http://www.w3.org/XML/1998/namespace"

# What tells who is to be seen, where, or whose camera it was: whole vocabularies (a depth map of Google's holds the
# untouched photo once more), and single properties of others.
PERSONAL_SPACES = (
    "http://ns.google.com/photos/",
    "http://www.dji.com/drone-dji/",
    "http://www.metadataworkinggroup.com/schemas/regions/",
    "http://ns.microsoft.com/photo/1.2/",
    "http://ns.adobe.com/xap/1.0/mm/",
)
PERSONAL = {
    "http://ns.adobe.com/exif/1.0/aux/": ("SerialNumber", "LensSerialNumber", "OwnerName", "ImageNumber"),
    "http://cipa.jp/exif/1.0/": ("BodySerialNumber", "LensSerialNumber", "CameraOwnerName"),
    EXIF: ("ImageUniqueID", "MakerNote"),
    IPTC_EXT: ("PersonInImage", "PersonInImageWDetails", "LocationCreated", "LocationShown"),
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": ("Location", "CountryCode"),
    PHOTOSHOP: ("City", "State", "Country"),
}
AUTHORS = {
    DC: ("creator",),
    PHOTOSHOP: ("AuthorsPosition", "CaptionWriter"),
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": ("CreatorContactInfo",),
    "http://cipa.jp/exif/1.0/": ("Photographer", "ImageEditor"),
    TIFF: ("Artist",),
}

SOURCE_TYPE = f"{{{IPTC_EXT}}}DigitalSourceType"
SOURCE_TYPE_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
AI_SYSTEM = f"{{{IPTC_EXT}}}AISystemUsed"
AI_VERSION = f"{{{IPTC_EXT}}}AISystemVersionUsed"
AI_PROMPT = f"{{{IPTC_EXT}}}AIPromptInformation"
RIGHTS = f"{{{DC}}}rights"
CREDIT = f"{{{PHOTOSHOP}}}Credit"
USAGE_TERMS = f"{{{XMP_RIGHTS}}}UsageTerms"
SYNTHETIC = (
    "algorithmicMedia",
    "compositeSynthetic",
    "compositeWithTrainedAlgorithmicMedia",
    "trainedAlgorithmicMedia",
)
"""Terms of pictures that are no photo, in whole or in part, from the weakest statement to the strongest."""

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 50
TC260 = "http://www.tc260.org.cn/ns/AIGC/1.0/"
PREFIXES = {
    RDF: "rdf",
    META: "x",
    IPTC_EXT: "Iptc4xmpExt",
    XMP_RIGHTS: "xmpRights",
    XML: "xml",
    TC260: "TC260",
    DC: "dc",
    PHOTOSHOP: "photoshop",
}


class BadXmp(Exception):
    """A packet that is not XMP, or is hostile."""


class Packet:
    """An XMP packet.

    Attributes:
        root: the XML tree; tags are `{namespace}name`.
        prefixes: namespace -> the prefix that the packet uses for it.
    """

    def __init__(self, root: Element, prefixes: dict[str, str]) -> None:
        self.root, self.prefixes = root, prefixes

    @classmethod
    def empty(cls) -> Packet:
        """Returns a packet that says nothing."""
        root = Element(f"{{{META}}}xmpmeta")
        SubElement(SubElement(root, f"{{{RDF}}}RDF"), f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})
        return cls(root, {})

    @classmethod
    def parse(cls, data: bytes) -> Packet:
        """Parses the bytes of a packet.

        Raises:
            BadXmp: not XML, a document type or entities, nested too deeply, too long, or without `rdf:RDF`.
        """
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import DefusedXMLParser, ParseError

        if len(data) > MAX_BYTES:
            raise BadXmp("too long")
        builder = _Builder()
        try:
            parser = DefusedXMLParser(target=builder, forbid_dtd=True)
            # Padding with NUL is common; in UTF-16 (it starts with a byte order mark) NUL is half a letter.
            parser.feed(data if data[:2] in (b"\xff\xfe", b"\xfe\xff") else data.strip(b"\0 \t\r\n"))
            root = parser.close()
        except (ParseError, DefusedXmlException, ValueError, LookupError) as e:
            raise BadXmp(str(e)) from e
        packet = cls(root, builder.prefixes)
        packet.descriptions()
        return packet

    def descriptions(self) -> list[Element]:
        """Returns the `rdf:Description` elements, at least one."""
        rdf = self.root if self.root.tag == f"{{{RDF}}}RDF" else self.root.find(f"{{{RDF}}}RDF")
        if rdf is None:
            raise BadXmp("no rdf:RDF")
        found = rdf.findall(f"{{{RDF}}}Description")
        return found or [SubElement(rdf, f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})]

    def get(self, name: str) -> str | None:
        """Returns a simple property (`{namespace}name`), in any of the ways that RDF may write it, or None."""
        for description in self.descriptions():
            if name in description.attrib:
                return description.attrib[name].strip()
            element = description.find(name)
            if element is not None:
                return (element.get(f"{{{RDF}}}resource") or "".join(element.itertext())).strip()
        return None

    def set(self, name: str, value: str) -> None:
        """Sets a simple property, once, whatever was there."""
        self.remove(lambda tag: tag == name)
        SubElement(self.descriptions()[0], name).text = value

    def set_text(self, name: str, value: str) -> None:
        """Sets a property that holds a text by language (`rdf:Alt`), once, for all languages."""
        self.remove(lambda tag: tag == name)
        texts = SubElement(SubElement(self.descriptions()[0], name), f"{{{RDF}}}Alt")
        SubElement(texts, f"{{{RDF}}}li", {f"{{{XML}}}lang": "x-default"}).text = value

    def remove(self, unwanted: Callable[[str], bool]) -> None:
        """Removes every attribute and element whose `{namespace}name` is unwanted, however deep it lies."""
        for element in list(self.root.iter()):
            for key in [k for k in element.attrib if unwanted(k)]:
                del element.attrib[key]
            for child in [c for c in element if unwanted(c.tag)]:
                element.remove(child)

    def tobytes(self) -> bytes:
        """Returns the packet as UTF-8 XML with its `xpacket` wrapper."""
        prefixes = self._unique_prefixes()

        def short(tag: str) -> str:
            space, _, name = tag[1:].partition("}") if tag.startswith("{") else ("", "", tag)
            return f"{prefixes[space]}:{name}" if space else name

        # ElementTree takes prefixes only from a table of the whole process, so the names are spelled out here.
        def spelled(element: Element) -> Element:
            out = Element(short(element.tag), {short(k): v for k, v in element.attrib.items()})
            out.text, out.tail = element.text, element.tail
            out.extend(spelled(child) for child in element)
            return out

        root = spelled(self.root)
        root.tail = None
        for space, prefix in prefixes.items():
            if space != XML:
                root.set(f"xmlns:{prefix}", space)
        body = tostring(root, encoding="unicode").encode("utf-8", "replace")
        start = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'.encode()
        return start + body + b'\n<?xpacket end="w"?>'

    def _unique_prefixes(self) -> dict[str, str]:
        used = [t[1:].partition("}")[0] for e in self.root.iter() for t in (e.tag, *e.attrib) if t.startswith("{")]
        out: dict[str, str] = {}
        for space in dict.fromkeys(used):
            wanted = PREFIXES.get(space) or self.prefixes.get(space) or "ns"
            prefix, number = wanted, 1
            while prefix in out.values() or (prefix in PREFIXES.values() and PREFIXES.get(space) != prefix):
                prefix, number = f"{wanted}{number}", number + 1
            out[space] = prefix
        return out


class _Builder(TreeBuilder):
    """Keeps the prefixes, which ElementTree forgets, and refuses depth, which would exhaust the stack later."""

    def __init__(self) -> None:
        super().__init__()
        self.prefixes: dict[str, str] = {}
        self._depth = 0

    def start_ns(self, prefix: str | None, uri: str | None) -> None:
        if prefix and uri and re.fullmatch(r"[A-Za-z_][\w.-]*", prefix, re.ASCII):
            self.prefixes.setdefault(uri, prefix)

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def source_type(packet: bytes) -> str | None:
    """Returns the term of `Iptc4xmpExt:DigitalSourceType` (its last part, for example "digitalCapture"), or None."""
    if b"SourceType" not in packet and b"S\0o\0u\0r\0c\0e\0T" not in packet:  # Spares nearly every file the parsing.
        return None
    try:
        return term_of(Packet.parse(packet).get(SOURCE_TYPE))
    except BadXmp:
        return None


def term_of(value: str | None) -> str | None:
    """Returns the last part of a term's URI or short form ("digitalCapture"), or None where there is none."""
    return re.split("[/:]", (value or "").rstrip("/"))[-1] or None


def stating(term: str) -> bytes:
    """Returns a packet that says nothing but a source type."""
    packet = Packet.empty()
    packet.set(SOURCE_TYPE, SOURCE_TYPE_TERMS + term)
    return packet.tobytes()


def is_synthetic(term: str | None) -> bool:
    """Returns whether a source type says that pixels of the picture were made by a computer and not captured."""
    return (term or "").lower() in {t.lower() for t in SYNTHETIC}


def clean(packet: bytes) -> bytes | None:
    """Returns the packet as it may leave the house, or None where it is damaged.

    Left out: `exif:GPS*`, `xmp:Thumbnails`, `tiff:Orientation` (the pixels are upright).
    """
    try:
        parsed = Packet.parse(packet)
    except BadXmp:
        return None
    parsed.remove(_is_private)
    return parsed.tobytes()


def anonymous(packet: bytes, *, authors: bool = False) -> tuple[bytes | None, list[str]]:
    """Returns what `clean` returns without what tells of persons, places and cameras, and the names of all that did.

    Args:
        packet: a packet as a file carried it.
        authors: leave out who made the photo, too.
    """
    try:
        parsed = Packet.parse(packet)
    except BadXmp:
        return None, ["damaged XMP"]
    found: dict[str, None] = {}

    def unwanted(tag: str) -> bool:
        space, _, name = tag[1:].partition("}")
        personal = space.startswith(PERSONAL_SPACES) or name in PERSONAL.get(space, ())
        personal = personal or (authors and name in AUTHORS.get(space, ())) or _is_private(tag)
        if personal and name != "Orientation":  # That one is merely stale.
            found[name] = None
        return personal

    parsed.remove(unwanted)
    return parsed.tobytes(), list(found)


def _is_private(tag: str) -> bool:
    return tag.startswith(f"{{{EXIF}}}GPS") or tag in (f"{{{XMP}}}Thumbnails", f"{{{TIFF}}}Orientation")
