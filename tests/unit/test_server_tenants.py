"""No tenant sees another's things, on any route: each route of the application is tried, new ones included."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from packshot.core.files import write_json
from packshot.jobs.folders import tenant_folder
from packshot.server.gate import is_public
from tests.servers import BALANCE, TestClient, finish, jpeg, key_for, make_app, put, running, submit

OURS, THEIRS = "hats", "shoes"
SECRET_NAME = "secret-shoe"
SECRET_TITLE = "Secret autumn"
SECRET_RUN = "secret-run"
METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH")


class Theirs(NamedTuple):
    """What the other tenant has."""

    picture: str
    result: str
    job: str


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return make_app(tmp_path_factory.mktemp("studio"), keys="on")


@pytest.fixture(scope="module")
def theirs(app: FastAPI) -> Theirs:
    picture = put(app, THEIRS, jpeg(1), f"{SECRET_NAME}.jpg")
    job = submit(app, THEIRS, picture, picture, title=SECRET_TITLE)
    finish(app, THEIRS, job, ["done", "review"])
    result = app.state.studio.item(THEIRS, job, 0).result
    for folder, file in (
        (app.state.settings.runs_folder, "run.json"),
        (app.state.settings.catalogs_folder, "catalog.json"),
    ):
        write_json(tenant_folder(folder, THEIRS) / SECRET_RUN / file, {})
    write_json(tenant_folder(app.state.settings.events_folder, THEIRS) / SECRET_RUN / "store.json", {})
    return Theirs(picture, result, job)


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with running(app, follow_redirects=False) as client:
        yield client


def flat(routes: Any) -> Iterator[APIRoute]:
    """Yields all routes, also those of routers that are included as they are."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "routes"):
            yield from flat(route.routes)
        elif hasattr(route, "original_router"):
            yield from flat(route.original_router.routes)


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    return sorted({(m, r.path) for r in flat(app.routes) for m in r.methods & set(METHODS)})


def values_for(theirs: Theirs) -> dict[str, list[str]]:
    """What each name in a route's address is filled with: things of the other tenant, or what is nobody's."""
    return {
        "sha256": [theirs.picture, theirs.result],
        "id": [theirs.job, theirs.picture, SECRET_RUN],
        "number": ["0", "1"],
        "task": ["enhance"],
        "name": [SECRET_RUN],
        "run": [SECRET_RUN],
        "file": ["sheet.png"],
        "style": ["ink"],
        "catalog": [SECRET_RUN],
        "store": [SECRET_RUN],
        "token": ["token"],
        "theme": ["dark"],
    }


def names_in(path: str) -> list[str]:
    return re.findall(r"{(\w+)(?::\w+)?}", path)


def addresses(path: str, theirs: Theirs) -> Iterator[str]:
    values = values_for(theirs)
    for i in range(3):
        filled = path
        for name in names_in(path):
            choices = values[name]
            filled = re.sub(rf"{{{name}(:\w+)?}}", choices[i % len(choices)], filled)
        yield filled


def test_every_name_in_an_address_is_tried(app: FastAPI, theirs: Theirs) -> None:
    """A new route with a name of a new kind has to say here what the other tenant's would be."""
    found = {name for _, path in routes_of(app) for name in names_in(path)}
    unknown = found - values_for(theirs).keys()
    assert not unknown, f"say in values_for what the other tenant's {sorted(unknown)} are"
    assert len(routes_of(app)) > 25


def bodies(path: str, theirs: Theirs) -> list[dict[str, Any]]:
    """Ways to name the other tenant's things in a body."""
    everything = {
        **dict.fromkeys(("pictures", "picture", "sha256", "photo", "like"), theirs.picture),
        **dict.fromkeys(("job", "id"), theirs.job),
        **dict.fromkeys(("run", "catalog", "store", "name"), SECRET_RUN),
    }
    if not path.startswith("/v1/"):
        return [{"json": everything}, {"data": everything}, {"data": everything, "files": {"other": jpeg(9)}}]
    named = {"task": "repair", "mask": f"picture:{theirs.picture}", "method": "patch"}
    job = {"operations": [BALANCE], "pictures": [theirs.picture]}
    return [
        {"json": {"input": {"picture": theirs.picture}, "operations": [BALANCE]}},
        {"json": {"input": {"picture": theirs.picture}, "settings": {"white_balance": 1.0}}},
        {"json": job},
        {"json": {**job, "inputs": [{"picture": theirs.picture}], "pictures": []}},
        {"json": {"picture": theirs.picture}},
        {"json": {"decision": "approved"}},
        {"json": {"run": SECRET_RUN}},
        {"files": {"file": jpeg(9)}, "data": {"request": json.dumps({"operations": [named]})}},
    ]


