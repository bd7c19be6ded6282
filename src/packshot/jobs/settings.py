"""One settings file for the whole studio: where it keeps things, who does the work, what it accepts."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from packshot.core.config import apply_settings, build_config, read_toml
from packshot.core.errors import UsageError
from packshot.core.home import home

Engine = Literal["local", "ray"]
MOST_DAYS = 36_500


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the studio accepts of one request.

    Attributes:
        bytes: of one picture that is sent or fetched.
        pixels: of one picture.
        seconds: that one picture may take while its sender waits.
        pictures: of one job.
        fetch_seconds: that a picture's address may take to answer in full.
        waiting: requests for one picture that may wait for a free process; more are asked to come again.
    """

    bytes: int = 40 * 2**20
    pixels: int = 60_000_000
    seconds: float = 120.0
    pictures: int = 50_000
    fetch_seconds: float = 20.0
    waiting: int = 32

    def __post_init__(self) -> None:
        for name in ("bytes", "pixels", "seconds", "pictures", "fetch_seconds", "waiting"):
            if not getattr(self, name) > 0:
                raise UsageError(f"limits.{name} is {getattr(self, name)}; it has to be above 0.")


@dataclass(frozen=True, kw_only=True)
class StudioSettings:
    """The studio's settings, from a TOML file and `--set a.b=c`. Passwords come from the environment or the URL.

    Attributes:
        home: folder of everything that the studio keeps for itself; None: studio in the user's own folder.
        database: SQLAlchemy URL, postgresql+psycopg://user@host/name; "": SQLite in `home`.
        store: fsspec URL of the folder of pictures, s3://bucket/folder; "": a folder in `home`.
        store_options: what that file system needs, for example {endpoint_url = "http://..."} of an S3 of one's own.
        engine: "local": processes of this machine; "ray": a cluster of Ray.
        ray_address: of the cluster; "": the one that Ray's own environment names, else a small one on this machine.
        workers: processes that edit, of each machine; 0: as many as it has cores and memory for.
        shard: pictures that are one recorded step of a job.
        tries: how often a picture that kills or fails its process is tried, and a job's command that ends badly.
        queue_days: for which the queue keeps its own rows of runs that have ended; the jobs stay listed all the same.
        host, port: where the studio listens.
        public_url: the address that others know it by; "": as the request says.
        keys: "on": every request needs a key; "auto": only if `host` is not the machine itself.
        origins: other sites whose pages may call the API (CORS).
        runs: folder of trained runs that the pages offer; None: runs in `home`.
        catalogs: folder of catalogues; None: catalogs in `home`.
        events: folder of stores of shoppers' events; None: events in `home`.
        fetch_private: let pictures be fetched from addresses of the own network. Never where strangers have keys.
        limits: see `Limits`.
    """

    home: Path | None = None
    database: str = ""
    store: str = ""
    store_options: Mapping[str, Any] = field(default_factory=dict)
    engine: Engine = "local"
    ray_address: str = ""
    workers: int = 0
    shard: int = 64
    tries: int = 3
    queue_days: float = 30.0
    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = ""
    keys: Literal["auto", "on"] = "auto"
    origins: tuple[str, ...] = ()
    runs: Path | None = None
    catalogs: Path | None = None
    events: Path | None = None
    fetch_private: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name, low, high in (("workers", 0, 256), ("shard", 1, 10_000), ("tries", 1, 20), ("port", 0, 65535)):
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is {getattr(self, name)}; it can be {low} to {high}.")
        if not 0 <= self.queue_days <= MOST_DAYS:
            raise UsageError(f"queue_days is {self.queue_days}; it can be 0 to {MOST_DAYS:,}.")
        if self.ray_address and self.engine != "ray":
            raise UsageError('ray_address needs engine = "ray".')

    @property
    def place(self) -> Path:
        """The studio's folder; it need not be there yet."""
        return self.home or home() / "studio"

    @property
    def database_url(self) -> str:
        """Of the studio's own tables."""
        return self.database or f"sqlite:///{(self.place / 'studio.sqlite').absolute()}"

    @property
    def store_url(self) -> str:
        """Of the pictures."""
        return self.store or f"file://{(self.place / 'store').absolute()}"

    @property
    def runs_folder(self) -> Path:
        """Of trained runs."""
        return self.runs or self.place / "runs"

    @property
    def catalogs_folder(self) -> Path:
        """Of catalogues."""
        return self.catalogs or self.place / "catalogs"

    @property
    def events_folder(self) -> Path:
        """Of stores of events."""
        return self.events or self.place / "events"

    @property
    def on_loopback(self) -> bool:
        """Whether nobody but this machine can reach the studio."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def need_keys(self) -> bool:
        """Whether a request without a key is refused."""
        return self.keys == "on" or not self.on_loopback


def read_settings(path: Path | None = None, settings: tuple[str, ...] = ()) -> StudioSettings:
    """Returns the settings of a file, with each `a.b=value` of `settings` put in.

    Raises:
        PackshotError: the file is missing.
        UsageError: it is not TOML, or an unknown or impossible setting.
    """
    table = read_toml(path) if path is not None else {}
    return build_config(StudioSettings, apply_settings(table, list(settings)))
