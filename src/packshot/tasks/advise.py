"""Which model for this catalogue? Short trials by successive halving within a budget, and advice with evidence."""

import json
import shlex
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from packshot.catalog import Catalog, open_catalog
from packshot.core.config import build_config
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import disk_errors, read_json, write_json, write_text
from packshot.core.progress import Progress
from packshot.core.runs import RunFolder, append_jsonl
from packshot.evaluation.features import compute_features
from packshot.models.features.efflite import load_efflite0
from packshot.sampling.generator import load_generator
from packshot.tasks.advise_begun import ADVICE, TRIALS, Begun, Meter, read_begun, read_evidence
from packshot.tasks.advise_choice import Evidence, choose, rank
from packshot.tasks.advise_measure import Shelf, Yardstick, open_shelf, waiting_features
from packshot.tasks.advise_plan import (
    LEAST_TRIAL,
    Candidate,
    Costs,
    Plan,
    least_judges,
    make_plan,
    plan_lines,
    round_sizes,
    share_rounds,
)
from packshot.training import run as training
from packshot.training.devices import Devices
from packshot.training.presets import resolve_config

SPEED_PHOTOS = 100
# Sample grids and figures on schedule would be paid from the trial's budget.
QUIET_LOOP = ("loop.samples_every_kimg=0", "loop.metrics_every_kimg=0")
FULL_RUN, LEAST_RUN = 10, 300


@dataclass(frozen=True, kw_only=True)
class AdviseRequest:
    """Advice, please.

    Attributes:
        catalog: the catalogue.
        need: "sharp", "similar" or "repair".
        out: folder for the trials and `advise.json`; if it holds those of the same advice, that is gone on with.
        budget: for everything, evaluation included: wall time ("10m", "90s") or CPU-seconds ("600cpu-s").
        device: what to train on.
        seed: of the trials and of their samples.
        quiet: no plan and no progress on stderr.
    """

    catalog: Path
    need: str
    out: Path
    budget: str = "10m"
    device: Literal["cpu", "cuda", "auto"] = "auto"
    seed: int = 0
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class AdviseResult:
    """Advice, and what it rests on.

    Attributes:
        model: the recommended one.
        command: that trains it in full.
        reasons: sentences.
        evidence: of every trial, round by round.
        failed: candidates whose trial went wrong, and how.
        not_tried: other models, and why not.
        plan: what was planned before the first trial.
        stopped_early: why fewer trials were made than planned; None: all were made.
        seconds: of the budget's kind, used in all.
        file: `advise.json`, which holds all of this.
    """

    model: str
    command: str
    reasons: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    failed: dict[str, str]
    not_tried: dict[str, str]
    plan: Plan
    stopped_early: str | None
    seconds: float
    file: Path


@dataclass(frozen=True)
class _Start:
    """What is known before the first trial."""

    meter: Meter
    photos: Catalog
    shelf: Shelf
    begun: Begun
    accelerator: str


def plan_advice(request: AdviseRequest) -> Plan:
    """Returns the plan alone; the photos are packed for it, which later training uses.

    Raises:
        UsageError: unknown need, or a budget that is none or too short.
        PackshotError: no catalogue there, or no such device.
    """
    return _start(request, None).begun.plan


def advise(request: AdviseRequest) -> AdviseResult:
    """States its plan, makes the trials, and recommends a model.

    After a kill the same request goes on: no finished trial is made again, one that was cut off goes on from its newest
    checkpoint, and the budget is that of all starts together.

    Raises:
        UsageError: unknown need, or a budget that is none or too short.
        PackshotError: no catalogue there, `out` holds other advice, every trial went wrong, or the user stopped it.
    """
    before = read_begun(request.out, _asked(request))
    file = request.out / ADVICE
    with disk_errors(file):
        if before is not None and file.is_file():  # Killed after the last step, or asked for twice.
            return _read_result(file)
    start = _start(request, before)
    plan = start.begun.plan
    if before is None:
        start.begun.write(request.out)
    with Progress("Advising", start.meter.amount, quiet=request.quiet) as bar:
        for line in plan_lines(plan):
            bar.say(line)
        if before is not None:
            bar.say(f"Going on with advice that was cut off; trials that are done: {len(before.evidence)}.")
        trials = _Trials(request, start, bar)
        if plan.rounds:
            trials.make()
    begun = start.begun
    if begun.failed and not begun.evidence:
        raise PackshotError(f"Every trial went wrong; the first one: {next(iter(begun.failed.values()))}")
    choice = choose(plan, begun.evidence, trials.decisive)
    trained = max((e.trained for e in begun.evidence if e.model == choice.model), default=0.0)
    result = AdviseResult(
        model=choice.model,
        command=_command(request, plan, choice.model, trained, start.accelerator),
        reasons=choice.reasons,
        evidence=tuple(begun.evidence),
        failed=begun.failed,
        not_tried={**plan.not_tried, **begun.not_reached, **trials.too_late},
        plan=plan,
        stopped_early=trials.stopped_early,
        seconds=round(start.meter.used, 1),
        file=file,
    )
    write_json(file, {**asdict(result), "file": str(file)})
    return result


