"""The API's description (OpenAPI): what FastAPI finds, and what it cannot see: bodies in several forms, errors, keys.

Each operation names every status that it can answer; there is no "default", so that a test can hold the answers
against the description.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from packshot.server import problems
from packshot.server.api import models

HAND_MADE: tuple[type[BaseModel], ...] = (
    models.EditBody,
    models.EditFormBody,
    models.EditAnswer,
    models.TaskBody,
    models.TaskFormBody,
    models.JobBody,
    models.JobFormBody,
    models.CreateBody,
    models.PictureInput,
)
"""Models of bodies that a route reads by itself, because it takes several forms of them."""
OPEN = ("/health", "/ready", "/v1/verify")
EVERYWHERE = (421, 429, 500, 503)
"""Another name than the machine's own, a key that was used too often, a fault, a database that is away."""
OF_BODIES = (400, 408, 413, 415)
NO_PROBLEM = {"/ready": (503,)}
"""Statuses that are told in an answer of their own."""
RETRY = {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}}
OF_PROBLEM: dict[int, dict[str, Any]] = {
    401: {
        "WWW-Authenticate": {"required": True, "schema": {"type": "string"}, "description": "How to say who asks."},
    },
    429: RETRY,
    503: RETRY,
}
"""Headers of problems."""
REQUEST_ID = {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}


def describe(app: FastAPI) -> dict[str, Any]:
    """Returns the API's description; it is made once."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    out = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, openapi_version="3.1.0"
    )
    components = out.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _, made = models_json_schema(
        [(model, "validation") for model in HAND_MADE], ref_template="#/components/schemas/{model}"
    )
    for name, schema in made["$defs"].items():
        schemas.setdefault(name, schema)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = problems.problem_schema()
    components["headers"] = {
        "X-Request-ID": {
            "required": True,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
            "description": "The request's id, which the studio's log has, too.",
        }
    }
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    told: set[int] = set()
    for path, methods in out["paths"].items():
        for method, operation in methods.items():
            told |= _complete(path, method, operation)
    components["responses"] = {f"Problem{status}": _problem(status) for status in sorted(told)}
    app.openapi_schema = out
    return out


def _complete(path: str, method: str, operation: dict[str, Any]) -> set[int]:
    """Adds to an operation who may ask and each problem that it may answer; returns the statuses of these."""
    answers = operation["responses"]
    answers.pop("422", None)
    own = {int(status) for status, answer in answers.items() if int(status) >= 400 and not answer.get("content")}
    for answer in answers.values():
        answer["headers"] = REQUEST_ID | answer.get("headers", {})
    statuses = own.union(EVERYWHERE) - set(NO_PROBLEM.get(path, ()))
    if path not in OPEN:
        operation["security"] = [{"key": []}]
        statuses |= {401, 403}
    if method in ("post", "delete"):
        statuses |= {403, 507}  # Sent by a page of another site; a full disk.
    if "requestBody" in operation:
        statuses.update(OF_BODIES)
    if path.startswith("/v1/"):
        statuses.add(422)
    if "{" in path:
        statuses.add(404)
    for status in statuses:
        answers[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    operation["responses"] = dict(sorted(answers.items()))
    return statuses


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": f"{HTTPStatus(status).phrase}: one sentence says what is wrong, and `code` which kind it is of.",
        "headers": REQUEST_ID | OF_PROBLEM.get(status, {}),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
