"""Safe repairs of pictures that break a channel's rules, and what of them needs a new photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors
from packshot.images.decode import decode
from packshot.images.encode import encode
from packshot.images.picture import Operation, ProductImage
from packshot.release.channels import Channel, Rule
from packshot.release.checks import Finding, Seen, check_picture
from packshot.release.door import QUALITY, release_set
from packshot.release.fixes import ENLARGE, FrameRules, NotSafe, reframe, shrink, whiten

ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
"""Of the formats that the door writes."""
LOSSLESS = ("PNG", "BMP", "TIFF", "GIF")
QUALITIES = (QUALITY, 92, 88, 84, 80, 75)
"""What is tried, in this order, until a picture is small enough."""
FOR_LABELS = 2**18
"""Bytes that labels may add to a file."""
FRAMED = {"fill", "sides", "longest"}
"""Checks that another frame about the product may satisfy."""
REMEDIES = {
    "border": "it needs a picture without the border",
    "overlay": "it needs a new photo, or the original without the text",
    "sides": ENLARGE,
    "longest": ENLARGE,
    "megapixels": "it needs a smaller copy: Packshot decodes at most 64 megapixels",
}


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """What became of a picture that broke rules.

    Attributes:
        picture: the file that was written; None: nothing could be repaired, or that failed.
        passed: it breaks no rule any more.
        repairs: what was done, for example "white backdrop".
        before: the findings of the rules that were broken.
        after: those of the same rules, and of any that is broken now, in the file as written.
        remains: for each rule that is still broken, what it needs.
        notes: of the door.
        problem: why there is no file; None: there is, or nothing could be repaired.
    """

    picture: str | None = None
    passed: bool = False
    repairs: list[str] = field(default_factory=list)
    before: list[Finding] = field(default_factory=list)
    after: list[Finding] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problem: str | None = None


class Fixer:
    """Repairs pictures into a folder.

    Args:
        channel: whose rules.
        on: by those in force on this day.
        kind: of product.
        out: the folder; what keeps all rules goes there, what does not to its sub-folder review.
    """

    def __init__(self, channel: Channel, on: date, kind: str | None, out: Path) -> None:
        self.channel, self.on, self.kind, self.out = channel, on, kind, out
        self.rules = {r.id: r for r in channel.rules if r.subject == "picture" and r.binds(on, kind)}
        asked = self.of("format")
        self.formats = [kind for kind in ENDINGS if all(kind in r.params["formats"] for r in asked)]
        self.taken: dict[Path, str] = {}

    def of(self, check: str) -> list[Rule]:
        """Returns the rules in force, recommendations left out, that a check decides."""
        return [r for r in self.rules.values() if r.check == check and not r.advice]

    def fix(self, seen: Seen, findings: Sequence[Finding], name: str, stem: str, original: Path | None) -> Fixed:
        """Repairs what can be repaired safely, and checks the file that was written.

        Args:
            seen: the picture.
            findings: what the rules say of it.
            name: of the picture, as the user would write it.
            stem: of the result below the folder, without an ending.
            original: its file, which is never written to; None: it has none.
        """
        broken = [f for f in findings if f.status == "fail"]
        reasons: dict[str, str] = {}
        try:
            return self._fix(seen, broken, reasons, name, stem, original)
        except PackshotError as e:
            return Fixed(before=broken, after=broken, remains=self._remains(broken, reasons), problem=str(e))

    def _fix(
        self, seen: Seen, broken: list[Finding], reasons: dict[str, str], name: str, stem: str, original: Path | None
    ) -> Fixed:
        checks = {self.rules[f.rule].check for f in broken}
        image, repairs = _Repairs(self, seen, checks, reasons).made()
        if image is None or not (repairs or checks & {"format", "megabytes"}):
            return Fixed(before=broken, after=broken, remains=self._remains(broken, reasons))
        data, kind, quality = self._encoded(image, seen.format, reasons)
        if checks & {"format", "megabytes"}:
            repairs.append(f"{kind}{'' if kind == 'PNG' else f' of quality {quality}'}, named {ENDINGS[kind]}")
        # What will still be broken is known before it is written: all but the label, which the door writes.
        likely = self._check(Seen(decode(data), f"{stem}{ENDINGS[kind]}", len(data)))
        passes = not any(f.status == "fail" and self.rules[f.rule].check != "label" for f in likely)
        path = self._path(stem if passes else f"review/{stem}", kind, name, original)
        (released,) = release_set([image], [path], quality=quality)
        with disk_errors(path):
            size = path.stat().st_size
        after = self._check(Seen(decode(path), path.name, size, known=seen.known))
        still = [f for f in after if f.status == "fail"]
        known = {f.rule for f in broken}
        return Fixed(
            picture=str(path),
            passed=not still,
            repairs=repairs,
            before=broken,
            after=[f for f in after if f.rule in known or f.status == "fail"],
            remains=self._remains(still, reasons),
            notes=list(released.notes),
        )

    def _check(self, seen: Seen) -> list[Finding]:
        return check_picture(seen, self.channel, self.on, self.kind)

    def _encoded(self, image: ProductImage, own: str, reasons: dict[str, str]) -> tuple[bytes, str, int]:
        """Returns the picture as a file's bytes, its format and quality: small enough, where there is a limit."""
        limit = min((r.params["at_most"] * 1e6 for r in self.of("megabytes")), default=None)
        first = own
        if own not in self.formats:  # As it is told from the content; the door writes no other.
            wanted = ("PNG", "WEBP", "JPEG") if image.has_alpha or own in LOSSLESS else ("JPEG", "PNG", "WEBP")
            first = next(kind for kind in wanted if kind in self.formats)
        kinds = [first]
        if first == "PNG" and not image.has_alpha and "JPEG" in self.formats:
            kinds.append("JPEG")
        for kind, quality in [(k, q) for k in kinds for q in (QUALITIES[:1] if k == "PNG" else QUALITIES)]:
            data = encode(image, kind, quality)
            if limit is None or len(data) + FOR_LABELS <= limit:
                break
        else:
            reasons["megabytes"] = "it stays above that and needs fewer pixels"
        return data, kind, quality

    def _path(self, below: str, kind: str, name: str, original: Path | None) -> Path:
        path = self.out / f"{below}{ENDINGS[kind]}"
        if (first := self.taken.setdefault(path, name)) != name:
            raise PackshotError(f"{path} is the result of {first}; repair {name} with another --out.")
        with disk_errors(path):
            if original is not None and path.exists() and path.samefile(original):
                raise PackshotError(f"{path} is the picture itself; choose another --out.")
        return path

    def _remains(self, broken: Sequence[Finding], reasons: dict[str, str]) -> list[str]:
        return [f"{f.text} {_sentence(_remedy(self.rules[f.rule].check, reasons))}" for f in broken]