def _asked(request: AdviseRequest) -> dict[str, Any]:
    """Returns what tells this advice from other advice."""
    return {
        "catalog": open_catalog(request.catalog).checksum,
        "need": request.need,
        "budget": request.budget,
        "device": request.device,
        "seed": request.seed,
    }


def _read_result(file: Path) -> AdviseResult:
    """Returns advice that was given.

    Raises:
        PackshotError: the file is damaged.
    """
    table = read_json(file)
    try:
        more = {
            "plan": build_config(Plan, table["plan"]),
            "evidence": tuple(read_evidence(row) for row in table["evidence"]),
            "reasons": tuple(table["reasons"]),
            "file": file,
        }
        return AdviseResult(**table | more)
    except (KeyError, TypeError, ValueError, UsageError) as e:
        raise PackshotError(f"{file} is damaged; remove it, and the same command goes on from the trials.") from e


def _start(request: AdviseRequest, begun: Begun | None) -> _Start:
    least = least_judges(request.need)
    meter = Meter.of(request.budget, begun.used if begun is not None else 0.0)
    accelerator = request.device
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    elif accelerator == "cuda" and not torch.cuda.is_available():
        raise PackshotError("There is no CUDA device here; use --device cpu.")
    photos = open_catalog(request.catalog)
    shelf = open_shelf(photos, least, request.seed)
    if begun is None:
        unit = "cpu-s" if accelerator == "cpu" else "s"
        costs = _measure_costs(shelf, photos, meter, unit)
        plan = make_plan(request.need, shelf.facts, meter.left, costs, unit)
        begun = Begun(asked=_asked(request), plan=plan, rate=costs.rate, overhead=plan.overhead)
    return _Start(meter, photos, shelf, begun, accelerator)


def _measure_costs(shelf: Shelf, photos: Catalog, meter: Meter, unit: str) -> Costs:
    """Times the features of a few photos: how fast this machine is now, and what else it is doing."""
    net, some = load_efflite0(), shelf.train.images[:SPEED_PHOTOS]
    compute_features(net, some[:10])
    begin, cpu = meter.clock(), time.process_time()
    compute_features(net, some)
    spent, cpu = meter.clock() - begin, max(time.process_time() - cpu, 1e-3)
    rate = spent / cpu
    return Costs(
        rate=rate if unit == "cpu-s" else 1.0,
        cpu=rate,
        feature=spent / len(some),
        waiting=waiting_features(shelf, photos),
    )


def _command(request: AdviseRequest, plan: Plan, model: str, trained: float, accelerator: str) -> str:
    settings = next(c.settings for c in plan.candidates if c.model == model)
    budget = max(LEAST_RUN, round(FULL_RUN * trained / 50) * 50)
    words = ["packshot", "train", str(request.catalog), "--model", model]
    words += [word for setting in settings for word in ("--set", setting)]
    words += ["--budget", f"{budget}{plan.unit}", "--seed", str(request.seed)]
    return shlex.join([*words, *(["--accelerator", "cuda"] if accelerator == "cuda" else [])])


