"""Who asks: the tenant, and what he may do. The gate finds it out once for each request; routes say what they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from packshot.jobs.keys import SCOPES, Key
from packshot.jobs.records import SHOP
from packshot.server.problems import Problem

COOKIE = "packshot_key"
"""Of a browser that logged in."""
COOKIE_SECONDS = 12 * 3600
LOGIN = "login"
"""The purpose of the cookie's token."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody who may ask.

    Attributes:
        tenant: whose pictures and jobs are meant.
        scopes: what may be done.
        name: of the key, or "this machine" where no key is needed.
        key: id of the key; None: none was needed.
    """

    tenant: str
    scopes: tuple[str, ...]
    name: str
    key: str | None = None

    def may(self, scope: str) -> bool:
        """Whether a scope is among his."""
        return scope in self.scopes or "admin" in self.scopes


ON_LOOPBACK = Caller(tenant=SHOP, scopes=tuple(SCOPES), name="this machine")
"""The caller of a studio that only its own machine reaches, and that needs no keys."""


def caller_of_key(key: Key) -> Caller:
    """Returns who holds a key."""
    return Caller(tenant=key.tenant, scopes=key.scopes, name=key.name, key=key.id)


def caller_if_any(request: Request) -> Caller | None:
    """Returns who asks; None: nobody who is known."""
    caller: Caller | None = request.scope.get("state", {}).get("caller")
    return caller


def caller_with(scope: str) -> Callable[[Request], Caller]:
    """Returns a dependency: the caller, who has to have a scope.

    Raises:
        Problem: 401, nobody who is known asks; 403, he may not.
    """
    if scope not in SCOPES:
        raise ValueError(f"there is no scope '{scope}'.")

    def find(request: Request) -> Caller:
        caller = caller_if_any(request)
        if caller is None:
            raise key_needed()
        if not caller.may(scope):
            raise Problem(403, f"This key may not do that: it needs the scope '{scope}'.", "scope-missing")
        return caller

    return find


def key_needed() -> Problem:
    """Returns what somebody hears who sent no good key."""
    return Problem(
        401,
        "Send a key that is good: Authorization: Bearer pk_... (`packshot keys add` makes one), or log in.",
        headers={"WWW-Authenticate": "Bearer"},
    )


Reader = Annotated[Caller, Depends(caller_with("read"))]
Editor = Annotated[Caller, Depends(caller_with("edit"))]
Creator = Annotated[Caller, Depends(caller_with("create"))]
Admin = Annotated[Caller, Depends(caller_with("admin"))]
