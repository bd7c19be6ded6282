"""One rank of a local group, a process of its own: `python -m packshot.jobs.rank FOLDER AGAIN`.

The folder holds the job; an error that a user can act on goes back through it. Standard input is a pipe that only the
supervisor holds: it ends with the supervisor, however that ends, and so does the rank.
"""

import os
import sys
import threading
from pathlib import Path

from packshot.core.errors import PackshotError
from packshot.core.files import read_json, write_json
from packshot.core.process import wait_without_spinning

# Exit code of a rank that could not go on because another was lost.
LOST_RANK_CODE = 3


def job_file(folder: Path) -> Path:
    """Where the supervisor puts the job."""
    return folder / "job.json"


def error_file(folder: Path, rank: int) -> Path:
    """Where a rank puts the error that it ended with."""
    return folder / f"error-{rank}.json"


def main() -> None:
    """Does the part of the rank that the environment names."""
    folder, again = Path(sys.argv[1]), sys.argv[2] == "again"
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    wait_without_spinning()
    from packshot.jobs.training import TrainJob, run_rank
    from packshot.training.devices import LostRank

    try:
        run_rank(TrainJob(**read_json(job_file(folder))), again=again)
    except LostRank:
        sys.exit(LOST_RANK_CODE)
    except PackshotError as e:
        write_json(error_file(folder, int(os.environ["RANK"])), {"error": str(e), "exit_code": e.exit_code})
        sys.exit(1)
    # All is written. What torch takes down at the end of a process aborts it at times, if another rank was quicker.
    sys.stderr.flush()
    os._exit(0)


def _end_with_supervisor() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
