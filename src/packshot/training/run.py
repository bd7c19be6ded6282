"""A training run from catalogue to model file: set up, loop, roll back, finish."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

import packshot
from packshot.catalog import Catalog, open_catalog
from packshot.catalog.erase import is_rest_of
from packshot.core.config import build_config, to_table
from packshot.core.errors import PackshotError, UsageError
from packshot.core.lineage import needs_retraining
from packshot.core.process import check_memory
from packshot.core.progress import Progress as ProgressBar
from packshot.core.random import stream_seed
from packshot.core.runs import RunFolder, append_jsonl, keep_rows_up_to
from packshot.evaluation.gate_run import write_index
from packshot.models.conditions import Conditions
from packshot.models.spec import PictureSpec
from packshot.models.table import ModelEntry, find_model, weight_bytes
from packshot.sampling.generator import TrainedGenerator, save_generator
from packshot.sampling.prior import fit_class_prior
from packshot.training.budget import parse_budget
from packshot.training.card import Learned, measure_cost, write_card
from packshot.training.checkpoint import Progress, list_checkpoints, load_checkpoint, remove_leftovers
from packshot.training.clip import ClipStep
from packshot.training.conditions import keep_text_model
from packshot.training.config import TrainConfig, config_class
from packshot.training.data import Batches, Noise, TrainingData, read_data
from packshot.training.devices import ONE, Devices, launch, on_leader
from packshot.training.ema import make_ema
from packshot.training.finetune import begin_with, check_origin, open_origin
from packshot.training.gan import GANStep
from packshot.training.hooks import CheckpointHook, LogHook, ScheduledHook
from packshot.training.latent import LatentStep
from packshot.training.loop import Clock, Hook, LoopState, Unhealthy, run_loop, stop_signals
from packshot.training.monitor import Monitor
from packshot.training.precision import prepare
from packshot.training.vae import VAEStep
from packshot.training.vae_gan import VAEGANStep
from packshot.training.vq import VQStep

STEPS: dict[str, Callable[[dict[str, nn.Module], Any], Any]] = {
    "clip": ClipStep,
    "gan": GANStep,
    "latent": LatentStep,
    "vae": VAEStep,
    "vae-gan": VAEGANStep,
    "vq-vae": VQStep,
}
MAX_ROLLBACKS = 2
# How often a batch may hold the same photo.
MOST_REPEATS = 4
# Photos that a VAE's prior is fitted to: while training, and for the model file.
QUICK_PRIOR_PHOTOS = 2_000
PRIOR_PHOTOS = 20_000


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        run: its folder.
        model: name of the model.
        state: "finished" (budget used up) or "stopped" (asked to; go on with --resume).
        step: steps done.
        images: pictures seen.
        seconds: wall seconds used.
        cpu_seconds: CPU-seconds used.
        rollbacks: how often the run was rolled back to an earlier checkpoint.
        left_out: pictures of the training split that were not trained on, by reason (`catalog.rights.REASONS`).
    """

    run: Path
    model: str
    state: str
    step: int
    images: int
    seconds: float
    cpu_seconds: float
    rollbacks: int
    left_out: dict[str, int] = field(default_factory=dict)


