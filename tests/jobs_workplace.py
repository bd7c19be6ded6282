"""A studio and real worker processes, for tests that kill them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from packshot.jobs.settings import StudioSettings

ROOT = Path(__file__).parents[1]


class Workplace:
    """A studio and the worker processes of a test, all of which are killed in the end."""

    def __init__(self, home: Path, *more: str) -> None:
        self.settings = StudioSettings(home=home)
        self.home, self.log, self.more = home, home.parent / "done.log", more
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, seconds: float = 0.0) -> subprocess.Popen[bytes]:
        """Starts a worker with hands that need no network."""
        command = [sys.executable, "-m", "tests.jobs_help", str(self.home), str(self.log), str(seconds), *self.more]
        return self._popen(command)

    def start_real(self, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Starts `packshot work`."""
        settings = [f"home={self.home}", "workers=2", "shard=8", *self.more]
        command = [sys.executable, "-m", "packshot", "work"]
        return self._popen([*command, *(word for s in settings for word in ("--set", s))], stdout)

    def _popen(self, command: list[str], stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stdout, start_new_session=True)
        self.processes.append(process)
        return process

    def done(self) -> Counter[int]:
        """Returns how often each picture was finished by hands."""
        return Counter(int(line.split()[1]) for line in self.log.read_text().splitlines())

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
