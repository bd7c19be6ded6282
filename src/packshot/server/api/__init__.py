"""The routes of the API."""

from fastapi import APIRouter, Depends

from packshot.server.api import create, edit, jobs, login, pictures, results, system, verify
from packshot.server.api.bodies import check_query

_v1 = APIRouter(dependencies=[Depends(check_query)])
for _part in (edit, pictures, results, jobs, create, verify):
    _v1.include_router(_part.router)
ROUTERS: list[APIRouter] = [_v1, system.router, login.router]
"""In order."""
