"""The frame of every page: language, theme, navigation, static files; `render` makes a page of a template.

How a page is written:

    router = APIRouter()

    @router.get("/verify")
    async def show(request: Request) -> HTMLResponse:
        return render(request, "verify.html", limit=40)

A template begins with {% extends "base.html" %}; its comment tells the blocks and `static/css/app.css` the classes.
Every word that a person reads is `_("English text")`, in templates as in Python (`_ = words(request)`); its Chinese
stands in locale/zh.toml or any other locale/zh-*.toml, keyed by the English text. A test finds what is missing.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from packshot.jobs.records import Job
from packshot.server.callers import caller_if_any
from packshot.server.pages.sentences import LOCALE as LOCALE
from packshot.server.pages.sentences import N_ as N_
from packshot.server.pages.sentences import Language as Language
from packshot.server.pages.sentences import tell, texts
from packshot.server.pages.sentences import translate as translate
from packshot.server.problems import Problem

Words = Callable[..., str]

SERVER = Path(__file__).parents[1]
STATIC = SERVER / "static"
TEMPLATES = SERVER / "templates"
LANGUAGES: dict[Language, str] = {"en": "English", "zh": "中文"}
THEMES = ("auto", "light", "dark")
YEAR = 365 * 24 * 3600
MIME = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of the navigation.

    Attributes:
        path: its address.
        name: in English; templates translate it.
        icon: of static/icons.svg.
        group: 0 and 1: the two groups of the navigation.
        tab: whether it is one of the few on a phone's bar.
    """

    path: str
    name: str
    icon: str
    group: int
    tab: bool = False


PAGES = (
    Page(path="/", name=N_("Shoot"), icon="shoot", group=0, tab=True),
    Page(path="/repair", name=N_("Repair"), icon="repair", group=0, tab=True),
    Page(path="/restyle", name=N_("Restyle"), icon="restyle", group=0, tab=True),
    Page(path="/create", name=N_("Create"), icon="create", group=0),
    Page(path="/jobs", name=N_("Jobs"), icon="jobs", group=0, tab=True),
    Page(path="/train", name=N_("Train"), icon="train", group=1),
    Page(path="/taste", name=N_("Taste"), icon="taste", group=1),
    Page(path="/verify", name=N_("Verify"), icon="verify", group=1),
    Page(path="/ledger", name=N_("Ledger"), icon="ledger", group=1),
)

router = APIRouter(include_in_schema=False)


def chinese() -> Mapping[str, str]:
    """Returns the Chinese of every English text of the pages."""
    return texts("zh")


def language_of(request: Request) -> Language:
    """Returns the language of a request: ?lang=, else the cookie, else what the browser prefers, else English."""
    for said in (request.query_params.get("lang"), request.cookies.get("lang")):
        if said == "en":
            return "en"
        if said == "zh":
            return "zh"
    return _preferred(request.headers.get("accept-language", ""))


def _preferred(header: str) -> Language:
    best: tuple[float, Language] = (0.0, "en")
    for part in header.split(","):
        tag, _, q = part.strip().partition(";")
        number = re.fullmatch(r"\s*q=(\d(?:\.\d+)?)\s*", q) if q else None
        weight = float(number[1]) if number else (0.0 if q else 1.0)
        own = tag.strip().lower()[:2]
        if weight > best[0] and (own == "en" or own == "zh"):
            best = weight, "zh" if own == "zh" else "en"
    return best[1]


def theme_of(request: Request) -> str:
    """Returns "light", "dark" or "auto": as the browser prefers."""
    theme = request.cookies.get("theme", "auto")
    return theme if theme in THEMES else "auto"


def words(request: Request) -> Words:
    """Returns `_`: a text in the request's language, with {names} filled in: `_("{n} photos", n=3)`."""
    language = language_of(request)

    def _(text: str, **values: object) -> str:
        out = translate(text, language)
        return out.format(**{k: _shown(v) for k, v in values.items()}) if values else out

    return _


def several(request: Request) -> Words:
    """Returns `n_`: `n_("one photo", "{n} photos", n)`; Chinese needs the second alone."""
    language = language_of(request)

    def n_(one: str, many: str, n: int, **values: object) -> str:
        text = one if n == 1 and language == "en" else translate(many, language)
        return text.format(n=_shown(n), **{k: _shown(v) for k, v in values.items()})

    return n_


def told(request: Request) -> Callable[[str | None], str]:
    """Returns what shows a sentence that a task wrote, in the reader's language (`sentences`)."""
    return partial(tell, language=language_of(request))


def _shown(value: object) -> object:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value


@dataclass(frozen=True)
class _Asset:
    data: bytes
    small: bytes
    tag: str
    mime: str


@cache
def _asset(name: str) -> _Asset | None:
    path = STATIC / name
    if not path.resolve().is_relative_to(STATIC) or path.suffix not in MIME or not path.is_file():
        return None
    data = path.read_bytes()
    tag = hashlib.sha256(data).hexdigest()[:12]
    return _Asset(data, gzip.compress(data, mtime=0), tag, MIME[path.suffix])


