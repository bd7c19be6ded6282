"""Which pictures of jobs still wait for a person: those in review that nobody has decided on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from packshot.jobs.database import items, jobs, reading

if TYPE_CHECKING:
    from packshot.jobs.studio import Studio


def undecided(studio: Studio, tenant: str, ids: Sequence[str]) -> dict[str, int]:
    """Returns how many pictures of some jobs wait for a decision; a job without any is left out.

    Args:
        studio: whose jobs.
        tenant: whose they are; another's are left out.
        ids: of the jobs.
    """
    count = sa.func.count().label("count")
    found = (
        sa.select(items.c.job, count)
        .join(jobs, jobs.c.id == items.c.job)
        .where(jobs.c.tenant == tenant, items.c.job.in_(list(ids)))
        .where(items.c.state == "review", items.c.decision.is_(None))
        .group_by(items.c.job)
    )
    with reading(studio.engine) as connection:
        return {str(row.job): int(row[1]) for row in connection.execute(found)}


def may_leave(studio: Studio, tenant: str, id: str) -> bool:
    """Returns whether a job has any result that may leave: one that is done, or was approved.

    Raises:
        NotFound: the tenant has no such job.
    """
    return next(iter(studio.results(tenant, id)), None) is not None
