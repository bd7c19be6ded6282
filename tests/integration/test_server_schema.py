"""schemathesis sends what the API's description allows, and what it does not: no answer is a fault of the server."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.servers import make_app

schemathesis: Any = pytest.importorskip("schemathesis")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

EXAMPLES = 25


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    app = make_app(tmp_path_factory.mktemp("studio"), public_url="http://testserver", keys="auto")
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def check(case: Any, seen: dict[str, set[int]]) -> None:
    """Sends a case, and fails at a 5xx or an error that is no problem+json."""
    answer = case.call(headers={"Host": "testserver"})
    about = f"{case.method} {case.formatted_path} {answer.status_code} {answer.text[:500]}"
    seen.setdefault(f"{case.method} {case.path}", set()).add(answer.status_code)
    assert answer.status_code < 500 or (case.path == "/ready" and answer.status_code == 503), about
    if answer.status_code >= 400 and case.path != "/ready":
        assert answer.headers["content-type"][0] == "application/problem+json", about
        assert answer.json()["code"], about


def test_no_answer_is_a_fault(schema: Any, tmp_path: Path) -> None:
    seen: dict[str, set[int]] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/v1/jobs/{id}/events":
            continue  # A stream, which does not end by itself; tests/unit/test_server_api.py reads it.
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            try:
                cases = operation.as_strategy(generation_mode=mode)
                _run(cases, seen)
            except Exception as e:
                if "NegativeDataRejection" not in type(e).__name__ and "Unsatisfiable" not in type(e).__name__:
                    raise
    assert len(seen) > 20
    assert any(200 <= s < 300 for s in seen["GET /v1/jobs"])
    assert 422 in seen["POST /v1/jobs"] | seen["GET /v1/jobs"]


def _run(cases: st.SearchStrategy[Any], seen: dict[str, set[int]]) -> None:
    @given(cases)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case: Any) -> None:
        check(case, seen)

    send()
