"""Statements that are sent for each picture, or several times a second, put together once.

To put one together takes SQLAlchemy longer than the database takes to carry it out.
"""

from __future__ import annotations

import sqlalchemy as sa

from packshot.jobs.database import items, jobs
from packshot.jobs.records import ITEM_STATES
from packshot.jobs.rows import OUTCOME_COLUMNS

TOLD_AT_ONCE = 20

HOLD = sa.select(jobs.c.id).where(jobs.c.id == sa.bindparam("of")).with_for_update()
COUNT = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("of"))
    .values({s: jobs.c[s] + sa.bindparam(f"more_{s}", type_=sa.Integer) for s in ITEM_STATES})
)
OUTCOME = (
    sa.update(items)
    .where(items.c.job == sa.bindparam("of"), items.c.number == sa.bindparam("at"), items.c.state == "waiting")
    .values({name: sa.bindparam(f"new_{name}", type_=items.c[name].type) for name in OUTCOME_COLUMNS})
)
UNQUEUED = (
    sa.select(jobs.c.id, jobs.c.run, jobs.c.kind, jobs.c.priority)
    .where(jobs.c.state == "queued", jobs.c.queued_run < jobs.c.run)
    .order_by(jobs.c.priority, jobs.c.created)
    .limit(TOLD_AT_ONCE)
)
