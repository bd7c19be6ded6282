"""The studio's pages: one router each; `server/app.py` includes all of `ROUTERS`."""

from fastapi import APIRouter

from packshot.server.pages import (
    create,
    create_directions,
    create_teach,
    frame,
    incoming,
    jobs,
    ledger,
    mend,
    repair,
    restyle,
    shoot,
    shopper,
    taste,
    train,
    train_runs,
    verify,
)

ROUTERS: list[APIRouter] = [
    frame.router,
    incoming.router,
    shoot.router,
    jobs.router,
    repair.router,
    mend.router,
    restyle.router,
    shopper.router,
    verify.router,
    create.router,
    create_directions.router,
    create_teach.router,
    train.router,
    train_runs.router,
    taste.router,
    ledger.router,
]
"""In order; a page of one's own is added here."""
