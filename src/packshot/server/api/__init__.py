"""The routes of the API."""

from fastapi import APIRouter

from packshot.server.api import create, edit, jobs, login, pictures, results, system, verify

ROUTERS: list[APIRouter] = [
    edit.router,
    pictures.router,
    results.router,
    jobs.router,
    create.router,
    verify.router,
    system.router,
    login.router,
]
"""In order."""
