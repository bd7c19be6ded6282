"""Leave-last-out: what is asked, what may be learned, and figures that a loop confirms."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from packshot.core.errors import PackshotError
from packshot.taste.compare import columns_with_events, compare, with_events
from packshot.taste.fit import fit_preference
from packshot.taste.interactions import HALF_LIFE_DAYS, WEIGHTS, from_events
from packshot.taste.measure import Asked, difference, hold_out, measure, rank_targets, scorer
from tests.shoppers import fast_default, features_of, shoppers


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    with fast_default():
        yield


SCORES = st.lists(st.integers(0, 4), min_size=6, max_size=40)


@given(SCORES, st.integers(0, 5), st.sets(st.integers(0, 5)))
def test_ranks_are_what_a_loop_finds(scores: list[int], target: int, touched: set[int]) -> None:
    n, touched = len(scores), touched | {target}  # The target is of the user's own history.
    seen = csr_matrix(([-1.0] * len(touched), ([0] * len(touched), list(touched))), shape=(1, n))
    asked = Asked(np.array([0]), np.array([target]), np.ones(n, bool))
    ranks = rank_targets(lambda u: np.array([scores], np.float32), asked, seen)
    others = [s for i, s in enumerate(scores) if i not in touched]
    assert ranks.rivals[0] == len(others)
    # Ties are broken in every order: the mean over all places that the target can take among its equals.
    above, equal = sum(s > scores[target] for s in others), sum(s == scores[target] for s in others)
    places = [above + i for i in range(equal + 1)]
    assert ranks.auc[0] == pytest.approx(1 - np.mean(places) / max(len(others), 1))
    assert ranks.ndcg()[0] == pytest.approx(np.mean([1 / np.log2(p + 2) if p < 20 else 0 for p in places]))
    assert ranks.hits(3)[0] == pytest.approx(np.mean([p < 3 for p in places]))


def test_a_model_that_says_the_same_of_all_is_worth_half() -> None:
    held = hold_out(shoppers().interactions(WEIGHTS, HALF_LIFE_DAYS))
    figures = {f.name: f for f in measure(lambda u: np.zeros((len(u), 60), np.float32), held, "x")}
    assert figures["auc_x"].value == 0.5 and figures["cold_auc_x"].value == 0.5
    assert figures["hit20_x"].value == pytest.approx(20 / 45, abs=0.05)


def test_nothing_that_is_asked_can_be_learned() -> None:
    interactions = shoppers().interactions(WEIGHTS, HALF_LIFE_DAYS)
    held = hold_out(interactions, seed=2)
    train = held.train.matrix.toarray()
    assert (train[held.warm.users, held.warm.targets] == 0).all()
    assert (held.warm.targets == interactions.last[held.warm.users]).all()
    assert held.cold.among.sum() == 6 and (train[:, held.cold.among] == 0).all()
    assert held.cold.among[held.cold.targets].all() and not (held.warm.among & held.cold.among).any()
    assert (interactions.matrix.toarray()[held.cold.users, held.cold.targets] > 0).all()
    assert len(set(held.cold.users.tolist())) == len(held.cold.users)


def test_pictures_of_cold_products_do_not_change_a_model() -> None:
    """No leak: directions of features, weights and scores of warm products know nothing of what is cold."""
    made = shoppers(users=40)
    features = features_of(made)
    held = hold_out(made.interactions(WEIGHTS, HALF_LIFE_DAYS))
    other = features.copy()
    other[held.cold.among] = np.random.default_rng(1).normal(size=other[held.cold.among].shape)
    for name in ("vbpr", "dvbpr", "hybrid"):
        one, two = (fit_preference(name, held.train, f) for f in (features, other))
        assert (one.factors[held.warm.among] == two.factors[held.warm.among]).all()
        assert (one.profiles == two.profiles).all()
        assert (one.factors[held.cold.among] != two.factors[held.cold.among]).any()


def test_intervals_and_the_difference() -> None:
    made = shoppers(users=300)
    held = hold_out(made.interactions(WEIGHTS, HALF_LIFE_DAYS))
    truth = made.truth
    good = lambda users: truth.utilities(users)  # noqa: E731
    bad = lambda users: -truth.utilities(users)  # noqa: E731
    auc = measure(good, held, "truth")[0]
    assert auc.value is not None and auc.low < auc.value < auc.high and auc.high - auc.low < 0.1
    gain = difference(good, bad, held, "x")[0]
    assert gain.value == pytest.approx(2 * auc.value - 1) and gain.low > 0.3


def test_a_report_goes_on_without_pictures() -> None:
    held = hold_out(shoppers(users=40).interactions(WEIGHTS, HALF_LIFE_DAYS))
    report = compare(held, None, models=("popularity", "vbpr"))
    assert set(report.models) == {"random", "popularity"} and report.gain is None
    assert "vbpr was not measured: The model 'vbpr' ranks by pictures" in report.warnings[0]


def test_products_without_events_are_no_answers() -> None:
    rows, columns = np.array([0, 0, 1, 1]), np.array([1, 3, 3, 1])
    found = with_events(
        from_events(["a", "b"], ["p", "q", "r", "s"], rows, columns, np.ones(4, np.float32), np.arange(4))
    )
    assert found.items == ["q", "s"] and found.last.tolist() == [1, 0]
    assert columns_with_events(found).tolist() == [0, 1]
    with pytest.raises(PackshotError, match="Fewer than two shoppers"):
        hold_out(from_events(["a"], ["p"], rows[:1], columns[:1] * 0, np.ones(1, np.float32), np.arange(1)))


def test_scores_of_a_model_are_those_of_its_users() -> None:
    interactions = shoppers(users=30).interactions(WEIGHTS, HALF_LIFE_DAYS)
    model = fit_preference("popularity", interactions)
    assert (scorer(model)(np.array([3, 3]))[0] == model.scores(interactions.users[3])).all()
