"""schemathesis sends what the API's description allows, and what it does not, and holds each answer against it.

Half of the cases that are right are asked of what there is (a picture, a job with its results), so that the answers
that matter are seen as well as the refusals.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from packshot.jobs.records import SHOP
from tests.servers import BALANCE, finish, jpeg, key_for, make_app, put, running, submit

schemathesis: Any = pytest.importorskip("schemathesis")
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi import checks  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RIGHT, WRONG = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
EXAMPLES = 20
"""Of each operation, right ones and wrong ones each."""
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "openapi.json").read_text(encoding="utf-8"))
"""What the studio says of itself; tests/golden/test_openapi.py holds the two together."""
OPERATIONS = [(path, method) for path, methods in GOLDEN["paths"].items() for method in methods]
ALWAYS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.ignored_auth,
]
"""Left out are those that come with the command line's phases alone: missing_required_header (no header is required
but the key's: ignored_auth), unsupported_method and allow_header_conformance (test_a_method_that_is_not_described),
use_after_free, ensure_resource_availability and object_level_authorization (several requests in a row:
tests/unit/test_server_api.py and test_server_tenants.py)."""
WRONG_ALONE = [checks.negative_data_rejection]
WITHOUT_BODY = [checks.positive_data_acceptance]
"""Left out for bodies: one of the right form may well name a task, a picture or an address that there is not."""
REFUSED = ["400", "401", "403", "404", "409", "413", "415", "422"]
THERE = {
    "POST /v1/edit": {"operations": [BALANCE]},
    "POST /v1/tasks/{task}": {"settings": {"white_balance": 1.0}},
    "POST /v1/jobs": {"operations": [BALANCE], "inputs": [], "feed": None, "webhook": None},
    "POST /v1/create": {"run": "fashion-32", "n": 1, "labels": [], "attributes": {}, "text": None},
    "POST /v1/pictures": {},
}
"""What a body has to say so that it can be done."""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A studio with a picture and ended jobs; `headers` hold a key that may do everything."""
    app = make_app(tmp_path_factory.mktemp("studio"), keys="on")
    sha256 = put(app, SHOP, jpeg(1))
    id = submit(app, SHOP, sha256, put(app, SHOP, jpeg(2)))
    finish(app, SHOP, id, ["done", "review"])
    failed = submit(app, SHOP, sha256)
    finish(app, SHOP, failed, ["failed"])
    about = {"failed": failed, "headers": key_for(app, SHOP)}
    return {**about, "app": app, "sha256": sha256, "id": id, "number": 1, "task": "enhance"}


@pytest.fixture(scope="module")
def schema(there: dict[str, Any]) -> Any:
    config = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}})
    return schemathesis.openapi.from_asgi("/openapi.json", there["app"], config=config)


def lead(case: Any, there: dict[str, Any]) -> None:
    """Has a case of the right form ask for what there is."""
    for name in list(case.path_parameters or {}):
        case.path_parameters[name] = there[name]
    if case.method == "DELETE":
        case.path_parameters["sha256"] = put(there["app"], SHOP, jpeg(50))
    elif case.path.endswith("/retry"):
        case.path_parameters["id"] = there["failed"]
    wanted = THERE.get(f"{case.method} {case.path}")
    if wanted is None or not isinstance(case.body, dict):
        return
    if case.media_type == "multipart/form-data":
        case.body = {"file": [jpeg(3)] if isinstance(case.body.get("file"), list) else jpeg(3)}
        if wanted:
            case.body["request"] = {k: v for k, v in wanted.items() if k in ("operations", "settings")}
        return
    case.body = {**case.body, **wanted}
    picture = {"picture": there["sha256"]}
    if case.path == "/v1/jobs":
        case.body["pictures"] = [there["sha256"]]
    elif case.path == "/v1/pictures":
        case.body = picture
    elif "input" in case.body:
        case.body["input"] = picture


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=[f"{m.upper()} {p}" for p, m in OPERATIONS])
def test_every_answer_is_as_it_is_described(schema: Any, there: dict[str, Any], path: str, method: str) -> None:
    operation, seen = schema[path][method], set()
    alone = [] if "requestBody" in GOLDEN["paths"][path][method] else WITHOUT_BODY

    def send(case: Any, led: bool, more: list[Any]) -> None:
        if led:
            lead(case, there)
        seen.add(case.call_and_validate(headers=there["headers"], checks=[*ALWAYS, *more]).status_code)

    right, wrong = (operation.as_strategy(generation_mode=mode) for mode in (RIGHT, WRONG))
    run(send, right, st.booleans(), st.just(alone))
    try:
        run(send, wrong, st.just(False), st.just(WRONG_ALONE))
    except Exception as e:
        if "Unsatisfiable" not in type(e).__name__:  # Nothing can be wrong with a request that has no part.
            raise
    assert any(status < 300 for status in seen), seen


def run(send: Any, *strategies: Any) -> None:
    """Has hypothesis send cases."""
    settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(given(*strategies)(send))()


def test_a_method_that_is_not_described(there: dict[str, Any]) -> None:
    with running(there["app"]) as client:
        for path, methods in GOLDEN["paths"].items():
            address = path.format(**{**there, "task": "enhance"})
            for method in {"get", "put", "patch", "post", "delete", "trace"} - methods.keys():
                answer = client.request(method.upper(), address, headers=there["headers"])
                assert answer.status_code == 405, (method, path)
                assert answer.headers["content-type"] == "application/problem+json"
                allowed = {one.strip().lower() for one in answer.headers["allow"].split(",")}
                assert allowed and allowed <= methods.keys() | {"head"}, (path, allowed)
