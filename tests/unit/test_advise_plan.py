"""What `advise` plans, and how it chooses: no training here."""

import dataclasses
import itertools
import math
import re
import shlex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.core.errors import UsageError
from packshot.evaluation.figures import Figure
from packshot.models.table import PICTURE_MODELS
from packshot.tasks import advise_plan
from packshot.tasks.advise_choice import Choice, Evidence, cheaper, choose, rank, table_lines
from packshot.tasks.advise_needs import FIGURE_WORDS, NEEDS
from packshot.tasks.advise_plan import (
    CatalogFacts,
    Costs,
    Plan,
    make_plan,
    measure_variety,
    plan_lines,
    round_sizes,
    share_rounds,
)
from packshot.training.presets import resolve_config

FACTS = CatalogFacts(
    train=4000, test=800, categories={"Hat": 3970, "Top": 30}, native=128, size=64, channels=3, variety=1.2
)
COSTS = Costs(rate=0.5, cpu=0.5, feature=0.001, waiting=(800, 4000))


def plan_of(need: str, left: float = 600.0, **changes: object) -> Plan:
    return make_plan(need, dataclasses.replace(FACTS, **changes), left, COSTS, "cpu-s")


def figure(value: float | None, half: float = 0.0) -> Figure:
    made = Figure(name="kid", n=250, n_real=250, seed=0, meaning="", protocol="", warning="too few")
    return made if value is None else made.measured(value, (value - half, value + half))


def row(
    model: str, value: float | None, half: float = 0.0, *, number: int = 1, train: float = 1.0, **more: Figure
) -> Evidence:
    return Evidence(
        model=model,
        round=number,
        trained=20.0 * number,
        images=100,
        train_cost=train,
        sample_cost=0.01,
        seconds=9.0,
        figures={"kid": figure(value, half), **more},
    )


@pytest.mark.parametrize("need", NEEDS)
def test_a_need_speaks_of_every_model_of_the_table_once(need: str) -> None:
    wanted = NEEDS[need]
    assert {*wanted.candidates, *wanted.not_tried} == set(PICTURE_MODELS)
    assert not {*wanted.candidates} & {*wanted.not_tried}
    assert "gan-reference" not in wanted.candidates
    assert wanted.judged_by in FIGURE_WORDS


@pytest.mark.parametrize("need", NEEDS)
@pytest.mark.parametrize("train", [500, 4000])
def test_settings_of_candidates_are_settings_of_their_models(need: str, train: int) -> None:
    for candidate in plan_of(need, 6000.0, train=train).candidates:
        config = resolve_config(model=candidate.model, settings=candidate.settings)
        if PICTURE_MODELS[candidate.model].family == "gan" and train < 2000:
            assert config.objective.augment == "diffaugment"
        if train >= 2000:
            assert candidate.settings == ()


@pytest.mark.parametrize("need", NEEDS)
def test_no_candidate_is_trained_on_the_features_that_judge_it(need: str) -> None:
    assert "projected" not in NEEDS[need].candidates


def test_an_unknown_need_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'sharp'"):
        plan_of("shrap")


@given(st.integers(1, 30))
def test_rounds_halve_down_to_two(n: int) -> None:
    sizes = round_sizes(n)
    assert sizes[0] == n
    assert sizes[-1] == min(n, 2)
    assert all(b == math.ceil(a / 2) for a, b in itertools.pairwise(sizes))


@given(st.integers(1, 12), st.floats(50, 5000), st.floats(0, 1), st.floats(0.2, 8), st.floats(0, 50))
def test_rounds_cost_the_same_and_use_up_what_is_left(
    n: int, left: float, overhead: float, rate: float, done: float
) -> None:
    sizes = round_sizes(n)
    rounds = share_rounds(sizes, left, overhead, rate, done)
    before, spent = done, []
    for r in rounds:
        spent.append((r.amount - before) * rate * r.trials)
        before = r.amount
    rounding = 0.1 * rate * max(sizes)
    assert max(spent) - min(spent) <= 2 * rounding
    assert sum(spent) + overhead * sum(sizes) == pytest.approx(
        max(left * 0.9, overhead * sum(sizes)), abs=rounding * len(sizes)
    )


@pytest.mark.parametrize("left", [60.0, 150.0, 600.0, 6000.0])
def test_a_plan_fits_its_budget_and_more_budget_is_more_trials(left: float) -> None:
    plan = plan_of("sharp", left)
    total, before = plan.prepare, 0.0
    for r in plan.rounds:
        total += r.trials * ((r.amount - before) * COSTS.rate + plan.overhead)
        before = r.amount
    assert total <= left
    assert plan.rounds[0].amount >= advise_plan.LEAST_TRIAL * 4, "at 64 px a trial needs four times as much as at 32"
    assert len(plan.candidates) == plan.rounds[0].trials
    assert {c.model for c in plan.candidates} | set(plan.not_tried) == set(PICTURE_MODELS)
    assert len(plan_of("sharp", 2 * left).candidates) >= len(plan.candidates)


def test_a_budget_that_is_too_short_says_what_is_enough() -> None:
    with pytest.raises(UsageError, match=r"take about \d+ s") as refused:
        plan_of("sharp", 25.0)
    enough = float(str(refused.value).split("take about ")[1].split()[0])
    assert len(plan_of("sharp", enough + 1).candidates) >= 2


def test_copies_are_left_out_where_the_features_would_eat_the_budget() -> None:
    slow = dataclasses.replace(COSTS, waiting=(0, 60_000))
    plan = make_plan("sharp", dataclasses.replace(FACTS, train=60_000), 240.0, slow, "cpu-s")
    assert not plan.copies
    assert "Copies are not looked for" in " ".join(plan_lines(plan))
    assert plan_of("sharp").copies


