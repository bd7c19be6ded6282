"""The studio's server: `create_app(settings)` puts gate, API and pages together. No picture is decoded in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI
from starlette.middleware import Middleware

import packshot
from packshot.jobs.delivery import Deliverer
from packshot.jobs.desk import Desk
from packshot.jobs.keys import Keys
from packshot.jobs.settings import StudioSettings
from packshot.jobs.studio import Studio
from packshot.server import problems
from packshot.server.api import ROUTERS
from packshot.server.described import describe
from packshot.server.gate import Gate
from packshot.server.metrics import Metrics
from packshot.server.pages import ROUTERS as PAGES
from packshot.server.signing import Signer

ABOUT = """Product pictures: one at once, or a catalogue in the background.

A request needs `Authorization: Bearer pk_...`, unless the studio listens on its own machine alone. Errors are
`application/problem+json` with a `code`.
"""


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
