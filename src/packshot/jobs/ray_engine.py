"""Trains on a Ray cluster: Ray Train starts the ranks, and a fresh group when one of them is lost.

The only file that imports ray.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from packshot.core.errors import PackshotError, UsageError
from packshot.core.runs import RunFolder
from packshot.jobs.training import TrainJob, read_result, run_rank
from packshot.training.devices import LostRank
from packshot.training.run import TrainResult

# How long a group may wait for its processes, for example because a node that was lost left too few; and how often.
START_SECONDS = 120
START_FAILURES = 2
# Pictures do not travel through Ray's shared memory.
OBJECT_STORE_BYTES = 100_000_000


def train_on_ray(job: TrainJob, *, restarts: int, address: str | None) -> TrainResult:
    """Trains on `job.per_node * job.nodes` workers of a Ray cluster, wherever Ray finds room for them.

    Every node needs the same version of Packshot, and has to see the catalogue and the folder of the run under the
    same paths.

    Args:
        job: what to train.
        restarts: how often the workers start anew from the newest checkpoint after one was lost.
        address: of the cluster; None: the one that RAY_ADDRESS names, else a small one on this machine.

    Raises:
        UsageError: Ray is not installed, or the cluster is too small.
        PackshotError: what the run ended with, or that workers were lost more often than `restarts`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(START_SECONDS))
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    try:
        import ray.train.torch
    except ImportError as e:
        raise UsageError("--engine ray needs Ray: pip install 'packshot[ray]'") from e
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    job = _with_whole_paths(job)
    if job.config is not None:
        RunFolder.check_free(Path(job.out))
    workers = job.devices.ranks
    # Beside the run, not in it: Ray notes its state here, and finds out whether all workers see the same folder.
    notes = job.run.path.with_name(f".ray-{job.run.path.name}")
    # Ray prints on stdout, which is for the result alone.
    with contextlib.redirect_stdout(sys.stderr), _cluster(address, workers):
        gpu = _has_room(workers, job.accelerator)
        job = replace(job, accelerator="cuda" if gpu else "cpu")
        trainer = ray.train.torch.TorchTrainer(
            _work,
            train_loop_config={"job": job, "folder": str(Path.cwd())},
            torch_config=ray.train.torch.TorchConfig(backend="nccl" if gpu else "gloo"),
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
            run_config=RunConfig(
                name=job.run.path.name,
                storage_path=str(notes),
                failure_config=FailureConfig(max_failures=restarts, controller_failure_limit=START_FAILURES),
            ),
        )
        if not job.quiet:
            print(f"Training on {workers} Ray workers; their progress is in {job.run.log_file}", file=sys.stderr)
        try:
            error = trainer.fit().return_value
        except ray.train.TrainingFailedError as e:
            raise _reason(e, job) from e
        finally:
            shutil.rmtree(notes, ignore_errors=True)
    if error is not None:
        raise (UsageError if error["exit_code"] == UsageError.exit_code else PackshotError)(error["error"])
    return read_result(job)


def _work(config: dict[str, Any]) -> dict[str, Any] | None:
    """One worker: a rank whose place among the others Ray has put into the environment.

    Returns:
        An error with which starting again would end too; None: it ended well. Ray hands on what the first rank returns.
    """
    import torch.distributed

    job: TrainJob = config["job"]
    if Path(config["folder"]).is_dir():
        os.chdir(config["folder"])
    # The driver made sure that a new run's folder was free: what is there now is of an earlier start of this group.
    again = [job.run.run_file.exists()]
    torch.distributed.broadcast_object_list(again)
    try:
        run_rank(job, again=again[0])
    except PackshotError as e:
        # What is wrong with the command every rank finds; what is wrong with one machine has to reach the driver.
        if isinstance(e, LostRank) or (os.environ["RANK"] != "0" and not isinstance(e, UsageError)):
            raise
        return {"error": str(e), "exit_code": e.exit_code}
    return None


def _with_whole_paths(job: TrainJob) -> TrainJob:
    def whole(path: str | None) -> str | None:
        # What is not there is the name of a generator that comes with the package.
        return path if path is None or not Path(path).exists() else str(Path(path).resolve())

    return replace(job, out=str(Path(job.out).resolve()), catalog=whole(job.catalog), origin=whole(job.origin))


@contextlib.contextmanager
def _cluster(address: str | None, workers: int) -> Iterator[None]:
    """Connects to a cluster, or makes a small one on this machine, and leaves it afterwards."""
    import ray

    address = address or os.environ.get("RAY_ADDRESS")
    where: dict[str, Any] = {"address": address}
    if address is None:
        # One more than there are workers, so that Ray's own work always finds room.
        where = {"num_cpus": workers + 1, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(**where, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as e:
        reason = str(e).strip().splitlines()[0].rstrip(".")
        raise UsageError(f"No Ray cluster answers at {address or 'this machine'} ({reason}).") from e
    try:
        yield
    finally:
        ray.shutdown()


def _has_room(workers: int, accelerator: str) -> bool:
    """Makes sure that the cluster has room for the workers; returns whether they get a GPU each."""
    import ray

    there = {kind: int(ray.cluster_resources().get(kind, 0)) for kind in ("CPU", "GPU")}
    gpu = accelerator == "cuda" or (accelerator == "auto" and there["GPU"] >= workers)
    for kind in ("CPU", "GPU") if gpu else ("CPU",):
        if there[kind] < workers:
            raise UsageError(
                f"The Ray cluster has {there[kind]} {kind}s, but each of the {workers} workers needs one; "
                "lower --devices or --nodes, or choose another --accelerator."
            )
    return gpu


def _reason(error: Exception, job: TrainJob) -> PackshotError:
    """Returns one sentence on why Ray gave up; an error that is neither ours nor a lost worker goes to stderr whole."""
    from ray.exceptions import RayActorError

    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    causes = {rank: list(_chain(failure)) for rank, failure in failures.items()}
    for cause in (cause for chain in causes.values() for cause in chain):
        if isinstance(cause, PackshotError) and not isinstance(cause, LostRank):
            return cause
    # A rank that only missed another one is not to blame.
    first = [rank for rank, chain in causes.items() if not any(isinstance(cause, LostRank) for cause in chain)]
    if not all(any(isinstance(cause, RayActorError) for cause in causes[rank]) for rank in first) or not failures:
        print(str(error).strip(), file=sys.stderr)
    if not failures:
        return PackshotError(f"Ray could not start the workers; {job.how_to_go_on}")
    ranks = ", ".join(map(str, first or failures))
    return PackshotError(f"Ray lost its workers too often, rank {ranks} was the last; {job.how_to_go_on}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and what caused it, also where Ray has wrapped it into one of its own."""
    while error is not None:
        yield error
        error = error.__cause__ or getattr(error, "health_check_failure", None)
