"""The named styles as pages show them. No network is loaded: their samples came with Packshot."""

from __future__ import annotations

from dataclasses import dataclass

from packshot.core.errors import UsageError, suggest
from packshot.models.style.presets import PRESETS, THUMBNAILS
from packshot.server.pages.frame import Language


@dataclass(frozen=True, kw_only=True)
class StyleName:
    """A style for people.

    Attributes:
        name: as requests say it.
        title: one word.
        about: what it looks like, a few words.
    """

    name: str
    title: str
    about: str


def style_names(language: Language, only: tuple[str, ...] | None = None) -> list[StyleName]:
    """Returns the styles in a language, in their order; `only` those, where it is given."""
    out = []
    for name, preset in PRESETS.items():
        if only is not None and name not in only:
            continue
        title, colon, about = preset.about_zh.partition("：")
        if language == "en" or not colon:
            title, about = name.capitalize(), preset.about
        out.append(StyleName(name=name, title=title, about=about))
    return out


def check_style(name: str) -> None:
    """Makes sure that there is a style.

    Raises:
        UsageError: there is none; the nearest name is suggested.
    """
    if name not in PRESETS:
        raise UsageError(f"There is no style '{name[:40]}'.{suggest(name[:40], PRESETS)}")


def sample_of(name: str) -> bytes:
    """Returns the sample picture of a style, WebP.

    Raises:
        UsageError: there is no such style.
    """
    check_style(name)
    return (THUMBNAILS / f"{name}.webp").read_bytes()
