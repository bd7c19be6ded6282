"""New pictures of trained generators, and which generators and catalogues there are."""

from __future__ import annotations

from fastapi import APIRouter, Request

from packshot.jobs.desk_models import SamplesRequest, make_samples
from packshot.jobs.folders import find_run, list_catalogs, list_runs
from packshot.server.api.bodies import content_kind, json_body
from packshot.server.api.found import CatalogAnswer, CatalogsAnswer, RunAnswer, RunsAnswer
from packshot.server.api.models import CreateAnswer, CreateBody, CreatedPicture
from packshot.server.callers import Creator, Reader
from packshot.server.fetch import desk_of, in_thread, keep_sample, studio_of
from packshot.server.problems import Problem

router = APIRouter(prefix="/v1", tags=["create"])


@router.post(
    "/create",
    summary="Make new pictures",
    responses={404: {}, 409: {}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CreateBody"}}},
        }
    },
)
async def create(request: Request, caller: Creator) -> CreateAnswer:
    """Makes pictures by a generator; the same seed gives the same pixels. They are kept as the tenant's pictures."""
    content_kind(request, "application/json")
    body = await json_body(request, CreateBody)
    studio = studio_of(request)
    run = await in_thread(find_run, studio.settings, caller.tenant, body.run)
    if not run.ready:
        raise Problem(409, f"{run.name} makes no pictures yet; its training has to go on first.", "not-trained")
    asked = SamplesRequest(
        run=run.path,
        n=body.n,
        seed=body.seed,
        labels=tuple(body.labels),
        attributes=body.attributes,
        text=body.text,
        truncation_psi=body.truncation,
    )
    made = await in_thread(desk_of(request).ask, make_samples, asked)
    pictures = []
    for sample in made.pictures:
        kept = await in_thread(keep_sample, studio, caller.tenant, sample)
        pictures.append(CreatedPicture(sha256=kept.sha256, name=kept.name, label=sample.label, href=_href(kept.sha256)))
    return CreateAnswer(
        pictures=pictures,
        seed=made.seed,
        source_type=made.source_type,
        notes=list(made.notes),
        refused_copies=made.refused_copies,
        copy_gate=made.copy_gate,
    )


def _href(sha256: str) -> str:
    return f"/v1/pictures/{sha256}"


@router.get("/runs", summary="Which generators there are")
async def runs(request: Request, caller: Reader) -> RunsAnswer:
    """Returns the tenant's runs, the newest first, and the generators that come with the package."""
    found = await in_thread(list_runs, studio_of(request).settings, caller.tenant)
    return RunsAnswer(runs=[RunAnswer.model_validate(run) for run in found])


@router.get("/catalogs", summary="Which catalogues there are")
async def catalogs(request: Request, caller: Reader) -> CatalogsAnswer:
    """Returns the tenant's catalogues, the newest first."""
    found = await in_thread(list_catalogs, studio_of(request).settings, caller.tenant)
    return CatalogsAnswer(catalogs=[CatalogAnswer.model_validate(shelf) for shelf in found])
