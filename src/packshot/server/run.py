"""`packshot serve`: the server, and beside it the process that does the jobs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from packshot.core.errors import PackshotError
from packshot.jobs.desk import describe_tasks
from packshot.jobs.settings import StudioSettings
from packshot.server.app import create_app
from packshot.server.logs import log, set_up

GRACE_SECONDS = 20
"""That requests which are being answered have after the server was told to end."""
WORKER_GRACE = 30.0
"""That the worker has to finish or hand back what it is at."""
SHORT_LIFE = 5.0
LONGEST_PAUSE = 60.0
KEEP_ALIVE = 15
BACKLOG = 512
WARM_AFTER = 2.0
"""Seconds after which a process of the desk loads what it will need; until then the first page has the cores."""
START = """
import os, signal, sys, threading
def end():
    os.read(0, 1)  # A pipe that ends with the server, however that ends.
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=end, daemon=True).start()
from packshot.cli.main import main
main(sys.argv[1:])
"""
"""`packshot work` that ends with the process that started it, and hands back what it is at."""


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How the server is started.

    Attributes:
        settings: of the studio.
        file: that the settings came from, for the worker; None: none.
        set: `a.b=c` of the command line, for the worker.
        worker: whether jobs are done by this machine, too.
    """

    settings: StudioSettings
    file: Path | None = None
    set: tuple[str, ...] = ()
    worker: bool = True


def serve(options: ServeOptions, say: Callable[[str], None]) -> None:
    """Serves until it is told to end: Ctrl-C or SIGTERM; a second one does not wait.

    Args:
        options: how.
        say: prints a line for whoever started it.

    Raises:
        PackshotError: the port is taken, or database or store cannot be used.
    """
    settings = options.settings
    set_up()
    app = create_app(settings)
    listening = _listen(settings)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    say(f"Packshot's studio is at {settings.public_url or f'http://{shown}:{port}'}; Ctrl-C ends it.")
    if settings.need_keys and not app.state.keys.all():
        say("It needs keys, and there is none yet: packshot keys add NAME --tenant shop --scope admin")
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE,
        proxy_headers=False,
        ws="none",
        lifespan="on",
    )
    worker = _Worker(options) if options.worker else None
    try:
        if worker is not None:
            worker.start()
        threading.Thread(target=_warm, args=(app,), daemon=True, name="warm").start()
        _Server(config, app).run([listening])
    finally:
        if worker is not None:
            worker.end()
        listening.close()


def _warm(app: FastAPI) -> None:
    """Has a process of the desk load what tasks are made of, so that the first who asks does not wait for it."""
    time.sleep(WARM_AFTER)
    try:
        app.state.tasks = app.state.desk.ask(describe_tasks)
    except PackshotError as e:
        log.warning("the desk is not warm", reason=str(e))


def _listen(settings: StudioSettings) -> socket.socket:
    """Takes the port before anything says that it listens there.

    Raises:
        PackshotError: it is taken, or the host is none of this machine.
    """
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        # With its protocol by number: by that asyncio knows TCP, and sends each part of an answer at once.
        made = socket.socket(family[0], family[1], family[2])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(family[4])
        made.listen(BACKLOG)
    except OSError as e:
        raise PackshotError(
            f"Nothing can listen at {settings.host}:{settings.port} ({e.strerror or e}); choose another --port or "
            "--host."
        ) from e
    return made


class _Server(uvicorn.Server):
    """Tells streams that go on for ever to end, as soon as the server is told to."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Is called for Ctrl-C and SIGTERM; the second one does not wait.

        Not uvicorn's own: it would send itself the signal again in the end, and the worker be left alone.
        """
        self._app.state.stopping.set()
        if not self.should_exit:
            # What is at work then is ended, and its sender told to come again: threads cannot be broken off.
            late = threading.Timer(GRACE_SECONDS, self._app.state.desk.close)
            late.daemon = True
            late.start()
        self.force_exit = self.should_exit
        self.should_exit = True


class _Worker:
    """`packshot work` as a child: started again when it dies, and ended with us."""

    def __init__(self, options: ServeOptions) -> None:
        words = [] if options.file is None else ["--settings", str(options.file)]
        for setting in options.set:
            words += ["--set", setting]
        self.command = [sys.executable, "-P", "-c", START, "work", *words]
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True, name="worker")

    def start(self) -> None:
        """Starts it, and whoever comes after it."""
        self._thread.start()

    def end(self) -> None:
        """Asks it to finish or hand back what it is at; after a while it is ended."""
        self._stop.set()
        self._thread.join(WORKER_GRACE + 5)

    def _watch(self) -> None:
        pause = 1.0
        while not self._stop.is_set():
            began = time.monotonic()
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,  # Ctrl-C comes to it through us.
            )
            while self._process.poll() is None and not self._stop.wait(0.2):
                pass
            if self._stop.is_set():
                break
            lived = time.monotonic() - began
            log.error("the worker ended and is started again", code=self._process.returncode, seconds=round(lived, 1))
            pause = 1.0 if lived > SHORT_LIFE else min(LONGEST_PAUSE, pause * 2)
            self._stop.wait(pause)
        self._finish()

    def _finish(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(WORKER_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    package = str(Path(__file__).parents[2])
    found = [package, *(path or str(Path.cwd()) for path in sys.path)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(found)}