def train(
    catalog: Path,
    out: Path,
    config: TrainConfig,
    *,
    origin: Path | None = None,
    devices: Devices = ONE,
    command: str | None = None,
    quiet: bool = False,
    deadline: float | None = None,
) -> TrainResult | None:
    """Trains a new model on a catalogue, in the new run folder `out`.

    With `origin`, another run or its model file, it begins with the weights of that (fine-tuning). At `deadline`, a
    value of `time.monotonic()`, it stops as if it were asked to.

    Returns:
        How it ended; None on ranks other than the first.

    Raises:
        PackshotError: the run folder exists, the catalogue is damaged, the run went wrong and could not be saved.
        UsageError: the configuration does not fit the catalogue or the devices.
    """
    if origin is not None and (sentence := needs_retraining(origin)):
        raise PackshotError(sentence)
    fabric = launch(devices, config.loop.precision)
    entry = find_model(config.model)
    photos = open_catalog(catalog)
    on_leader(fabric, lambda: RunFolder.check_free(out))
    data = read_data(RunFolder(out), photos, config, entry, fabric)
    start = None if origin is None else open_origin(origin, weights=False)
    if start is not None:
        check_origin(start, entry.name, config.net, data.spec)
    if getattr(config.objective, "freeze_d", 0) and (start is None or start.sampler_only):
        raise UsageError("objective.freeze_d keeps learned layers; say by --from which run, with checkpoints, has any.")
    session = _Session(RunFolder(out), photos, config, entry, data, fabric, quiet)
    about = {
        "packshot": packshot.__version__,
        "command": command or "packshot.train(...)",
        "config": to_table(config),
        "spec": to_table(data.spec),
        "conditions": data.conditions and to_table(data.conditions),
        "catalog": str(catalog.resolve()),
        "catalog_checksum": photos.checksum,
        "categories": list(photos.categories),
        "torch": torch.__version__,
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "threads": torch.get_num_threads(),
            "devices": fabric.world_size,
        },
        "state": "running",
        **session.learned.about(),
    }
    if origin is not None:
        about["origin"] = session.begin_with(origin)
    on_leader(fabric, lambda: RunFolder.create(out).write(about))
    on_leader(fabric, lambda: session.learned.write(session.run, start, config))
    if config.data.text_model is not None:
        on_leader(fabric, lambda: keep_text_model(session.run, Path(config.data.text_model)))
    return session.go(deadline)


def resume(
    out: Path,
    *,
    budget: str | None = None,
    devices: Devices = ONE,
    quiet: bool = False,
    deadline: float | None = None,
) -> TrainResult | None:
    """Goes on with the run in `out` from its newest whole checkpoint, with its own configuration and catalogue.

    With a kimg budget, on the same machine and number of threads, the final weights are bit for bit those of a run
    that was never interrupted; only a run that had to be rolled back depends on when its checkpoints were made.

    Returns:
        How it ended; None on ranks other than the first.

    Raises:
        PackshotError: no run there, or its catalogue was changed since.
    """
    run = RunFolder.open(out)
    if run.is_shipped:
        raise UsageError(
            f"{out} came with Packshot; begin a run of your own with it: packshot train CATALOG --from {out}"
        )
    about = run.read()
    if sentence := needs_retraining(out):
        raise PackshotError(sentence)
    try:
        table = {**about["config"], **({"budget": budget} if budget else {})}
        entry = find_model(table["model"])
        config = build_config(config_class(entry), table)
        spec, conditions = PictureSpec(**about["spec"]), about.get("conditions")
        catalog, checksum = Path(about["catalog"]), about["catalog_checksum"]
    except (KeyError, TypeError, UsageError) as e:
        raise PackshotError(f"{run.run_file} was written by another version of Packshot ({e}); train again.") from e
    parse_budget(config.budget)
    fabric = launch(devices, config.loop.precision)
    photos = open_catalog(catalog)
    if photos.checksum != checksum and is_rest_of(photos, checksum):
        raise PackshotError(f"Photos of {catalog} were erased after this run began; train a new run.")
    if photos.checksum != checksum:
        raise PackshotError(
            f"The catalogue {catalog} was changed after this run began; restore it, or train a new run."
        )
    data = read_data(run, photos, config, entry, fabric)
    if data.spec != spec or (conditions and Conditions.of_table(conditions) != data.conditions):
        raise PackshotError(f"{run.run_file} was written by another version of Packshot, or for another text model.")
    session = _Session(run, photos, config, entry, data, fabric, quiet)
    on_leader(fabric, lambda: session.learned.check(run))
    on_leader(fabric, lambda: run.update(config=to_table(config), state="running", **session.learned.about()))
    return session.go(deadline)


