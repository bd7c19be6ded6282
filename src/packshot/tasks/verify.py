"""Whose picture is this, and is it what it says? What a file claims, whether that is intact, and what leads home.

| verdict | what it means |
|---|---|
| released | a picture of this register, byte for byte |
| re-encoded | labels are left, and its pixels lead to a picture of this register; the bytes are others |
| stripped | no label is left; its pixels lead to a picture of this register |
| stranger | signed or labelled by somebody else |
| unmarked | nothing is claimed, and nothing leads to this register |
| tampered | its manifest does not hold |
| unreadable | no picture, or a damaged one |

Pixels lead to a picture by the watermark's id, which is proof, or by a fingerprint, which is a likeness and no proof:
the photo that an edit began with looks like the edit. An id that only a label names counts where the pixels agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import disk_errors, sha256_file
from packshot.images import xmp
from packshot.images.decode import BadPicture, decode
from packshot.images.picture import Operation, ProductImage
from packshot.release.claims import Claims, contradictions, read_claims, say_intact
from packshot.release.door import check_free, release
from packshot.release.manifest import STORE, read_manifest, read_trust
from packshot.release.register import Entry, find_by_checksum, find_by_mark
from packshot.release.source_type import strongest
from packshot.release.trace import Fingerprint, Likeness
from packshot.release.watermark import detect

Verdict = Literal["released", "re-encoded", "stripped", "stranger", "unmarked", "tampered", "unreadable"]


@dataclass(frozen=True, kw_only=True)
class Traced:
    """The picture of the register that a file leads to.

    Attributes:
        entry: the picture.
        by: what led there: "bytes", "watermark", "label" (its id in a label, and the pixels look like it) or
            "fingerprint".
        likeness: how much the file looks like it; None: its bytes are the same.
        others: how many other registered pictures are as near, where a fingerprint led there.
    """

    entry: Entry
    by: Literal["bytes", "watermark", "label", "fingerprint"]
    likeness: Likeness | None = None
    others: int = 0

    @property
    def proof(self) -> bool:
        """Whether that proves anything by itself."""
        return self.by in ("bytes", "watermark")


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found out about one file.

    Attributes:
        file: its name.
        verdict: see the table above.
        sentence: why.
        claims: what the file says; None: it cannot be read.
        watermark: the id in its pixels, ten hex digits, whoever put it there; None: none.
        traced: the registered picture that it leads to, or None.
        contradictions: layers that cannot both be true.
        notes: sentences.
        reattached: the copy that carries its manifest again, or None.
    """

    file: str
    verdict: Verdict
    sentence: str
    claims: Claims | None = None
    watermark: str | None = None
    traced: Traced | None = None
    contradictions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reattached: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the file could not be judged, or is not what was signed."""
        return self.verdict in ("tampered", "unreadable")

    def as_json(self) -> dict[str, Any]:
        """Returns everything as JSON values."""
        out: dict[str, Any] = {"file": self.file, "verdict": self.verdict, "sentence": self.sentence}
        claims = self.claims
        if claims is None:
            return out
        found = claims.manifest
        out["claims"] = {
            **{"c2pa": claims.c2pa, "iptc": claims.iptc, "china": claims.china},
            **{"actions": list(found.actions) if found else [], "title": found.title if found else None},
            **{"ingredients": list(found.titles) if found else [], "generator": found.generator if found else None},
        }
        out["signature"] = {
            **{"trust": found.trust if found else None, "words": say_intact(claims)},
            **{"signer": found.signer if found else None, "time": found.time if found else None},
            "problems": list(found.problems) if found else [],
        }
        out["layers"] = self.layers()
        out["registered"] = _registered(self.traced)
        return out | {
            "contradictions": list(self.contradictions),
            "notes": list(self.notes),
            "reattached": self.reattached,
        }

    def layers(self) -> dict[str, Any]:
        """Returns what is left of each layer."""
        claims = self.claims or Claims()
        return {
            "c2pa": "none" if claims.manifest is None else "broken" if claims.changed else "intact",
            "iptc": claims.iptc is not None,
            "china": claims.china is not None,
            "watermark": self.watermark,
            "register": self.traced.by if self.traced else None,
        }


def _registered(traced: Traced | None) -> dict[str, Any] | None:
    if traced is None:
        return None
    entry = traced.entry
    return {
        **{"mark": entry.mark, "name": entry.name, "time": entry.time, "source_type": entry.source_type},
        **{"sha256": entry.sha256, "by": traced.by, "proof": traced.proof, "others": traced.others},
        "likeness": None if traced.likeness is None else asdict(traced.likeness),
    }


def verify(
    files: Sequence[Path],
    *,
    trust: Sequence[Path] = (),
    reattach: Path | None = None,
    overwrite: bool = False,
    accept_likeness: bool = False,
) -> list[Verified]:
    """Judges files, one after the other; one that cannot be read does not stop the others.

    Args:
        files: pictures, or what claims to be.
        trust: files of certificates (PEM) whose signatures are trusted.
        reattach: where a copy of the one file is written that carries its registered manifest again.
        overwrite: whether a file of that name may be replaced.
        accept_likeness: whether a likeness alone is enough to attach a manifest by.

    Raises:
        UsageError: `reattach` with several files.
        PackshotError: the register or a file of certificates cannot be used, or there is nothing to attach again.
    """
    if reattach is not None and len(files) != 1:
        raise UsageError("--reattach writes one copy: give one FILE.")
    if reattach is not None and not overwrite:
        check_free([reattach])
    anchors = [read_trust(path) for path in trust]
    done = [_verify_one(path, anchors) for path in files]
    if reattach is None:
        return done
    return [_reattached(files[0], done[0], reattach, overwrite, accept_likeness)]


def _verify_one(path: Path, anchors: Sequence[bytes]) -> Verified:
    try:
        image = decode(path)
    except BadPicture as e:
        return Verified(file=str(path), verdict="unreadable", sentence=str(e))
    claims = read_claims(image, anchors)
    mark = detect(image.pixels)
    watermark = None if mark is None else f"{mark.ident:010x}"
    traced = trace_file(path, image, claims, watermark)
    verdict, sentence = _judge(claims, traced)
    notes = [*claims.notes]
    if claims.manifest is not None and watermark in claims.manifest.earlier:
        notes.append(f"The watermark {watermark} is that of the picture it was made from.")
    if watermark is not None and (traced is None or traced.entry.mark != watermark) and not find_by_mark(watermark):
        notes.append(f"A watermark with the id {watermark} is there, which this register does not know.")
    stranger = next((where for where in claims.ids if traced is None and find_by_mark(claims.ids[where])), None)
    if stranger is not None:
        notes.append(
            f"The id in {stranger} is that of a released picture, but the pixels do not look like it: they were "
            "changed a lot, or the label was copied."
        )
    return Verified(
        file=str(path),
        verdict=verdict,
        sentence=sentence,
        claims=claims,
        watermark=watermark,
        traced=traced,
        contradictions=(*contradictions(claims, watermark), *_less_than_registered(claims, traced)),
        notes=tuple(notes),
    )


def trace_file(path: Path, image: ProductImage, claims: Claims, watermark: str | None) -> Traced | None:
    """Returns the registered picture that a file leads to, by the strongest evidence there is."""
    for entry in find_by_checksum(sha256_file(path)):
        return Traced(entry=entry, by="bytes")
    own = Fingerprint(image.pixels)
    for entry in find_by_mark(watermark) if watermark else ():
        return Traced(entry=entry, by="watermark", likeness=own.likeness(entry.dhash, entry.thumb))
    for mark in dict.fromkeys(claims.ids.values()):
        for entry in find_by_mark(mark):
            likeness = own.likeness(entry.dhash, entry.thumb)
            if likeness.near:
                return Traced(entry=entry, by="label", likeness=likeness)
    if (nearest := own.nearest()) is not None:
        entry, likeness, others = nearest
        return Traced(entry=entry, by="fingerprint", likeness=likeness, others=others)
    return None


def _judge(claims: Claims, traced: Traced | None) -> tuple[Verdict, str]:
    if traced is not None and traced.by == "bytes":
        entry = traced.entry
        return "released", f"Released here at {entry.time} as {entry.name}, byte for byte."
    home = "" if traced is None else f" {_led(traced)}"
    if claims.changed:
        return "tampered", f"Its C2PA manifest is {say_intact(claims)}.{home}"
    if claims.manifest is not None:
        if traced is not None and _signed_as(claims, traced.entry):
            return "re-encoded", f"Signed as the picture released here, but its bytes are not those that left.{home}"
        who = claims.manifest.signer or "somebody who is not named"
        return "stranger", f"Signed by {who}, and not as a picture of this register.{home}"
    if traced is not None and not claims.labels:
        return "stripped", f"Its metadata is gone.{home}"
    if traced is not None and (traced.by != "fingerprint" or claims.iptc == traced.entry.source_type):
        return "re-encoded", f"The signature is gone and labels are left; its bytes are not those that left.{home}"
    if claims.labels:
        return "stranger", f"Labelled by somebody else, and not signed.{home}"
    return "unmarked", "Nothing is claimed of it, and nothing leads to a picture of this register."


def _led(traced: Traced) -> str:
    entry, like = traced.entry, traced.likeness
    what = f"{entry.name} ({entry.mark}), released at {entry.time}"
    near = "" if like is None else f"{like.bits} of 64 bits differ"
    if traced.by == "watermark":
        return f"The watermark in its pixels is the id of {what}; fingerprint: {near}."
    if traced.by == "label":
        return f"Its label names {what}, and its pixels look like it ({near}); a label can be copied."
    more = f", as it does like {traced.others:,} more" if traced.others else ""
    return (
        f"It looks like {what}{more}: {near}. That is a likeness, no proof; the photo that a picture was made from "
        "looks like it, too."
    )


def _less_than_registered(claims: Claims, traced: Traced | None) -> list[str]:
    said = strongest([claims.c2pa, claims.iptc])
    if traced is None or traced.by not in ("watermark", "label") or said is None:
        return []
    known = traced.entry.source_type
    return [] if strongest([said, known]) == said else [f"The labels say {said}, the register has {known}."]


def _signed_as(claims: Claims, entry: Entry) -> bool:
    """Returns whether a file is signed by who signed the registered picture, and as that picture."""
    there = read_manifest(entry.manifest, STORE) if entry.manifest is not None else None
    found = claims.manifest
    if there is None or found is None or there.own != found.own:
        return False
    return (found.signer, found.serial) == (there.signer, there.serial) and found.serial is not None


def _reattached(path: Path, verified: Verified, out: Path, overwrite: bool, accept_likeness: bool) -> Verified:
    """Writes the copy, which is a picture of its own: opened from the registered one, whose manifests it carries.

    The old signature is over bytes that are gone. So the old manifest comes back as the ingredient, where readers see
    that it was not signed over this file, and a new one is signed around it, and says what was done.
    """
    traced = verified.traced
    if verified.verdict not in ("stripped", "re-encoded") or traced is None or traced.entry.manifest is None:
        raise PackshotError(f"{path} is {verified.verdict}: there is no registered manifest to attach to it again.")
    if not traced.proof and traced.by == "fingerprint" and not accept_likeness:
        raise PackshotError(
            f"{path} only looks like {traced.entry.name} of the register, which proves nothing; look at both, and add "
            "--accept-likeness if it is that picture."
        )
    with disk_errors(out):
        if out.exists() and out.samefile(path):
            raise UsageError(f"{out} is the file itself; give the copy another name.")
    image = decode(path)
    term = strongest([image.history[0].params["source_type"], traced.entry.source_type])
    try:
        packet = xmp.Packet.parse(image.metadata.xmp) if image.metadata.xmp else xmp.Packet.empty()
    except xmp.BadXmp:
        packet = xmp.Packet.empty()
    if term is not None:
        packet.set(xmp.SOURCE_TYPE, xmp.SOURCE_TYPE_TERMS + term)
    metadata = replace(image.metadata, xmp=packet.tobytes(), credentials=traced.entry.manifest)
    done = Operation("reattach", "classical", {"id": traced.entry.mark, "method": traced.by})
    released = release(replace(image, metadata=metadata).done(done), out, overwrite=overwrite, beside=True)
    notes = (*verified.notes, *released.notes, f"{out} is a new picture ({released.mark}); {path} stays as it was.")
    return replace(verified, reattached=str(out), notes=notes)


def summary(results: Sequence[Verified]) -> Mapping[str, Any]:
    """Returns the results as JSON values, with counts."""
    verdicts = [r.verdict for r in results]
    counts = {name: verdicts.count(name) for name in dict.fromkeys(verdicts)}
    return {"files": [r.as_json() for r in results], "verdicts": counts}