def check_nothing_of_theirs(answer: Any, theirs: Theirs, asked: str) -> None:
    """Fails if an answer holds what only the other tenant knows. What was asked with may be repeated in an error."""
    about = f"{answer.request.method} {answer.request.url}: {answer.status_code}"
    assert answer.status_code < 500, f"{about} {answer.text[:300]}"
    pictures = [jpeg(1), jpeg(100), jpeg(101)]
    assert answer.content not in pictures, about
    text = answer.text
    for secret in (SECRET_NAME, SECRET_TITLE):
        assert secret not in text, f"{about} {text[:300]}"
    if answer.is_success:
        for secret in (theirs.picture, theirs.result, theirs.job):
            assert secret not in text or secret in asked, f"{about} {text[:300]}"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Forms that nobody reads in the end.
def test_no_route_gives_or_changes_what_is_another_tenants(app: FastAPI, client: TestClient, theirs: Theirs) -> None:
    ours = key_for(app, OURS, "admin", rate=100_000)
    before = state_of(app, theirs)
    for method, path in routes_of(app):
        for address in dict.fromkeys(addresses(path, theirs)):
            for body in bodies(path, theirs) if method != "GET" else [{}]:
                answer = client.request(method, address, headers={**ours, "Accept": "*/*"}, **body)
                asked = f"{address} {body}"
                check_nothing_of_theirs(answer, theirs, asked)
                if any(name in ("id", "sha256", "number") for name in names_in(path)) and not is_public(path):
                    assert not answer.is_success, f"{method} {address} {answer.status_code}"
    assert state_of(app, theirs) == before


def test_lists_hold_ones_own_alone(app: FastAPI, client: TestClient, theirs: Theirs) -> None:
    own = key_for(app, THEIRS, "admin")
    other = key_for(app, OURS, "admin")
    for path, name in (("/v1/pictures", "pictures"), ("/v1/jobs", "jobs")):
        assert client.get(path, headers=own).json()[name]
        mine = client.get(path, headers=other).json()[name]
        assert not {theirs.picture, theirs.job} & {row.get("sha256", row.get("id")) for row in mine}
    for path in ("/v1/runs", "/v1/catalogs"):
        assert SECRET_RUN in client.get(path, headers=own).text
        assert SECRET_RUN not in client.get(path, headers=other).text


def test_the_same_picture_of_two_tenants_is_each_ones_own(app: FastAPI, client: TestClient) -> None:
    data = jpeg(77)
    sha256 = put(app, OURS, data, "our-name.jpg")
    put(app, THEIRS, data, "their-name.jpg")
    own, other = key_for(app, OURS), key_for(app, THEIRS)
    assert client.get(f"/v1/pictures/{sha256}/info", headers=own).json()["name"] == "our-name.jpg"
    assert client.delete(f"/v1/pictures/{sha256}", headers=own).status_code == 204
    assert client.get(f"/v1/pictures/{sha256}", headers=own).status_code == 404
    assert client.get(f"/v1/pictures/{sha256}", headers=other).content == data


def test_the_same_idempotency_key_of_two_tenants_is_two_jobs(app: FastAPI, client: TestClient) -> None:
    jobs = []
    for tenant in (OURS, THEIRS):
        body = {"operations": [BALANCE], "pictures": [put(app, tenant, jpeg(78))]}
        headers = {**key_for(app, tenant), "Idempotency-Key": "k"}
        jobs.append(client.post("/v1/jobs", json=body, headers=headers).json()["id"])
    assert jobs[0] != jobs[1]


def test_without_a_key_no_route_gives_anything(app: FastAPI, client: TestClient, theirs: Theirs) -> None:
    client.cookies.clear()
    for method, path in routes_of(app):
        if is_public(path):
            continue
        for address in dict.fromkeys(addresses(path, theirs)):
            answer = client.request(method, address)
            assert answer.status_code == 401, f"{method} {address} {answer.status_code}"
            page = client.request(method, address, headers={"Accept": "text/html"})
            assert page.status_code in (303, 401)


def test_what_is_open_gives_nothing_of_anybody(app: FastAPI, client: TestClient, theirs: Theirs) -> None:
    for method, path in routes_of(app):
        if is_public(path):
            for address in dict.fromkeys(addresses(path, theirs)):
                check_nothing_of_theirs(client.request(method, address), theirs, address)


def test_a_narrow_key_opens_no_route_of_another_scope(app: FastAPI, client: TestClient, theirs: Theirs) -> None:
    """A key without any scope that a route needs is refused everywhere: no route forgets to ask."""
    made = app.state.keys.add("narrow", tenant=THEIRS, scopes=("taste",), rate=100_000)
    headers = {"Authorization": f"Bearer {made.secret}"}
    for method, path in routes_of(app):
        if is_public(path) or not path.startswith("/v1/"):
            continue
        for address in dict.fromkeys(addresses(path, theirs)):
            answer = client.request(method, address, headers=headers)
            assert answer.status_code in (403, 415), f"{method} {address} {answer.status_code}"


def state_of(app: FastAPI, theirs: Theirs) -> tuple[Any, ...]:
    studio = app.state.studio
    return (
        studio.job(THEIRS, theirs.job),
        studio.items(THEIRS, theirs.job),
        studio.picture(THEIRS, theirs.picture),
        [p.sha256 for p in studio.pictures(THEIRS)],
        [j.id for j in studio.jobs(THEIRS)],
    )
