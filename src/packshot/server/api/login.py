"""Browsers log in with a key, and get a cookie that says which key it was: signed, and not for scripts."""

from __future__ import annotations

import html
import re

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from packshot.server.api.bodies import form_of
from packshot.server.callers import COOKIE, COOKIE_SECONDS, LOGIN, caller_if_any
from packshot.server.fetch import in_thread
from packshot.server.pages.frame import TEMPLATES, render

router = APIRouter(include_in_schema=False)
OWN = re.compile(r"/(?![/\\])[\x21-\x7e]*")
"""An address of this site, to go back to; "//elsewhere" is another's."""
WRONG = "This key is not good; look whether all of it was copied."


@router.get("/login")
async def show(request: Request, next: str = "/") -> Response:
    """Asks for a key; whoever has one already goes on."""
    if caller_if_any(request) is not None:
        return RedirectResponse(_safe(next), 303)
    return _page(request, _safe(next), None)


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Takes a key, and gives the cookie."""
    async with form_of(request) as form:
        text, next = str(form.get("key", "")).strip(), _safe(str(form.get("next", "/")))
    key = await in_thread(request.app.state.keys.check, text)
    if key is None:
        return _page(request, next, WRONG, 401)
    answer = RedirectResponse(next, 303)
    answer.set_cookie(
        COOKIE,
        request.app.state.signer.sign(LOGIN, key.id, COOKIE_SECONDS),
        max_age=COOKIE_SECONDS,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https" or request.app.state.settings.public_url.startswith("https:"),
    )
    return answer


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """Takes the cookie away."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return answer


def _safe(next: str) -> str:
    return next if OWN.fullmatch(next) else "/"


def _page(request: Request, next: str, error: str | None, status: int = 200) -> Response:
    if (TEMPLATES / "login.html").is_file():
        return render(request, "login.html", status, next=next, error=error)
    said = f"<p role=alert>{html.escape(error)}</p>" if error else ""
    page = (
        f"<!doctype html><html lang=en><title>Log in</title><h1>Log in</h1>{said}<form method=post action=/login>"
        f'<input type=hidden name=next value="{html.escape(next)}"><label>Key <input name=key type=password '
        "autocomplete=current-password required></label> <button>Log in</button></form></html>"
    )
    return HTMLResponse(page, status)
