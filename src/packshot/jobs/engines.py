"""Which engine starts the ranks of a training job."""

from packshot.core.errors import UsageError
from packshot.jobs.training import TrainJob, run_rank
from packshot.training.devices import is_rank
from packshot.training.run import TrainResult

USUAL_RESTARTS = 2


def train_on(job: TrainJob, *, restarts: int | None = None, ray_address: str | None = None) -> TrainResult | None:
    """Trains, on as many processes as the job has devices.

    Args:
        job: what to train.
        restarts: how often a group that lost a rank starts anew from the newest checkpoint; None: twice, or never
            where one device trains in this very process.
        ray_address: of the cluster; None: the one that Ray's own environment names, else a small one on this machine.

    Returns:
        How the run ended; None on a rank that is not the first.

    Raises:
        UsageError: the options do not fit together, or not the machines.
        PackshotError: the run went wrong, or ranks were lost more often than `restarts`.
    """
    if restarts is not None and restarts < 0:
        raise UsageError("--restarts has to be at least 0.")
    if job.per_node < 1 or job.nodes < 1:
        raise UsageError("--devices and --nodes have to be at least 1.")
    if is_rank():
        if job.engine != "local" or restarts:
            raise UsageError("Under torchrun, torchrun starts the ranks: leave out --engine and --restarts.")
        return run_rank(job)
    if job.engine == "ray":
        from packshot.jobs.ray_engine import train_on_ray

        return train_on_ray(job, restarts=USUAL_RESTARTS if restarts is None else restarts, address=ray_address)
    if ray_address is not None:
        raise UsageError("--ray-address needs --engine ray.")
    if job.nodes > 1:
        raise UsageError(
            f"--nodes {job.nodes} needs somebody who starts the ranks on every node: --engine ray, or run this command "
            f"on each by torchrun --nnodes {job.nodes} --nproc-per-node {job.per_node} -m packshot train ..."
        )
    if job.per_node == 1 and not restarts:
        return run_rank(job)
    from packshot.jobs.local_engine import train_locally

    return train_locally(job, restarts=USUAL_RESTARTS if restarts is None else restarts)
