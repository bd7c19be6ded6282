"""A thin client of the API in Python, for programs of the shop: it sends files and waits for jobs.

with Client("http://127.0.0.1:8000", key="pk_...") as studio:
    edited = studio.edit(Path("shoe.jpg"), [{"task": "enhance", "white_balance": 1.0}])
    job = studio.submit([Path("a.jpg"), Path("b.jpg")], [{"task": "cutout"}])
    for name, data in studio.results(studio.wait(job.id).id):
        Path(name).write_bytes(data)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote

import httpx

from packshot.core.errors import PackshotError

Steps = Sequence[Mapping[str, Any]]
ENDED = ("done", "failed", "cancelled")
USUAL_SECONDS = 150.0
BUSY = (429, 503)


class ApiError(PackshotError):
    """The studio answered with a problem.

    Attributes:
        status: of HTTP.
        code: of the problem, for example "too-large".
        request: id of the request, which the studio's log has, too.
    """

    def __init__(self, message: str, status: int, code: str, request: str | None) -> None:
        super().__init__(message)
        self.status, self.code, self.request = status, code, request


@dataclass(frozen=True, kw_only=True)
class EditedPicture:
    """A picture that was edited.

    Attributes:
        data: the file.
        name: of the file.
        mime: its media type.
        status: "done", or "review": done, but a person should look.
        reason: why, of "review".
    """

    data: bytes
    name: str
    mime: str
    status: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class RemoteJob:
    """A job at the studio.

    Attributes:
        id: of the job.
        state: "queued", "running", "done", "failed" or "cancelled".
        total, finished: pictures.
        counts: pictures by what became of them.
        seconds_left: None: unknown.
        error: why it failed.
        left_out: pictures that could not be had, where the job was allowed to leave them out.
    """

    id: str
    state: str
    total: int
    finished: int
    counts: Mapping[str, int]
    seconds_left: float | None = None
    error: str | None = None
    left_out: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED


class Client:
    """The API of one studio. A context manager.

    Args:
        url: of the studio, for example "http://127.0.0.1:8000".
        key: as `packshot keys add` showed it; None: the studio needs none.
        seconds: that one answer may take.
        tries: how often a request is sent in all where the studio says that it is busy.
        transport: of httpx, for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        seconds: float = USUAL_SECONDS,
        tries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=seconds, transport=transport)
        self._tries = tries

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def tasks(self) -> dict[str, Any]:
        """Returns the tasks, each with its settings as JSON Schema."""
        found: dict[str, Any] = self._ask("GET", "/v1/tasks").json()["tasks"]
        return found

    def edit(
        self,
        photo: Path | bytes,
        operations: Steps,
        *,
        output: Mapping[str, Any] | None = None,
        parts: Mapping[str, Path] | None = None,
    ) -> EditedPicture:
        """Edits one picture and waits for it.

        Args:
            photo: a file, or its bytes.
            operations: steps, each with "task"; a setting "part:NAME" is the file `parts[NAME]`.
            output: how the result is written.
            parts: further files.

        Raises:
            ApiError: the studio says why not.
        """
        told = {"operations": [dict(o) for o in operations], "output": dict(output or {})}
        with ExitStack() as stack:
            files: list[tuple[str, Any]] = [("file", self._file(stack, photo))]
            files += [(name, self._file(stack, path)) for name, path in (parts or {}).items()]
            answer = self._ask("POST", "/v1/edit", files=files, data={"request": json.dumps(told)})
        reason = answer.headers.get("packshot-reason")
        return EditedPicture(
            data=answer.content,
            name=unquote(answer.headers.get("content-disposition", "").partition("''")[2]),
            mime=answer.headers["content-type"],
            status=answer.headers["packshot-result"],
            reason=None if reason is None else unquote(reason),
        )

    def submit(
        self,
        photos: Sequence[Path],
        operations: Steps,
        *,
        output: Mapping[str, Any] | None = None,
        title: str = "",
        webhook: str | None = None,
        key: str | None = None,
        skip_bad: bool = False,
    ) -> RemoteJob:
        """Sends pictures and starts a job over them.

        Args:
            photos: files.
            operations: steps, each with "task".
            output: how results are written.
            title: for people.
            webhook: an address that hears of the end.
            key: the same key is the same job, however often it is sent; None: each time a new one.
            skip_bad: leave out what is no picture, instead of refusing all.

        Raises:
            ApiError: the studio says why not.
        """
        told: dict[str, Any] = {
            **{"operations": [dict(o) for o in operations], "output": dict(output or {})},
            **{"title": title, "skip_bad": skip_bad},
        }
        if webhook is not None:
            told["webhook"] = webhook
        headers = {} if key is None else {"Idempotency-Key": key}
        with ExitStack() as stack:
            files = [("file", self._file(stack, path)) for path in photos]
            answer = self._ask("POST", "/v1/jobs", files=files, data={"request": json.dumps(told)}, headers=headers)
        return _job(answer.json())

    def job(self, id: str) -> RemoteJob:
        """Returns how far a job is. Raises ApiError."""
        return _job(self._ask("GET", f"/v1/jobs/{id}").json())

    def cancel(self, id: str) -> RemoteJob:
        """Ends a job. Raises ApiError."""
        return _job(self._ask("POST", f"/v1/jobs/{id}/cancel").json())

    def wait(
        self,
        id: str,
        *,
        seconds: float | None = None,
        pause: float = 0.5,
        tell: Callable[[RemoteJob], None] | None = None,
    ) -> RemoteJob:
        """Waits for a job's end.

        Args:
            id: of the job.
            seconds: after which it is given up; None: never.
            pause: seconds between two looks.
            tell: is told of each look.

        Raises:
            ApiError: the studio knows no such job.
            PackshotError: it has not ended in time.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            job = self.job(id)
            if tell is not None:
                tell(job)
            if job.ended:
                return job
            if until is not None and time.monotonic() > until:
                raise PackshotError(f"The job {id} has not ended within {seconds:g} seconds; it goes on.")
            time.sleep(pause)

    def items(self, id: str, *, state: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Yields what became of each picture of a job, in order. Raises ApiError."""
        path: str | None = f"/v1/jobs/{id}/items?limit=500{f'&state={state}' if state else ''}"
        while path:
            page = self._ask("GET", path).json()
            yield from page["items"]
            path = page["next"]

    def results(self, id: str) -> Iterator[tuple[str, bytes]]:
        """Yields (file name, file) of what is done, and of what was approved of what is in review. Raises ApiError."""
        for item in self.items(id):
            if item["result"] and (item["state"] == "done" or item["decision"] == "approved"):
                yield item["result_name"], self._ask("GET", f"/v1/pictures/{item['result']}").content

    def verify(self, photo: Path | bytes) -> dict[str, Any]:
        """Returns what a picture claims, and which layers survive. Raises ApiError."""
        with ExitStack() as stack:
            answer = self._ask("POST", "/v1/verify", files=[("file", self._file(stack, photo))])
        found: dict[str, Any] = answer.json()
        return found

    def _file(self, stack: ExitStack, photo: Path | bytes) -> tuple[str, Any]:
        if isinstance(photo, bytes):
            return "photo", photo
        return photo.name, stack.enter_context(photo.open("rb"))

    def _ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        for attempt in range(self._tries):
            try:
                answer = self._http.request(method, path, **how)
            except httpx.HTTPError as e:
                raise PackshotError(f"The studio at {self._http.base_url} does not answer ({type(e).__name__}).") from e
            if answer.status_code not in BUSY or attempt == self._tries - 1:
                break
            time.sleep(min(60.0, float(answer.headers.get("retry-after", 1))))
            for _, (_, file) in how.get("files", []):
                if not isinstance(file, bytes):
                    file.seek(0)
        if answer.is_success:
            return answer
        try:
            said = answer.json()
        except ValueError:
            said = {}
        raise ApiError(
            str(said.get("detail") or f"The studio answered {answer.status_code}."),
            answer.status_code,
            str(said.get("code", "error")),
            said.get("request"),
        )


def _job(said: Mapping[str, Any]) -> RemoteJob:
    return RemoteJob(
        id=said["id"],
        state=said["state"],
        total=said["total"],
        finished=said["finished"],
        counts=said["counts"],
        seconds_left=said["seconds_left"],
        error=said["error"],
        left_out=tuple(said.get("left_out", ())),
    )
