"""The studio's server: `create_app(settings)` puts gate, API and pages together. No picture is decoded in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.middleware import Middleware

import packshot
from packshot.jobs.delivery import Deliverer
from packshot.jobs.desk import Desk
from packshot.jobs.keys import Keys
from packshot.jobs.settings import StudioSettings
from packshot.jobs.studio import Studio
from packshot.server import problems
from packshot.server.api import ROUTERS, models
from packshot.server.gate import Gate
from packshot.server.metrics import Metrics
from packshot.server.pages import ROUTERS as PAGES
from packshot.server.signing import Signer

ABOUT = """Product pictures: one at once, or a catalogue in the background.

A request needs `Authorization: Bearer pk_...`, unless the studio listens on its own machine alone. Errors are
`application/problem+json` with a `code`.
"""
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


def create_app(settings: StudioSettings) -> FastAPI:
    """Returns the server of a studio, as an ASGI application.

    Its `state` holds: settings, studio, desk, keys, signer, metrics, and `stopping` (set when the server is to end).

    Raises:
        PackshotError: the database or the store cannot be used.
    """
    studio, desk, keys = Studio(settings), Desk(settings), Keys(settings)
    signer, metrics = Signer(settings.place), Metrics(desk)
    app = FastAPI(
        title="Packshot",
        version=packshot.__version__,
        description=ABOUT,
        docs_url=None,  # It would load its scripts from elsewhere.
        redoc_url=None,
        lifespan=_lifespan,
        middleware=[Middleware(Gate, settings=settings, keys=keys, signer=signer, metrics=metrics)],
        separate_input_output_schemas=False,
    )
    for name, part in {
        "settings": settings,
        "studio": studio,
        "desk": desk,
        "keys": keys,
        "signer": signer,
        "metrics": metrics,
        "stopping": anyio.Event(),
        "checked": OrderedDict(),
        "streams": 0,
    }.items():
        setattr(app.state, name, part)
    problems.install(app)
    for router in [*ROUTERS, *PAGES]:
        app.include_router(router)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    state.stopping = anyio.Event()  # Of this loop.
    try:
        with Deliverer(state.settings):
            yield
    finally:
        state.stopping.set()
        await anyio.to_thread.run_sync(state.desk.close)
        await anyio.to_thread.run_sync(state.studio.close)


def describe(app: FastAPI) -> dict[str, Any]:
    """Returns the API's description: what FastAPI finds, bodies that it cannot see, errors, and who may ask."""
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
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    problem = {
        "description": "What is wrong, in one sentence and a code.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for path, methods in out["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = problem
            if path not in OPEN:
                operation["security"] = [{"key": []}]
    app.openapi_schema = out
    return out