@dataclass
class _Trials:
    """The rounds of trials.

    What is known of them is in `start.begun`, and is kept on the disk after each: what trials cost by now (`rate`,
    seconds of the budget for one unit of training; `overhead`, seconds that a trial takes beside its training; `paid`,
    seconds that went into each candidate's training; `beside`, seconds beside the training, trial by trial).

    Attributes:
        too_late: model to why its first trial was not made.
        decisive: the last round that all its candidates finished.
        stopped_early: why there were fewer trials than planned.
    """

    request: AdviseRequest
    start: _Start
    bar: Progress
    too_late: dict[str, str] = field(default_factory=dict)
    decisive: int = 0
    stopped_early: str | None = None

    def make(self) -> None:
        """Makes them, and measures what the next ones will cost as it goes."""
        begun, meter = self.start.begun, self.start.meter
        plan = begun.plan
        rows = [json.dumps(asdict(row)) + "\n" for row in begun.evidence]
        write_text(self.request.out / "trials.jsonl", "".join(rows))  # A killed start may have torn its last line.
        self.yardstick = Yardstick(
            self.start.shelf,
            self.start.photos,
            samples=plan.samples,
            copies=plan.copies,
            seed=self.request.seed,
        )
        least = LEAST_TRIAL * (plan.facts.size / 32) ** 2 / 2
        alive, done = list(plan.candidates), 0.0
        for number in range(1, len(plan.rounds) + 1):
            sizes = round_sizes(len(alive))
            if number > len(begun.amounts):
                amount = share_rounds(sizes, meter.left, begun.overhead, begun.rate, done)[0].amount
                if number > 1 and amount - done < least:
                    self.stopped_early = f"the budget has no room for round {number}"
                    return
                begun.amounts.append(amount)
                self._keep()
            amount = begun.amounts[number - 1]
            complete = self._round(number, alive, done, amount)
            here = [e for e in begun.evidence if e.round == number]
            if complete or (number == 1 and here):
                self.decisive = number
            if not complete or len(here) < 3:
                return
            best = [e.model for e in rank(here, plan.judged_by)][: (len(here) + 1) // 2]
            alive, done = [c for c in plan.candidates if c.model in best], amount

    def _keep(self) -> None:
        self.start.begun.used = self.start.meter.used
        self.start.begun.write(self.request.out)

    def _round(self, number: int, alive: list[Candidate], done: float, amount: float) -> bool:
        """Says whether every candidate finished the round, or failed."""
        begun = self.start.begun
        for place, candidate in enumerate(alive):
            if begun.knows(candidate.model, number):
                continue
            fits = (amount - done) * begun.rate + begun.overhead <= self.start.meter.left
            if not fits or not self._trial(candidate, number, done, amount):
                self.stopped_early = f"the budget was used up in round {number}, before {candidate.model}"
                if number == 1:
                    names = [c.model for c in alive[place:]]
                    self.too_late |= dict.fromkeys(names, "the budget was used up before its trial")
                return False
            self._keep()
        return True

    def _trial(self, candidate: Candidate, number: int, done: float, amount: float) -> bool:
        """Trains on to `amount` and measures; False where the time ran out while training."""
        meter, begun, model = self.start.meter, self.start.begun, candidate.model
        plan = begun.plan
        self.bar.update(meter.used, f"round {number}: {model}")
        begin, deadline = meter.used, meter.deadline(begun.overhead)
        before = [e for e in begun.evidence if e.model == model]
        folder = self.request.out / TRIALS / model
        try:
            result = self._train(candidate, folder, f"{amount:.1f}{plan.unit}", bool(before), deadline)
        except PackshotError as e:
            begun.failed[model] = str(e)
            self.bar.say(f"Round {number}: {model} went wrong: {e}")
            return True
        if result.state != "finished":
            if deadline is None or time.monotonic() < deadline:
                raise PackshotError(
                    f"Stopped by the user; the trials so far are runs in {self.request.out / TRIALS}; the same command "
                    f"with --out {self.request.out} goes on."
                )
            return False
        if not result.images:
            begun.not_reached[model] = "its share of the budget was used up before its first step"
            self.bar.say(f"Round {number}: {model} did not begin: {begun.not_reached[model]}.")
            return True
        figures, sample_cost = self.yardstick.measure(load_generator(RunFolder(folder).model_file))
        trained = result.cpu_seconds if plan.unit == "cpu-s" else result.seconds
        row = Evidence(
            model=model,
            round=number,
            trained=round(trained, 1),
            images=result.images,
            train_cost=trained / result.images,
            sample_cost=sample_cost,
            seconds=round(meter.used - begin, 1),
            figures=figures,
        )
        self._learn_costs(row, before, result)
        begun.evidence.append(row)
        self._keep()
        append_jsonl(self.request.out / "trials.jsonl", asdict(row))
        self.bar.say(f"Round {number}: {model} {_short(row, plan.judged_by)}, {row.seconds:.0f} s")
        return True

    def _train(
        self, candidate: Candidate, folder: Path, budget: str, again: bool, deadline: float | None
    ) -> training.TrainResult:
        devices = Devices(accelerator=self.start.accelerator)
        if not again and folder.is_dir() and not RunFolder(folder).run_file.is_file():
            shutil.rmtree(folder)  # Killed before it had begun.
        if again or folder.is_dir():
            result = training.resume(folder, budget=budget, devices=devices, quiet=True, deadline=deadline)
        else:
            facts = self.start.begun.plan.facts
            limit = (f"data.limit={facts.seen}",) if facts.held else ()
            config = resolve_config(
                model=candidate.model,
                settings=(*candidate.settings, *QUIET_LOOP, *limit),
                budget=budget,
                seed=self.request.seed,
                size=facts.size,
            )
            catalog = self.request.catalog
            result = training.train(
                catalog, folder, config, devices=devices, command="packshot advise", quiet=True, deadline=deadline
            )
        assert result is not None  # One device: this is the first rank.
        return result

    def _learn_costs(self, row: Evidence, before: list[Evidence], result: training.TrainResult) -> None:
        """What this trial cost is what the next ones are expected to cost."""
        begun = self.start.begun
        total = result.seconds if self.start.meter.kind == "seconds" else result.cpu_seconds
        loop, begun.paid[row.model] = total - begun.paid.get(row.model, 0.0), total
        trained = row.trained - (before[-1].trained if before else 0.0)
        latest = {e.model: e.trained for e in [*begun.evidence, row]}
        begun.rate = (sum(begun.paid.values()) / sum(latest.values()) + loop / max(trained, 0.1)) / 2
        begun.beside.append(max(0.0, row.seconds - loop))
        begun.overhead = max(begun.beside[-3:])


def _short(row: Evidence, name: str) -> str:
    figure: Any = row.figures[name]
    return f"{name} -" if figure.value is None else f"{name} {figure.value:.3g} [{figure.low:.3g}, {figure.high:.3g}]"
