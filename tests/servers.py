"""Servers of the studio for tests: in this process, with a desk that works at once, or as real processes."""

import io
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from packshot.jobs.book import Outcome
from packshot.jobs.desk import Desk
from packshot.jobs.records import Item, JobRequest
from packshot.jobs.settings import StudioSettings
from packshot.jobs.shelf import new_picture
from packshot.server.app import create_app
from packshot.server.logs import set_up
from tests.catalog_photos import encoded, photo

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # It would rather have a successor of httpx, which nothing else here needs.
    from starlette.testclient import TestClient

HERE = "http://127.0.0.1"
BALANCE = {"task": "enhance", "white_balance": 1.0}


class DeskHere(Desk):
    """A desk without processes: for tests of what is around it."""

    def ask(self, work: Callable[..., Any], *args: Any, seconds: float | None = None, quick: bool = False) -> Any:
        return work(*args)


def jpeg(seed: int = 0, width: int = 60, height: int = 80) -> bytes:
    return encoded(photo(seed, width, height), "JPEG")


def request_part(**values: Any) -> dict[str, str]:
    return {"request": json.dumps(values)}


def make_app(home: Path, **settings: Any) -> FastAPI:
    set_up(io.StringIO(), libraries=False)
    app = create_app(StudioSettings(home=home, **settings))
    app.state.desk = DeskHere(app.state.settings)
    return app


@contextmanager
def running(app: FastAPI, **options: Any) -> Iterator[TestClient]:
    """A client of an application, which lives as long as the block."""
    with TestClient(app, base_url=HERE, raise_server_exceptions=False, **options) as client:
        yield client


def key_for(app: FastAPI, tenant: str, *scopes: str, **options: Any) -> dict[str, str]:
    """Headers with a new key."""
    made = app.state.keys.add("test", tenant=tenant, scopes=scopes or ("admin",), **options)
    return {"Authorization": f"Bearer {made.secret}"}


def put(app: FastAPI, tenant: str, data: bytes, name: str = "shoe.jpg") -> str:
    """Puts a picture into the store; returns its checksum."""
    return app.state.studio.add_picture(tenant, data, name=name, mime="image/jpeg", width=60, height=80).sha256


def submit(app: FastAPI, tenant: str, *pictures: str, **options: Any) -> str:
    """Takes a job on; returns its id."""
    request = JobRequest(tenant=tenant, steps=(BALANCE,), pictures=pictures, **options)
    return app.state.studio.submit(request).id


def finish(app: FastAPI, tenant: str, id: str, states: list[str]) -> list[Item]:
    """Does what a worker does: notes an outcome of every picture of a job, and ends it."""
    studio, book = app.state.studio, app.state.studio.book
    run = next(row.run for row in book.unqueued() if row.id == id)
    book.begin(id, run)
    outcomes = []
    for number, state in enumerate(states):
        data = jpeg(100 + number)
        outcome = Outcome(number=number, state=state, tries=1, reason=None if state == "done" else "look at it")
        if state in ("done", "review"):
            picture = new_picture(
                tenant, studio.store.put(data), f"result-{number}.jpg", "image/jpeg", 60, 80, len(data)
            )
            outcome = replace(outcome, result=picture)
        outcomes.append(outcome)
    book.finish(id, outcomes)
    book.end(id, run, "done")
    return studio.items(tenant, id)
