"""Would a channel take these pictures? What each of its rules says of each of them on a day, and on later ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import disk_errors
from packshot.core.progress import Progress
from packshot.images.decode import DEFAULT_LIMITS, BadPicture, read_header
from packshot.images.picture import ProductImage
from packshot.release.channels import Channel, load_channel
from packshot.release.checks import Finding, Seen, check_picture
from packshot.release.texts import check_texts
from packshot.tasks.check_feed import Listed, find_listed, no_pictures
from packshot.tasks.check_fix import Fixed, Fixer
from packshot.tasks.photos import Photo

Knower = Callable[[ProductImage, Path | None], str | None]
"""Tells the IPTC term that is known of a picture (and its file) from elsewhere than the file; None: nothing is."""


@dataclass(frozen=True, kw_only=True)
class CheckedPicture:
    """One picture.

    Attributes:
        picture: its name.
        passed: no rule in force is broken. What cannot be told does not count as broken.
        findings: one for each rule in force.
        problem: why it could not be looked at; None: it could.
        unknown: why it was not looked at, where nothing is wrong with it.
        product: of the feed that names it; None: no feed does.
        attribute: by which the feed names it, for example "image_link".
        fixed: what its repair came to; None: none was asked for, or none is needed.
    """

    picture: str
    passed: bool
    findings: list[Finding]
    problem: str | None = None
    unknown: str | None = None
    product: str | None = None
    attribute: str | None = None
    fixed: Fixed | None = None


@dataclass(frozen=True, kw_only=True)
class CheckedProduct:
    """What a feed says of one product in words: `passed` and `findings` as of a picture."""

    product: str
    passed: bool
    findings: list[Finding]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A rule that comes into force later, and whom it will break.

    Attributes:
        on: the day from which it is broken, ISO.
        rule: its id.
        text: the rule.
        confidence: of the rule.
        pictures: the names of those that will break it.
        still_passing: how many of them break no rule before.
    """

    on: str
    rule: str
    text: str
    confidence: str
    pictures: list[str]
    still_passing: int


@dataclass(frozen=True)
class CheckResult:
    """All pictures.

    Attributes:
        channel: the channel's name.
        on: the day, ISO.
        passed: how many pictures passed.
        pictures: one entry for each.
        products: one entry for each product of a feed.
        forecast: one entry for each later day and rule that comes into force then, also where nothing breaks it.
    """

    channel: str
    on: str
    passed: int
    pictures: list[CheckedPicture]
    products: list[CheckedProduct] = field(default_factory=list)
    forecast: list[Change] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        """Whether a rule is broken and not repaired, or something could not be looked at by a fault of its own."""
        pictures = [p for p in self.pictures if p.unknown is None and not (p.fixed is not None and p.fixed.passed)]
        return not (all(p.passed for p in pictures) and all(p.passed for p in self.products))


def check_pictures(
    given: list[Path],
    channel: str,
    *,
    on: date,
    kind: str | None = None,
    images: Path | None = None,
    fix_into: Path | None = None,
    known: Knower | None = None,
    quiet: bool = False,
) -> CheckResult:
    """Checks files, folders, catalogues and feeds against the rules of a channel that are in force on a day.

    Args:
        given: what the user named.
        channel: name of a channel.
        on: the day.
        kind: of product, for rules that bind one kind alone ("apparel").
        images: the folder that a feed's pictures lie in; None: the feed's own.
        fix_into: a folder that pictures which break rules are repaired into, as far as that is safe; None: none are.
        known: tells what is known of a picture's origin from elsewhere than its file, such as a register.
        quiet: show no progress.

    Raises:
        UsageError: an unknown channel, nothing named, or not there.
        PackshotError: there is no picture, or a feed or catalogue cannot be read.
    """
    rules = load_channel(channel)
    if images is not None:
        with disk_errors(images):
            if not images.is_dir():
                raise UsageError(f"There is no folder {images}; --images names the one that a feed's pictures lie in.")
    listed = list(find_listed(given, images, fix_into))
    if not listed:
        raise no_pictures(given)
    fixer = None if fix_into is None else Fixer(rules, on, kind, fix_into)
    checker = _Checker(rules, on, kind, fixer, known)
    with Progress("Checking", len(listed), quiet=quiet) as bar:
        for i, one in enumerate(listed):
            checker.look_at(one)
            bar.update(i + 1)
    passed = sum(p.passed for p in checker.pictures)
    return CheckResult(channel, on.isoformat(), passed, checker.pictures, checker.products, checker.forecast())


