"""Trains on this machine: starts one process for each device, and a fresh group when one of them is lost.

torch's own launcher restarts ranks in place, which at times hangs for ever with gloo; whole new groups do not.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import read_json, write_json
from packshot.jobs.rank import LOST_RANK_CODE, error_file, job_file
from packshot.jobs.training import TrainJob, read_result
from packshot.training.run import TrainResult

POLL_SECONDS = 0.1
# After one rank has ended badly, the others have this long to end by themselves and say why.
GRACE_SECONDS = 5.0


def train_locally(job: TrainJob, *, restarts: int) -> TrainResult:
    """Trains on `job.per_node` processes of this machine.

    Args:
        job: what to train.
        restarts: how often a group that lost a rank starts anew, from the newest checkpoint.

    Raises:
        PackshotError: what a rank ended with, or that ranks were lost more often than `restarts`.
    """
    for attempt in range(restarts + 1):
        lost = _run_group(job, again=attempt > 0)
        if lost is None:
            return read_result(job)
        if attempt < restarts:
            print(f"packshot: {lost}; starting again ({attempt + 1} of {restarts})", file=sys.stderr)
    raise PackshotError(f"{lost}; {job.how_to_go_on}")


@dataclass
class _Group:
    """Processes of one start.

    Attributes:
        folder: holds the job, the ranks' errors and what all but the first print.
        ranks: by number.
        bad: exit codes of those that ended badly by themselves, by rank, the first to be seen first.
        asked: how often we were asked to stop.
    """

    folder: Path
    ranks: list[subprocess.Popen[bytes]] = field(default_factory=list)
    bad: dict[int, int] = field(default_factory=dict)
    asked: int = 0

    def prints(self, rank: int) -> Path:
        """Where a rank's stderr goes; the first one's goes to ours, as it shows the progress."""
        return self.folder / f"rank-{rank}.txt"

    def kill(self) -> None:
        """Ends what still runs."""
        for rank in self.ranks:
            rank.kill()
            rank.wait()
            assert rank.stdin is not None
            rank.stdin.close()


def _run_group(job: TrainJob, *, again: bool) -> str | None:
    """Starts the ranks and waits for them; returns None if all ended well, else which was lost and how."""
    with tempfile.TemporaryDirectory(prefix="packshot-") as temporary:
        group = _Group(Path(temporary))
        write_json(job_file(group.folder), asdict(job))
        with _stop_signals(group):
            try:
                _start(group, job.per_node, again)
                _wait(group)
            finally:
                group.kill()
        if group.asked and group.bad:
            raise PackshotError(f"Stopped by the user; {job.how_to_go_on}")
        return _what_was_lost(group)


def rank_command(folder: Path, again: bool) -> list[str]:
    """Returns the command of every rank; what differs is in its environment."""
    return [sys.executable, "-m", "packshot.jobs.rank", str(folder), "again" if again else "first"]


def _start(group: _Group, ranks: int, again: bool) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    if sys.platform == "linux":
        # Gloo would else take the address of the host's name, which other machines can reach.
        shared["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", "lo")
    for rank in range(ranks):
        with group.prints(rank).open("wb") as prints:
            process = subprocess.Popen(
                rank_command(group.folder, again),
                env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=None if rank == 0 else prints,
                start_new_session=True,  # Ctrl-C comes to them through us.
            )
        group.ranks.append(process)


def _wait(group: _Group) -> None:
    """Returns when all have ended, or some time after one has ended badly."""
    deadline = float("inf")
    while time.monotonic() < deadline:
        codes = [rank.poll() for rank in group.ranks]
        for rank, code in enumerate(codes):
            if code:
                group.bad.setdefault(rank, code)
        if None not in codes:
            return
        if group.bad:
            deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
        time.sleep(POLL_SECONDS)


def _what_was_lost(group: _Group) -> str | None:
    """Returns which rank was lost and how; None: none was.

    Raises:
        PackshotError: a rank ended with it; another start would end with it too.
    """
    for rank in range(len(group.ranks)):
        if error_file(group.folder, rank).exists():
            error = read_json(error_file(group.folder, rank))
            raise (UsageError if error["exit_code"] == UsageError.exit_code else PackshotError)(error["error"])
    if not group.bad or group.ranks[0].returncode == 0:
        return None  # The first rank ends well only after it has written the model.
    causes = {rank: code for rank, code in group.bad.items() if code != LOST_RANK_CODE} or group.bad
    rank, code = next(iter(causes.items()))
    if code < 0:
        return f"Rank {rank} of {len(group.ranks)} was lost (killed by {signal.Signals(-code).name})"
    sys.stderr.write(group.prints(rank).read_text(errors="replace"))
    return f"Rank {rank} of {len(group.ranks)} was lost (its own error is above)"


@contextmanager
def _stop_signals(group: _Group) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask the first rank to stop, which tells the others; a second one ends all at once."""

    def asked(number: int, frame: object) -> None:
        group.asked += 1
        for rank in group.ranks if group.asked > 1 else group.ranks[:1]:
            rank.send_signal(signal.SIGTERM if group.asked == 1 else signal.SIGKILL)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {s: signal.signal(s, asked) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for s, handler in old.items():
            signal.signal(s, handler)