class _Session:
    """One start of a run: networks, data and hooks, and what happens around the loop."""

    def __init__(
        self,
        run: RunFolder,
        photos: Catalog,
        config: TrainConfig,
        entry: ModelEntry,
        data: TrainingData,
        fabric: Fabric,
        quiet: bool,
    ) -> None:
        size, rank, world = config.loop.batch_size, fabric.global_rank, fabric.world_size
        if size % world:
            raise UsageError(f"loop.batch_size {size} does not divide by {world} devices; set one that does.")
        self.run, self.photos, self.config, self.entry = run, photos, config, entry
        self.packed, self.spec, self.conditions, cond = data
        self.fabric = fabric
        self.leader = rank == 0
        self.quiet = quiet or not self.leader
        self.batches = Batches(
            self.packed.images,
            self.packed.labels,
            cond=cond,
            batch_size=size,
            seed=config.seed,
            flip=config.data.flip,
            limit=config.data.limit,
            rank=rank,
            world_size=world,
        )
        self.learned = Learned.of(photos, self.packed, self.batches.chosen)
        photos_used = len(self.batches.chosen)
        if size > MOST_REPEATS * photos_used:
            raise UsageError(
                f"There are only {photos_used} photos to train on, too few for batches of {size}; "
                f"add photos, or --set loop.batch_size={max(2, photos_used) // world * world}."
            )
        check_memory(5 * weight_bytes(entry, config.net, self.spec), "Networks of these sizes", "make net.* smaller")
        self.noise = Noise(config.seed, size, rank, world)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(config.seed, "weights"))
            networks = {role: build(config.net, self.spec) for role, build in entry.networks.items()}
            self.step = STEPS[entry.family](networks, config.objective)
        for network in self.step.networks.values():
            network.to(fabric.device, memory_format=torch.channels_last)
        self.ema = make_ema(networks[entry.sampler])
        prepare(networks.values(), fabric, precision=config.loop.precision, compiled=config.loop.compile)
        self.networks = {**self.step.networks, "ema": self.ema}
        self.checkpoint = CheckpointHook(run, config.loop, self.networks, self.step.optimizers)
        self.progress = self._load() or Progress()  # Now: what cannot be loaded leaves the run as it is.

    def begin_with(self, path: Path) -> dict[str, Any]:
        """Takes over the weights of another run or model file, and returns what is to be known of it."""
        origin = open_origin(path)
        known = begin_with(
            origin, self.networks, self.entry, self.config.net, self.spec, self.photos.categories, self.conditions
        )
        return {**origin.about(), "known_categories": known}

    def go(self, deadline: float | None = None) -> TrainResult | None:
        """Trains until the budget is used up or the process is asked to stop, and leaves a model behind."""
        state = LoopState(self.progress)
        clock = Clock(state.progress)

        def stop_asked() -> bool:
            return stopped.is_set() or (deadline is not None and time.monotonic() >= deadline)

        with ProgressBar(f"Training {self.entry.name}", 1.0, quiet=self.quiet) as bar, stop_signals() as stopped:
            if sentence := self.photos.rights.sentence():
                bar.say(f"{sentence}; see: packshot rights {self.photos.path}")
            if self.leader and not list_checkpoints(self.run.checkpoints):
                self.checkpoint.save(state)
            while True:
                try:
                    self._loop(state, clock, bar, stop_asked)
                    break
                except Unhealthy as event:
                    self._roll_back(state, clock, str(event), bar)
        if not self.leader:
            return None
        p = state.progress
        result = TrainResult(
            self.run.path,
            self.entry.name,
            "stopped" if state.share < 1 else "finished",
            p.step,
            p.images,
            round(p.seconds, 2),
            round(p.cpu_seconds, 2),
            p.attempt,
            self.photos.rights.left_out,
        )
        self._finish(result)
        return result

    def _loop(self, state: LoopState, clock: Clock, bar: ProgressBar, stop_asked: Callable[[], bool]) -> None:
        config = self.config.loop
        hooks: list[Hook] = [LogHook(self.run if self.leader else None, config, bar, state, self.fabric)]
        if self.leader:
            hooks.append(self.checkpoint)
        if self.leader and self.entry.makes == "pictures":
            monitor = Monitor(self.run, self.photos, self.generator, self.config, bar)
            hooks += [
                ScheduledHook(config.samples_every_kimg, state, monitor.sample_grid),
                ScheduledHook(config.metrics_every_kimg, state, monitor.quick_figures),
            ]
        run_loop(
            step=self.step,
            ema=self.ema,
            sampler=self.networks[self.entry.sampler],
            batches=self.batches,
            noise=self.noise,
            budget=parse_budget(self.config.budget),
            config=config,
            state=state,
            clock=clock,
            fabric=self.fabric,
            hooks=hooks,
            stop_asked=stop_asked,
        )

    def _load(self) -> Progress | None:
        """Loads the newest checkpoint; one that is damaged makes way for the one before."""
        problem: PackshotError | None = None
        for path in reversed(list_checkpoints(self.run.checkpoints)):
            try:
                progress = load_checkpoint(path, self.networks, self.step.optimizers)
            except PackshotError as e:
                problem = problem or e
                continue
            if self.leader:
                remove_leftovers(self.run.checkpoints, after=path)
                keep_rows_up_to(self.run.log_file, progress.step)
                keep_rows_up_to(self.run.metrics_file, progress.step)
            return progress
        if problem is not None:
            raise problem
        return None

    def _roll_back(self, state: LoopState, clock: Clock, reason: str, bar: ProgressBar) -> None:
        """Returns to the last good checkpoint with other random streams and half the learning rate, at most twice."""
        used = state.progress
        loaded = self._load()
        if loaded is None or used.attempt >= MAX_ROLLBACKS:
            on_leader(self.fabric, lambda: self.run.update(state="failed", reason=reason))
            raise PackshotError(
                f"Training went wrong {used.attempt + 1} times: {reason}. The last good checkpoint is kept; "
                "try a lower learning rate by --set objective.lr=... (for a GAN objective.g_lr and objective.d_lr)."
            )
        # The time that was lost is still spent.
        state.progress.step, state.progress.images = loaded.step, loaded.images
        state.progress.attempt = used.attempt + 1
        state.suspect = False
        clock.rewind()
        bar.say(f"{reason}; went back to step {loaded.step} with half the learning rate")
        if self.leader:
            row = {"step": loaded.step, "event": "rollback", "reason": reason}
            append_jsonl(self.run.log_file, row)
            self.checkpoint.save(state)  # So that a kill from here on does not forget the attempt.

    def generator(self, photos: int = QUICK_PRIOR_PHOTOS) -> TrainedGenerator:
        """Returns the averaged network, weights shared; a prior that is fitted sees `photos` of the training photos."""
        prior = None
        if self.entry.fitted_prior:
            own = self.batches.chosen
            chosen = own[np.linspace(0, len(own) - 1, min(photos, len(own))).astype(np.int64)]
            images = torch.from_numpy(self.packed.images[chosen]).to(self.fabric.device)
            labels = torch.from_numpy(np.asarray(self.packed.labels[chosen])).to(self.fabric.device)
            encode, z_dim = self.ema.encode, self.ema.z_dim
            prior = fit_class_prior(encode, images, labels, categories=self.spec.categories, z_dim=z_dim)
        packed, conditions = self.packed, self.conditions
        return TrainedGenerator(
            self.ema, self.entry.name, self.spec, packed.categories, packed.margin, prior, conditions
        )

    def _finish(self, result: TrainResult) -> None:
        save_generator(
            self.run.model_file,
            self.generator(PRIOR_PHOTOS),
            to_table(self.config.net),
            catalog_checksum=self.photos.checksum,
            fit=self.config.data.fit,
            packshot=packshot.__version__,
            training_set=self.learned.set.about(),
        )
        if self.entry.makes == "pictures":
            write_index(self.run, self.photos, self.packed, self.batches.chosen, self.config.data.fit)
        cost = measure_cost(self.run, self.fabric, result.seconds, result.cpu_seconds)
        write_card(self.run, self.learned, self.config, self.entry, result.images, cost)
        facts: dict[str, Any] = {
            name: getattr(result, name) for name in ("state", "step", "images", "seconds", "cpu_seconds", "rollbacks")
        }
        self.run.update(**facts, cost=cost)