class _Repairs:
    """The repairs of one picture's pixels; why one is not made goes to `reasons`, by check."""

    def __init__(self, fixer: Fixer, seen: Seen, checks: set[str], reasons: dict[str, str]) -> None:
        self.fixer, self.seen, self.checks, self.reasons = fixer, seen, checks, reasons

    def made(self) -> tuple[ProductImage | None, list[str]]:
        """Returns the repaired picture, None where it could not be decoded, and what was done."""
        image, repairs = self.seen.image, list[str]()
        if image is None:
            return None, repairs
        if "white" in self.checks:
            before, image = image, self.tried(whiten, image, ["white"])
            repairs += [] if image is before else ["white backdrop"]
        most = min((r.params["at_most"] for r in self.fixer.of("longest") if "at_most" in r.params), default=None)
        if most is not None and max(image.width, image.height) > most:
            image = shrink(image, most)
            repairs.append(f"resized to {image.width} x {image.height}")
        elif self.checks & FRAMED:
            before, image = image, self.framed(image)
            repairs += [] if image is before else [f"frame of {image.width} x {image.height} about the product"]
        if "srgb" in self.checks:
            repairs.append("sRGB")  # As it was decoded.
        if "label" in self.checks and self.seen.known is not None:
            image = image.done(Operation("relabel", "classical", {"source_type": self.seen.known}))
            repairs.append(f"label {self.seen.known}")
        return image, repairs

    def framed(self, image: ProductImage) -> ProductImage:
        of = self.fixer.of
        fill = next(((r.params["at_least"], r.params["at_most"]) for r in of("fill")), None)
        side = max((r.params["at_least"] for r in of("sides")), default=1)
        longest = max((r.params["at_least"] for r in of("longest")), default=1)
        rules = FrameRules(fill=fill, side=side, longest=longest)
        framed = self.tried(lambda i: reframe(i, rules), image, sorted(self.checks & FRAMED))
        if framed is image and "fill" in self.checks:  # With too few pixels; the fill can be right all the same.
            framed = self.tried(lambda i: reframe(i, FrameRules(fill=fill)), image, ["fill"])
            framed = framed if framed.width > image.width else image
        return framed

    def tried(
        self, repair: Callable[[ProductImage], ProductImage], image: ProductImage, checks: list[str]
    ) -> ProductImage:
        try:
            return repair(image)
        except NotSafe as e:
            self.reasons |= dict.fromkeys(checks, str(e))
            return image


def _remedy(check: str, reasons: dict[str, str]) -> str:
    return reasons.get(check) or REMEDIES.get(check, "it needs a new photo")


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."
