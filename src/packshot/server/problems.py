"""Errors as application/problem+json (RFC 9457), each with a `code` that programs can tell apart."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from packshot.core.errors import DiskFull, PackshotError, UsageError
from packshot.core.workers import WorkerFault
from packshot.jobs.database import DatabaseLost
from packshot.jobs.desk import DeskBusy, DeskLost, DeskTimeout
from packshot.jobs.records import NotFound
from packshot.server.logs import log
from packshot.tasks.options import as_settings

CODES = {
    400: "bad-request",
    401: "key-needed",
    403: "not-allowed",
    404: "not-found",
    405: "method-not-allowed",
    408: "too-slow",
    409: "conflict",
    413: "too-large",
    415: "wrong-content-type",
    421: "wrong-host",
    422: "invalid",
    429: "too-many-requests",
    500: "fault",
    503: "unavailable",
    507: "disk-full",
}
COME_AGAIN = 5
"""Seconds after which somebody who met a busy studio should come again."""
SHOWN = 20
"""Mistakes of one request that are told."""


class Problem(HTTPException):
    """An error that ends a request.

    Args:
        status: of HTTP.
        detail: one sentence that says what to do.
        code: for programs; None: the usual one of the status.
        headers: of the answer.
        extra: further members of the JSON.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        code: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.code = code or CODES.get(status, "error")
        self.extra = dict(extra or {})


def problem_of(error: Exception) -> Problem:
    """Returns what an exception is to a client. One that nobody foresaw is a fault, without a word on its inside."""
    match error:
        case Problem():
            return error
        case HTTPException():
            return Problem(error.status_code, _usual(error), headers=error.headers)
        case RequestValidationError():
            mistakes = [_mistake(e) for e in error.errors()[:SHOWN]]
            first = mistakes[0] if mistakes else {"where": "body", "what": "is not valid"}
            return Problem(422, f"{first['where']}: {first['what']}.", extra={"mistakes": mistakes})
        case NotFound():
            return Problem(404, str(error) or "There is no such thing.")
        case DeskBusy():
            return Problem(503, str(error), "busy", headers={"Retry-After": str(COME_AGAIN)})
        case DeskTimeout():
            return Problem(422, str(error), "too-slow")
        case DeskLost():
            return Problem(422, str(error), "worker-lost")
        case DiskFull():
            return Problem(507, "The studio's disk is full; nothing was lost, and nothing new can be taken.")
        case WorkerFault():
            return Problem(500, "This is a fault in Packshot; the studio's log tells more under this request's id.")
        case DatabaseLost():
            wait = {"Retry-After": str(COME_AGAIN)}
            return Problem(503, "The studio's database cannot be reached; come again.", "database", headers=wait)
        case UsageError():
            return Problem(422, as_settings(str(error)), "invalid-settings")
        case PackshotError():
            return Problem(422, as_settings(str(error)), "cannot-be-done")
        case OSError() if error.errno == 28:
            return Problem(507, "The studio's disk is full; nothing was lost, and nothing new can be taken.")
    return Problem(500, "This is a fault in Packshot; the studio's log tells more under this request's id.")


def problem_json(problem: Problem, request_id: str | None) -> Response:
    """Returns a problem as the answer of the API."""
    status = problem.status_code
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": problem.code,
        "detail": problem.detail,
        **problem.extra,
    }
    if request_id:
        body["request"] = request_id
    return JSONResponse(body, status, dict(problem.headers or {}), media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Makes every error of the app a problem: JSON of the API, a page where a browser asked for one."""

    async def handle(request: Request, error: Exception) -> Response:
        return answer(request, error)

    for kind in (HTTPException, RequestValidationError, PackshotError, OSError):
        app.add_exception_handler(kind, handle)


def answer(request: Request, error: Exception) -> Response:
    """Returns the answer to a request that ended with an error, and logs what is nobody's fault but ours."""
    problem = problem_of(error)
    if problem.code == "busy":
        log.warning("busy", path=request.url.path)
    elif problem.status_code >= 500:
        log.error("failed", status=problem.status_code, code=problem.code, exc_info=error)
    wants_page = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")
    if wants_page and problem.status_code == 401 and request.method == "GET":
        return RedirectResponse(f"/login?next={quote(_address(request))}", 303)
    if wants_page and (page := _page(request, problem)) is not None:
        return page
    return problem_json(problem, request.scope.get("state", {}).get("request_id"))


def _address(request: Request) -> str:
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def _page(request: Request, problem: Problem) -> Response | None:
    """Returns the pages' own way to show a problem, where they have one."""
    try:
        show = getattr(importlib.import_module("packshot.server.pages.frame"), "problem_page", None)
    except ModuleNotFoundError:
        return None
    if show is None:
        return None
    shown: Response = show(request, problem)
    for name, value in (problem.headers or {}).items():
        shown.headers[name] = value
    return shown


def _usual(error: HTTPException) -> str:
    sentences = {
        404: "There is nothing at this address.",
        405: "This address does not take that method.",
    }
    usual = error.detail in (HTTPStatus(error.status_code).phrase, None, "")
    return sentences.get(error.status_code, str(error.detail)) if usual else str(error.detail)


def _mistake(error: Mapping[str, Any]) -> dict[str, str]:
    where = ".".join(str(part) for part in error.get("loc", ()))
    return {"where": where or "body", "what": str(error.get("msg", "is not valid"))}


def problem_schema() -> dict[str, Any]:
    """Returns the JSON Schema of a problem, for the API's description."""
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "code": {**text, "description": "Tells errors apart for programs, for example too-large or not-found."},
            "detail": {**text, "description": "One sentence that says what to do."},
            "request": {**text, "description": "The request's id, which the studio's log has, too."},
            "mistakes": {
                "type": "array",
                "items": {"type": "object", "properties": {"where": text, "what": text}},
            },
        },
    }


def dumps(value: Any) -> str:
    """Returns JSON for a line of a stream."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
