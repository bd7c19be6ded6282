"""API keys: who may do what, how often, until when.

A key is `pk_ID_SECRET`. The secret is 256 bits from the system's source of chance, and only its SHA-256 is kept. A slow
hash, as passwords need it, would buy nothing here: nobody can try 2^256 secrets, and every request would pay for it.
Neither would a salt: no two keys are alike, and no table of such secrets can be made. The key is shown once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from packshot.core.errors import UsageError, lookup
from packshot.jobs.database import engine, keys, migrate, now, reading, writing
from packshot.jobs.records import NotFound
from packshot.jobs.settings import StudioSettings

SCOPES: dict[str, str] = {
    "read": "see own pictures, jobs and results",
    "edit": "send pictures, edit them, start and steer jobs",
    "create": "make pictures by a trained generator",
    "train": "train generators",
    "taste": "see and use shoppers' tastes",
    "admin": "everything, and the studio's own figures",
}
USUAL_RATE = 600
LARGEST_RATE = 1_000_000
TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
KEY = re.compile(r"pk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key, without its secret.

    Attributes:
        id: 12 hex digits.
        name: for people.
        tenant: whose pictures and jobs it opens.
        scopes: what may be done with it, of `SCOPES`; "admin" is all of them.
        rate: requests a minute, and as many at once; None: as many as one likes.
        created, expires, revoked: when; None: never.
    """

    id: str
    name: str
    tenant: str
    scopes: tuple[str, ...]
    rate: int | None
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    @property
    def opens(self) -> bool:
        """Whether it is good now."""
        return self.revoked is None and (self.expires is None or now() < self.expires)


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """A key that was just made.

    Attributes:
        key: it.
        secret: the whole key as it is sent with requests; it is not kept anywhere.
    """

    key: Key
    secret: str


class Keys:
    """The keys of a studio, in its database.

    Args:
        settings: whose database it is.
    """

    def __init__(self, settings: StudioSettings) -> None:
        self._engine = engine(settings)
        migrate(self._engine)

    def add(
        self,
        name: str,
        *,
        tenant: str,
        scopes: Iterable[str] = ("read",),
        rate: int = USUAL_RATE,
        days: float | None = None,
    ) -> NewKey:
        """Makes a key.

        Args:
            name: for people.
            tenant: lower-case letters, digits and dashes.
            scopes: what it may do.
            rate: requests a minute.
            days: after which it is good no more; None: it stays good.

        Raises:
            UsageError: an unknown scope, or a value that is none.
        """
        scopes = tuple(dict.fromkeys(scopes))
        for scope in scopes:
            lookup("scope", scope, SCOPES)
        if not scopes:
            raise UsageError(f"A key needs at least one scope of {', '.join(SCOPES)}.")
        if not TENANT.fullmatch(tenant):
            raise UsageError(f"'{tenant}' is no name of a tenant; it has 1 to 63 of a-z, 0-9 and -.")
        if not name.strip() or len(name) > 200 or not name.isprintable():
            raise UsageError("A key needs a name of 1 to 200 letters.")
        if not 1 <= rate <= LARGEST_RATE:
            raise UsageError(f"--rate is {rate}; it can be 1 to {LARGEST_RATE:,} requests a minute.")
        if days is not None and not 0 < days <= 36_500:
            raise UsageError(f"--days is {days:g}; it can be above 0 to 36,500.")
        made = now()
        ident, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        key = Key(
            id=ident,
            name=name.strip(),
            tenant=tenant,
            scopes=scopes,
            rate=rate,
            created=made,
            expires=None if days is None else made + timedelta(days=days),
        )
        row = {
            **{"id": key.id, "name": key.name, "tenant": key.tenant, "scopes": list(scopes), "rate": rate},
            **{"hash": _hash(secret), "created": made, "expires": key.expires, "revoked": None},
        }
        with writing(self._engine) as connection:
            connection.execute(sa.insert(keys).values(row))
        return NewKey(key=key, secret=f"pk_{ident}_{secret}")

    def all(self, tenant: str | None = None) -> list[Key]:
        """Returns all keys, or those of a tenant, the oldest first."""
        query = sa.select(keys).order_by(keys.c.created, keys.c.id)
        if tenant is not None:
            query = query.where(keys.c.tenant == tenant)
        with reading(self._engine) as connection:
            return [_key(row) for row in connection.execute(query).mappings()]

    def find(self, ident: str) -> Key | None:
        """Returns the key with an id, good or not; None: there is none."""
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(keys).where(keys.c.id == ident)).mappings().first()
        return None if row is None else _key(row)

    def check(self, text: str) -> Key | None:
        """Returns the key that a request sent, if it is one of ours, and good now."""
        parts = KEY.fullmatch(text)
        if parts is None:
            return None
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(keys).where(keys.c.id == parts[1])).mappings().first()
        # Compared in a time that says nothing of where they differ; also where there is no such id.
        known = row["hash"] if row is not None else _hash("")
        if not hmac.compare_digest(known, _hash(parts[2])) or row is None:
            return None
        key = _key(row)
        return key if key.opens else None

    def revoke(self, ident: str) -> Key:
        """Makes a key good no more, from now on; doing it twice changes nothing.

        Raises:
            NotFound: there is no key with this id.
        """
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(keys).where(keys.c.id == ident, keys.c.revoked.is_(None)).values(revoked=now())
            )
        key = self.find(ident)
        if key is None:
            raise NotFound(f"There is no key {ident}; `packshot keys list` shows all.")
        return key


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: Any) -> Key:
    return Key(
        id=row["id"],
        name=row["name"],
        tenant=row["tenant"],
        scopes=tuple(row["scopes"]),
        rate=row["rate"],
        created=row["created"],
        expires=row["expires"],
        revoked=row["revoked"],
    )
