"""Results of a job: a ZIP that is made while it is sent, and a feed."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from packshot.core.errors import PackshotError
from packshot.jobs.records import Item
from packshot.jobs.studio import Studio
from packshot.server.api.jobs import JobId
from packshot.server.callers import Reader
from packshot.server.fetch import in_thread, studio_of
from packshot.server.logs import log
from packshot.server.problems import Problem
from packshot.tasks.options import as_settings

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
PAGE = 500
COLUMNS = (
    "id",
    "photo",
    "state",
    "image_link",
    "file",
    "sha256",
    "source_type",
    "confidence",
    "decision",
    "reason",
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take a cell for that begins so."""


class _Pipe(io.RawIOBase):
    """A file that cannot be sought in: what is written is taken out in pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        """Returns what was written since the last time."""
        out = b"".join(self._pieces)
        self._pieces.clear()
        return out


def zipped(studio: Studio, tenant: str, id: str) -> Iterator[bytes]:
    """Yields a ZIP of a job's results, picture by picture; no more than one is in memory.

    A picture that is forgotten while it is sent is left out, and the archive's last file says so.
    """
    pipe, left = _Pipe(), []
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for name, sha256 in studio.results(tenant, id):
            try:
                data = studio.read_picture(tenant, sha256)
            except PackshotError as e:
                left.append(f"{name}: {e}")
                continue
            about = zipfile.ZipInfo(name, datetime.now(UTC).timetuple()[:6])
            about.external_attr = 0o644 << 16
            archive.writestr(about, data)
            yield pipe.take()
        if left:
            log.warning("results left out", job=id, count=len(left))
            archive.writestr("left-out.txt", "\n".join(left) + "\n")
    yield pipe.take()


@router.get(
    "/{id}/results.zip",
    summary="All results",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}, 409: {}},
)
async def results_zip(id: JobId, request: Request, caller: Reader) -> StreamingResponse:
    """Returns a ZIP of what may leave: what is done, and what was approved of what is in review."""
    studio = studio_of(request)
    job = await in_thread(studio.job, caller.tenant, id)
    if job.request.kind != "pictures":
        raise Problem(409, "This job makes no pictures; its page says what it makes.")
    headers = {"Content-Disposition": _attached(f"{job.request.title or 'results'}-{id[-6:]}.zip")}
    return StreamingResponse(zipped(studio, caller.tenant, id), headers=headers, media_type="application/zip")


@router.get(
    "/{id}/results.csv",
    summary="All results as a feed",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def results_csv(id: JobId, request: Request, caller: Reader) -> StreamingResponse:
    """Returns a row for each picture of the job, with the address of its result."""
    studio = studio_of(request)
    job = await in_thread(studio.job, caller.tenant, id)
    base = studio.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    headers = {"Content-Disposition": _attached(f"{job.request.title or 'results'}-{id[-6:]}.csv")}
    return StreamingResponse(_rows(studio, caller.tenant, id, base), headers=headers, media_type="text/csv")


def _rows(studio: Studio, tenant: str, id: str, base: str) -> Iterator[str]:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    offset = 0
    while page := studio.items(tenant, id, offset=offset, limit=PAGE):
        offset += len(page)
        for item in page:
            writer.writerow([_cell(value) for value in _row(item, base)])
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    if not offset:
        yield out.getvalue()


def _row(item: Item, base: str) -> tuple[object, ...]:
    leaves = item.result is not None and (item.state == "done" or item.decision == "approved")
    return (
        item.name.rpartition(".")[0] or item.name,
        item.name,
        item.state,
        f"{base}/v1/pictures/{item.result}" if leaves else "",
        item.result_name if leaves else "",
        item.result if leaves else "",
        item.source_type,
        item.confidence,
        item.decision,
        None if item.reason is None else as_settings(item.reason),
    )


def _cell(value: object) -> object:
    """Returns a value for a spreadsheet, which shall not take a stranger's file name for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value


def _attached(name: str) -> str:
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"