def look(photo: Photo, known: Knower | None = None) -> Seen:
    """Reads a photo for its check; of one that is too large to be decoded, the header.

    Raises:
        PackshotError: it cannot be read.
    """
    path = photo.path
    try:
        image = photo.read()
    except BadPicture:
        if path is None:
            raise
        header = read_header(path)
        with disk_errors(path):
            size = path.stat().st_size
        if header.width * header.height <= DEFAULT_LIMITS.max_pixels and size <= DEFAULT_LIMITS.max_bytes:
            raise
        return Seen(None, path.name, size, header=header)
    term = None if known is None else known(image, path)
    if path is None:
        return Seen(image, None, None, known=term)
    with disk_errors(path):
        return Seen(image, path.name, path.stat().st_size, known=term)


class _Checker:
    """Looks at one after the other and gathers what was found."""

    def __init__(self, rules: Channel, on: date, kind: str | None, fixer: Fixer | None, known: Knower | None) -> None:
        self.rules, self.on, self.kind, self.fixer, self.known = rules, on, kind, fixer, known
        self.pictures: list[CheckedPicture] = []
        self.products: list[CheckedProduct] = []
        later = [r for r in rules.rules if r.start is not None and r.start > on and r.only in (None, kind)]
        self.later = {r.id: r for r in later if not r.advice and r.subject == "picture"}
        self.breaking: dict[str, list[CheckedPicture]] = {id: [] for id in self.later}
        self.before: dict[Path, CheckedPicture] = {}

    def look_at(self, one: Listed) -> None:
        """Checks one product or picture; whatever is wrong with it is its result."""
        if one.texts is not None:
            findings = check_texts(one.texts, self.rules, self.on, self.kind)
            named = one.product or one.name
            self.products.append(CheckedProduct(product=named, passed=_passes(findings), findings=findings))
            return
        path = None if one.photo is None else one.photo.path
        checked = None if path is None else self.before.get(path)
        if checked is None:
            checked = self._checked(one)
            if path is not None:
                self.before[path] = checked
        self.pictures.append(replace(checked, product=one.product, attribute=one.attribute))

    def _checked(self, one: Listed) -> CheckedPicture:
        if one.photo is None:
            return CheckedPicture(picture=one.name, passed=False, findings=[], problem=one.problem, unknown=one.unknown)
        try:
            seen = look(one.photo, self.known)
        except PackshotError as e:
            return CheckedPicture(picture=one.name, passed=False, findings=[], problem=str(e))
        findings = check_picture(seen, self.rules, self.on, self.kind)
        passed, fixed = _passes(findings), None
        if not passed and self.fixer is not None:
            fixed = self.fixer.fix(seen, findings, one.name, str(one.photo.stem), one.photo.path)
        checked = CheckedPicture(picture=one.name, passed=passed, findings=findings, fixed=fixed)
        for rule in self.later.values():
            if seen.answer(rule)[0] is False:
                self.breaking[rule.id].append(checked)
        return checked

    def forecast(self) -> list[Change]:
        """Returns which later rules break which pictures, the earliest day first."""
        changes = [
            Change(
                on=str(rule.start),
                rule=id,
                text=rule.text,
                confidence=rule.confidence,
                pictures=[p.picture for p in self.breaking[id]],
                still_passing=sum(p.passed for p in self.breaking[id]),
            )
            for id, rule in self.later.items()
        ]
        return sorted(changes, key=lambda change: (change.on, change.rule))


def _passes(findings: list[Finding]) -> bool:
    return not any(f.status == "fail" for f in findings)
