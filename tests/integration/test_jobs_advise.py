"""`packshot advise` that is killed: the same command, as the studio's jobs give it again, goes on; nothing is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from packshot.core.errors import PackshotError
from packshot.tasks import advise as task
from packshot.tasks.advise_begun import Meter, read_begun
from packshot.tasks.advise_plan import Candidate
from packshot.training.run import TrainResult

from .conftest import ENVIRONMENT
from .test_advise import Stubs, request_of

KID = {"latent": 4.0, "vae": 2.0, "vae-gan": 1.0, "hvae": 3.0}
SHORT = """
import sys
from packshot.tasks import advise, advise_plan
advise.LEAST_TRIAL = advise_plan.LEAST_TRIAL = advise_plan.START_COST = 0.5
from packshot.cli.main import main
main(sys.argv[1:])
"""
"""`packshot` with trials as short as a test has to be."""


class Killed(BaseException):
    """What stands for a kill: nothing catches it."""


class Steps:
    """Stubbed trials that are killed before or after the step with a number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int | None = None) -> None:
        self.stubs, self.at, self.count = Stubs(monkeypatch, KID), at, 0
        trained: Callable[..., TrainResult] = task._Trials._train  # type: ignore[assignment]
        measured = self.stubs.measure

        def train(
            trials: object, candidate: Candidate, folder: Path, budget: str, again: bool, deadline: float | None
        ) -> TrainResult:
            self.step()
            result = trained(trials, candidate, folder, budget, again, deadline)
            self.step()
            return result

        def measure(model: str) -> object:
            found = measured(model)
            self.step()
            return found

        monkeypatch.setattr(task._Trials, "_train", train)
        monkeypatch.setattr(self.stubs, "measure", measure)

    def step(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise Killed


def without_times(result: task.AdviseResult) -> dict[str, object]:
    """What does not depend on when it was done."""
    table = asdict(result)
    table["evidence"] = [
        {k: v for k, v in row.items() if k in ("model", "round", "figures")} for row in table["evidence"]
    ]
    return {k: table[k] for k in ("model", "evidence", "failed", "stopped_early")}


@pytest.mark.parametrize("at", [1, 2, 3, 6, 10, 13, 18])
def test_killed_at_any_step_the_same_request_goes_on(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    with monkeypatch.context() as patch:
        whole = Steps(patch)
        wanted = task.advise(request_of(catalog, tmp_path / "whole"))
    assert whole.count == 18
    out = tmp_path / "killed"
    with monkeypatch.context() as patch:
        first = Steps(patch, at)
        with pytest.raises(Killed):
            task.advise(request_of(catalog, out))
    done = (at - 1) // 3  # Three steps a trial.
    assert not (out / "advise.json").exists()
    with (out / "trials.jsonl").open("a") as f:
        f.write('{"model": "tor')  # As a kill leaves a line.
    with monkeypatch.context() as patch:
        second = Steps(patch)
        result = task.advise(request_of(catalog, out))
    assert without_times(result) == without_times(wanted)
    assert first.stubs.calls[:done] + second.stubs.calls == whole.stubs.calls
    rows = [json.loads(line)["model"] for line in (out / "trials.jsonl").read_text().splitlines()]
    assert rows == [name for name, _ in whole.stubs.calls]
    assert asdict(task.advise(request_of(catalog, out))) == asdict(result)  # Given again at once.


def test_what_a_killed_start_used_of_the_budget_is_used(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Steps(monkeypatch, 10)
    with pytest.raises(Killed):
        task.advise(request_of(catalog, tmp_path))
    state = json.loads((tmp_path / "begun.json").read_text())
    (tmp_path / "begun.json").write_text(json.dumps(state | {"used": 595.0}))
    Steps(monkeypatch)
    result = task.advise(request_of(catalog, tmp_path))
    assert result.seconds >= 595
    assert result.stopped_early == "the budget was used up in round 1, before hvae"
    assert result.not_tried["hvae"] == "the budget was used up before its trial"
    meter = Meter.of("10m", 60.0)
    assert 538 - 18 < meter.left < 540 - 18 + 0.1


def test_other_advice_in_the_folder_is_refused(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Steps(monkeypatch, 5)
    with pytest.raises(Killed):
        task.advise(request_of(catalog, tmp_path))
    before = (tmp_path / "begun.json").read_bytes()
    with pytest.raises(PackshotError, match="choose another --out"):
        read_begun(tmp_path, {"need": "sharp"})
    (tmp_path / "begun.json").write_text("{")
    with pytest.raises(PackshotError, match="choose another --out"):
        task.advise(request_of(catalog, tmp_path))
    (tmp_path / "begun.json").unlink()  # As an older version left it.
    (tmp_path / "trials").mkdir()
    with pytest.raises(PackshotError, match="choose another --out"):
        task.advise(request_of(catalog, tmp_path))
    assert before


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_kill_in_a_real_trial(catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "advice"
    words = ["advise", str(catalog), "--need", "similar", "--budget", "20cpu-s", "--device", "cpu", "--out", str(out)]
    command = [sys.executable, "-c", SHORT, *words, "--json"]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)

    kills = 0
    for wanted in (lambda: any(out.glob("trials/*/log.jsonl")), lambda: rows(out) >= 1):
        process = start()
        until = time.monotonic() + 120
        while not wanted() and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills == 2
    before = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()]
    process = start()
    said, told = process.communicate(timeout=240)
    assert process.returncode == 0, told
    assert "Going on with advice that was cut off" in told
    result = json.loads(said)
    assert result["evidence"][: len(before)] == before
    assert result["failed"] == {}
    assert result["seconds"] < 20 + 3
    pairs = [(row["model"], row["round"]) for row in result["evidence"]]
    assert len(pairs) == len(set(pairs)) > len(before)


def rows(out: Path) -> int:
    path = out / "trials.jsonl"
    return path.read_text().count("\n") if path.exists() else 0
