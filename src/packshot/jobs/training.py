"""A training job: all that a rank has to know, as plain values, so that it can travel to another process or machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packshot.core.config import build_config
from packshot.core.errors import PackshotError
from packshot.core.runs import RunFolder
from packshot.models.table import find_model
from packshot.training import run as training
from packshot.training.config import config_class
from packshot.training.devices import Devices, LostRank, lost_rank
from packshot.training.run import TrainResult


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """One training run, new or to go on with.

    Attributes:
        out: folder of the run.
        catalog: what a new run trains on; None: go on with the run in `out`.
        config: settings of a new run, as `to_table` gives them; None: go on with the run in `out`.
        origin: run or model file whose weights a new run begins with; None: none.
        budget: another budget for a run to go on with; None: its own.
        command: what run.json says that began the run.
        accelerator, per_node, nodes: see `training.devices.Devices`.
        engine: "local" for this machine, or for ranks that torchrun started; "ray" for a Ray cluster.
        quiet: no progress on stderr.
    """

    out: str
    catalog: str | None = None
    config: dict[str, Any] | None = None
    origin: str | None = None
    budget: str | None = None
    command: str | None = None
    accelerator: str = "auto"
    per_node: int = 1
    nodes: int = 1
    engine: str = "local"
    quiet: bool = False

    @property
    def devices(self) -> Devices:
        """What to train on."""
        return Devices(accelerator=self.accelerator, per_node=self.per_node, nodes=self.nodes)

    @property
    def run(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(Path(self.out))

    @property
    def how_to_go_on(self) -> str:
        """What a sentence on a lost rank ends with."""
        if not self.run.run_file.exists():
            return "the run had not begun yet: start it again"
        usual = TrainJob(out=self.out)
        options = {"devices": "per_node", "nodes": "nodes", "engine": "engine"}
        words = [
            f" --{option} {getattr(self, name)}"
            for option, name in options.items()
            if getattr(self, name) != getattr(usual, name)
        ]
        return f"go on from the newest checkpoint with: packshot train --resume {self.out}{''.join(words)}"


def run_rank(job: TrainJob, *, again: bool = False) -> TrainResult | None:
    """Does one rank's part of a job, in this process.

    Args:
        job: the same on every rank.
        again: the group was started before and lost a rank: go on from the newest checkpoint.

    Returns:
        How the run ended; None on ranks other than the first.

    Raises:
        LostRank: another rank ended.
        PackshotError: see `training.run.train` and `training.run.resume`.
    """
    out, devices = Path(job.out), job.devices
    try:
        if job.config is None or job.catalog is None or (again and job.run.run_file.exists()):
            return training.resume(out, budget=job.budget, devices=devices, quiet=job.quiet)
        entry = find_model(job.config["model"])
        config = build_config(config_class(entry), job.config)
        origin = None if job.origin is None else Path(job.origin)
        return training.train(
            Path(job.catalog), out, config, origin=origin, devices=devices, command=job.command, quiet=job.quiet
        )
    except RuntimeError as e:
        if not lost_rank(e):
            raise
        raise LostRank(f"Another rank of this run was lost; {job.how_to_go_on}") from e


def read_result(job: TrainJob) -> TrainResult:
    """Returns how a run ended that other processes did, from what they left in run.json."""
    about = job.run.read()
    if about.get("state") not in ("finished", "stopped"):
        raise PackshotError(f"The ranks of {job.out} ended before the run did; {job.how_to_go_on}")
    return TrainResult(
        run=job.run.path,
        model=about["config"]["model"],
        state=about["state"],
        step=about["step"],
        images=about["images"],
        seconds=about["seconds"],
        cpu_seconds=about["cpu_seconds"],
        rollbacks=about["rollbacks"],
        left_out=about["rights"]["left_out"],
    )
