"""Whether the studio lives, whether it is ready, and its figures."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from packshot.server.api.found import HealthAnswer, ReadyAnswer, Status
from packshot.server.callers import Admin, caller_if_any
from packshot.server.fetch import in_thread, studio_of

router = APIRouter(tags=["system"])


@router.get("/health", summary="Whether the server lives")
async def health() -> HealthAnswer:
    """Says ok as long as the server answers at all; it asks nobody."""
    return HealthAnswer()


@router.get(
    "/ready",
    summary="Whether work can be done",
    responses={503: {"model": ReadyAnswer, "description": "Something is missing; the sentence says what."}},
    response_model_exclude_unset=True,
)
async def ready(request: Request, response: Response) -> ReadyAnswer:
    """Says of database, store and worker whether they are there. Without a worker jobs wait."""
    found = await in_thread(studio_of(request).ready)
    if request.app.state.stopping.is_set():
        found["server"] = "The studio is being stopped."
    good = all(said == "ok" for part, said in found.items() if part != "worker")
    if not good:
        response.status_code = 503
    status: Status = "not ready" if not good else "ok" if found["worker"] == "ok" else "jobs wait"
    if caller_if_any(request) is None:
        # Sentences name hosts and folders; a stranger is told which part is missing, no more.
        found = {part: said if said == "ok" else "missing" for part, said in found.items()}
    return ReadyAnswer(status=status, **found)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request, caller: Admin) -> Response:
    """Returns all figures in Prometheus' own format."""
    text = await in_thread(request.app.state.metrics.text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
