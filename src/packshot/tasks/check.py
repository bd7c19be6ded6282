"""Would a channel take these pictures? What each of its rules says of each of them, on a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from packshot.core.errors import PackshotError
from packshot.core.progress import Progress
from packshot.release.channels import load_channel
from packshot.release.checks import Finding, Seen, check_picture
from packshot.tasks.photos import Photo, find_photos


@dataclass(frozen=True, kw_only=True)
class CheckedPicture:
    """One picture.

    Attributes:
        picture: its name.
        passed: no rule in force is broken. What cannot be told does not count as broken.
        findings: one for each rule in force.
        problem: why it could not be looked at; None: it could.
    """

    picture: str
    passed: bool
    findings: list[Finding]
    problem: str | None = None


@dataclass(frozen=True)
class CheckResult:
    """All pictures.

    Attributes:
        channel: the channel's name.
        on: the day, ISO.
        passed: how many pictures passed.
        pictures: one entry for each.
    """

    channel: str
    on: str
    passed: int
    pictures: list[CheckedPicture]


def check_pictures(
    given: list[Path], channel: str, *, on: date, kind: str | None = None, quiet: bool = False
) -> CheckResult:
    """Checks files, folders and catalogues against the rules of a channel that are in force on a day.

    Args:
        given: what the user named.
        channel: name of a channel.
        on: the day.
        kind: of product, for rules that bind one kind alone ("apparel").
        quiet: show no progress.

    Raises:
        UsageError: an unknown channel, nothing named, or not there.
        PackshotError: there is no picture.
    """
    rules = load_channel(channel)
    photos = list(find_photos(given))
    if not photos:
        raise PackshotError(f"There is no picture in {', '.join(map(str, given))}.")
    pictures = []
    with Progress("Checking", len(photos), quiet=quiet) as bar:
        for i, photo in enumerate(photos):
            try:
                findings = check_picture(_seen(photo), rules, on, kind)
                passed = not any(f.status == "fail" for f in findings)
                pictures.append(CheckedPicture(picture=photo.name, passed=passed, findings=findings))
            except PackshotError as e:
                pictures.append(CheckedPicture(picture=photo.name, passed=False, findings=[], problem=str(e)))
            bar.update(i + 1)
    return CheckResult(channel, on.isoformat(), sum(p.passed for p in pictures), pictures)


def _seen(photo: Photo) -> Seen:
    image = photo.read()
    if photo.path is None:
        return Seen(image, None, None)
    return Seen(image, photo.path.name, photo.path.stat().st_size)