def asset(name: str) -> str:
    """Returns the address of a static file, which changes with its content.

    Raises:
        FileNotFoundError: there is no such file: a template's mistake.
    """
    found = _asset(name)
    if found is None:
        raise FileNotFoundError(name)
    return f"/static/{name}?v={found.tag}"


def _seconds(value: float | None) -> tuple[str, int]:
    """Returns the unit and number by which a time is told to people."""
    seconds = max(0, round(value or 0))
    if seconds < 90:
        return "s", seconds
    if seconds < 90 * 60:
        return "min", round(seconds / 60)
    return "h", round(seconds / 3600)


def duration(request: Request) -> Callable[[float | None], str]:
    """Returns what shows seconds as "40 s", "12 min" or "3 h"."""
    _ = words(request)

    def tell(value: float | None) -> str:
        unit, number = _seconds(value)
        return {"s": _("{n} s", n=number), "min": _("{n} min", n=number), "h": _("{n} h", n=number)}[unit]

    return tell


def so_far(job: Job | None) -> float | None:
    """Returns the seconds that a job has been running, for where nothing else says that it moves; None: it is not."""
    if job is None or job.state != "running" or job.started is None:
        return None
    return max(0.0, (datetime.now(UTC) - job.started).total_seconds())


def size_text(count: int) -> str:
    """Returns bytes as "812 kB" or "3.4 MB"."""
    return f"{count / 1000:,.0f} kB" if count < 1_000_000 else f"{count / 1_000_000:,.1f} MB"


def _iso(value: datetime) -> str:
    return value.isoformat(timespec="seconds")


@cache
def environment() -> Environment:
    """Returns Jinja's environment: everything is escaped, and a name that a page forgot is an error."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.filters |= {"iso": _iso, "size": size_text}
    env.globals |= {"asset": asset, "pages": PAGES, "languages": LANGUAGES, "themes": THEMES, "so_far": so_far}
    return env


def render(
    request: Request, template: str, status_code: int = 200, headers: Mapping[str, str] | None = None, **context: Any
) -> HTMLResponse:
    """Returns a page or a fragment.

    Args:
        request: whose language, theme and address it has.
        template: of templates/.
        status_code: of the answer.
        headers: further ones of the answer.
        context: names for the template. It also has `_`, `n_`, `told`, `duration`, `asset`, `lang`, `theme`, `path`,
            `query`, `user` and the filters `iso` and `size`.
    """
    language = language_of(request)
    html = (
        environment()
        .get_template(template)
        .render(
            {
                "_": words(request),
                "n_": several(request),
                "told": told(request),
                "duration": duration(request),
                "lang": language,
                "theme": theme_of(request),
                "path": request.url.path,
                "user": _user(request),
                "query": dict(request.query_params),
                **context,
            }
        )
    )
    response = HTMLResponse(html, status_code, {"Cache-Control": "no-store", "Vary": "Cookie, Accept-Language"})
    response.headers.update(headers or {})
    if request.query_params.get("lang") == language:
        response.set_cookie("lang", language, max_age=YEAR, samesite="lax")
    return response


def _user(request: Request) -> str | None:
    """Returns the name of the key that a browser logged in with; None: it needed none, or has none."""
    caller = caller_if_any(request)
    return None if caller is None or caller.key is None else caller.name


def problem_page(request: Request, problem: Problem) -> Response:
    """Returns how a page tells an error; a stranger who asks for a page is led to the login."""
    if problem.status_code == 401 and request.method == "GET" and "x-fragment" not in request.headers:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?{urlencode({'next': target})}", 303)
    fragment = "x-fragment" in request.headers or "hx-request" in request.headers
    template = "problem_part.html" if fragment else "problem.html"
    return render(request, template, problem.status_code, status=problem.status_code, detail=problem.detail)


@router.get("/theme/{theme}")
async def set_theme(theme: str, back: str = "/") -> Response:
    """Sets the theme where scripts are off; with them it is set at once."""
    safe = back if re.match(r"/(?![/\\])", back) else "/"
    response = RedirectResponse(safe, 303)
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=YEAR, samesite="lax")
    return response


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    """The icon, where a browser does not read the page's own link."""
    return _static("favicon.svg", request)


@router.get("/static/{name:path}")
async def static(name: str, request: Request) -> Response:
    """A static file; kept for good where its address names its content (`asset`)."""
    return _static(name, request)


def _static(name: str, request: Request) -> Response:
    found = _asset(name)
    if found is None:
        return Response("There is no such file.", 404, media_type="text/plain")
    fixed = request.query_params.get("v") == found.tag
    headers = {
        "ETag": f'"{found.tag}"',
        "Vary": "Accept-Encoding",
        "Cache-Control": f"public, max-age={YEAR}, immutable" if fixed else "public, max-age=300",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    data = found.data
    if "gzip" in request.headers.get("accept-encoding", "") and len(found.small) < len(data):
        data, headers["Content-Encoding"] = found.small, "gzip"
    return Response(data, headers=headers, media_type=found.mime)