@pytest.mark.parametrize(
    ("need", "test", "trials"), [("sharp", 199, False), ("repair", 199, True), ("repair", 29, False)]
)
def test_too_few_test_photos_for_the_figure_make_no_trials(need: str, test: int, trials: bool) -> None:
    plan = plan_of(need, test=test)
    assert bool(plan.rounds) == trials
    assert not plan.copies
    if not trials:
        assert "too few" in plan.notes[-1]
        choice = choose(plan, [], 0)
        assert choice.model == plan.candidates[0].model
        assert "not a measurement" in choice.reasons[0]


def test_plan_lines_say_the_cost_and_every_model() -> None:
    text = "\n".join(plan_lines(plan_of("sharp")))
    assert "at most 600 s" in text
    assert "MB of memory" in text
    assert "fewer than 50 training photos" in text
    for name in PICTURE_MODELS:
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", text), name


def test_variety_of_equal_and_of_unrelated_thumbnails() -> None:
    rows, labels = np.eye(6, dtype=np.float32), np.array([0, 0, 0, 1, 1, 2])
    assert measure_variety(rows, labels) == pytest.approx(math.sqrt(2))
    assert measure_variety(np.repeat(rows[:1], 6, 0), labels) == pytest.approx(0)
    assert measure_variety(rows[:2], np.array([0, 1])) is None
    # Photos of other categories do not count: two pairs, one equal and one opposite.
    pairs = np.array([[1, 0], [1, 0], [0, 1], [0, -1]], np.float32)
    assert measure_variety(pairs, np.array([0, 0, 1, 1])) == pytest.approx(1.0)


def chosen(rows: list[Evidence], decisive: int = 1) -> Choice:
    return choose(plan_of("sharp"), rows, decisive)


def test_a_clear_winner_wins_though_it_is_dear() -> None:
    choice = chosen([row("dcgan", 0.3, 0.01, train=0.1), row("latent", 0.1, 0.01, train=9.0)])
    assert choice.model == "latent"
    assert "do not overlap" in choice.reasons[0]


def test_overlap_gives_the_cheaper_one_and_says_so() -> None:
    choice = chosen([row("dcgan", 0.12, 0.02, train=0.1), row("latent", 0.1, 0.01, train=9.0), row("r3gan", 0.5)])
    assert choice.model == "dcgan"
    assert "no difference shown" in choice.reasons[0]
    assert "r3gan" not in choice.reasons[0]


def test_of_equal_training_costs_sampling_decides() -> None:
    quick = dataclasses.replace(row("latent", 0.1, train=1.05), sample_cost=0.001)
    assert cheaper([row("dcgan", 0.1), quick]).model == "latent"
    assert cheaper([row("dcgan", 0.1), dataclasses.replace(quick, train_cost=1.5)]).model == "dcgan"


def test_rows_without_a_value_come_last_and_never_win() -> None:
    rows = [row("dcgan", None, train=0.1), row("latent", 0.2), row("r3gan", -0.001)]
    assert [r.model for r in rank(rows, "kid")] == ["r3gan", "latent", "dcgan"]
    assert chosen(rows).model == "r3gan"


def test_those_left_behind_are_named_with_what_their_round_showed() -> None:
    rows = [row("stylegan2", 0.5, 0.01), row("dcgan", 0.11, 0.02), row("latent", 0.1, 0.01), row("r3gan", 0.1, 0.01)]
    rows += [row("latent", 0.05, 0.001, number=2), row("r3gan", 0.08, 0.001, number=2)]
    choice = chosen(rows, 2)
    assert choice.model == "latent"
    behind = {r.split()[0]: r for r in choice.reasons if "stopped after round 1" in r}
    assert set(behind) == {"stylegan2", "dcgan"}
    assert "do not overlap" in behind["stylegan2"]
    assert "no difference" in behind["dcgan"]


def test_copies_above_what_unseen_photos_give_are_a_caution() -> None:
    heart = chosen([row("latent", 0.1, copies=figure(0.2, 0.05))])
    assert "by heart" in " ".join(heart.reasons)
    fine = chosen([row("latent", 0.1, copies=figure(0.02, 0.015))])
    assert "by heart" not in " ".join(fine.reasons)


def test_the_table_has_a_dash_where_there_is_no_value() -> None:
    lines = table_lines([row("latent", 0.1234, 0.01), row("dcgan", None)], "cpu-s")
    assert "0.123 [0.113, 0.133]" in lines[1]
    assert shlex.split(lines[2])[3] == "-"
    assert "recall" not in lines[0]


@pytest.mark.parametrize(
    ("train", "test", "least", "held"),
    [(450, 50, 200, 150), (324, 36, 200, 0), (330, 36, 200, 164), (4000, 800, 200, 0), (40, 24, 30, 6), (9, 24, 30, 0)],
)
def test_photos_are_held_back_where_that_leaves_enough_to_learn_from(
    train: int, test: int, least: int, held: int
) -> None:
    assert advise_plan.held_back(train, test, least) == held


def test_photos_that_are_held_back_judge_and_do_not_train() -> None:
    plan = plan_of("sharp", train=450, test=50, held=150)
    assert plan.rounds and plan.copies
    assert "150 training photos judge beside them: the trials learn from the other 300" in " ".join(plan_lines(plan))
    assert not plan_of("sharp", train=450, test=50).rounds
    few = plan_of("repair", train=70, test=10, held=20)
    assert all("loop.batch_size=16" in c.settings for c in few.candidates), "50 photos do not fill a batch of 64"
