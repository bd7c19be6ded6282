"""The model of choice, names of what is seen, what is asked of a generator: closed forms and known tastes."""

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from packshot.models.conditions import Conditions
from packshot.taste.asking import spread_attributes, wishes_of, with_wishes
from packshot.taste.choice import ChoiceSettings, fit_choice
from packshot.taste.history import Chooser, counts_of
from packshot.taste.interactions import HALF_LIFE_DAYS, WEIGHTS
from packshot.taste.named import Named, describe_looks
from packshot.taste.picks import Shop, climb
from packshot.taste.preference import Preference, load_preference
from packshot.taste.simulate import Simulated
from tests.shoppers import CATEGORIES, draw, features_of, shoppers


@pytest.fixture(scope="module")
def made() -> Simulated:
    return shoppers(users=300, products=120, events=15, seed=3)


@pytest.fixture(scope="module")
def named(made: Simulated) -> Named:
    return Named(features_of(made), describe_looks(made.images), [CATEGORIES[i] for i in made.truth.labels.tolist()])


@pytest.fixture(scope="module")
def model(made: Simulated, named: Named) -> Preference:
    rows = np.concatenate([named.features, named.rows], axis=1)
    return fit_choice(made.interactions(WEIGHTS, HALF_LIFE_DAYS), rows, named.rows.shape[1])


def test_tastes_and_fame_are_told_apart(made: Simulated, named: Named, model: Preference) -> None:
    true = made.truth.utilities()
    guessed = model.profiles @ model.factors.T
    near = np.mean([np.corrcoef(g, t)[0, 1] for g, t in zip(guessed, true, strict=True)])
    assert near > 0.75
    assert np.corrcoef(model.bias[model.warm], made.truth.fame[model.warm])[0, 1] > 0.6
    blind = fit_choice(made.interactions(WEIGHTS, HALF_LIFE_DAYS), named.features)
    without = np.mean([np.corrcoef(g, t)[0, 1] for g, t in zip(blind.profiles @ blind.factors.T, true, strict=True)])
    assert near > without + 0.05


def drawn_picks(users: int, seed: int = 0) -> tuple[Shop, csr_matrix, np.ndarray, np.ndarray]:
    """A shop of 30 products of which 20 are rivals, 8 picks of each shopper, and mean and covariance of the tastes."""
    rng = np.random.default_rng(seed)
    x, fame = rng.normal(size=(30, 3)).astype(np.float32), rng.normal(size=30).astype(np.float32)
    mean, root = rng.normal(size=3).astype(np.float32), rng.normal(size=(3, 3))
    covariance = (root @ root.T + np.eye(3)).astype(np.float32)
    picks = np.zeros((users, 30), np.float32)
    for row in picks:
        np.add.at(row, rng.integers(0, 30, 8), 1)
    return Shop(x, fame, np.sort(rng.permutation(30)[:20]), 20 / 30), csr_matrix(picks), mean, covariance


def test_a_taste_is_the_maximum_of_the_posterior_and_its_covariance_the_curvature_there() -> None:
    shop, picks, mean, covariance = drawn_picks(2)
    precision = np.linalg.inv(covariance.astype(float))
    found = climb(shop, picks, mean, covariance, np.tile(mean, (2, 1)), steps=40)

    def loss(row: int, w: np.ndarray) -> float:
        """From the definition: own picks stand for themselves, the other rivals for all the rest."""
        scores, own = shop.x.astype(float) @ w + shop.fame, picks[row].toarray()[0]
        others = np.setdiff1d(shop.rivals, np.flatnonzero(own))
        total = np.exp(scores[others]).sum() / shop.part + np.exp(scores[own > 0]).sum()
        away = w - mean
        return float(own.sum() * np.log(total) - own @ scores + away @ precision @ away / 2)

    rng = np.random.default_rng(1)
    step, axes = 1e-3, np.eye(3) * 1e-3
    for row, w in enumerate(found.tastes.astype(float)):
        assert all(loss(row, w + 0.05 * rng.normal(size=3)) > loss(row, w) for _ in range(50))
        bent = [
            [(loss(row, w + a + b) - loss(row, w + a - b) - loss(row, w - a + b) + loss(row, w - a - b)) / 4 / step**2
             for b in axes] for a in axes
        ]  # fmt: skip
        assert found.covariances[row] == pytest.approx(np.linalg.inv(bent), rel=0.02, abs=0.01)
    drawn = found.draw(1, 30_000, rng)
    assert drawn.mean(0) == pytest.approx(found.tastes[1], abs=0.03)
    assert np.cov(drawn.T) == pytest.approx(found.covariances[1], rel=0.05, abs=0.03)


def test_who_liked_nothing_is_like_all_and_more_picks_make_surer(model: Preference, made: Simulated) -> None:
    history = model.history
    assert isinstance(history, Chooser)
    nothing = csr_matrix((1, len(model.items)), dtype=np.float32)
    assert model.fold_in(nothing)[0] == pytest.approx(history.mean.numpy(), abs=1e-4)
    assert history.possible(nothing).covariances[0] == pytest.approx(history.covariance.numpy(), rel=1e-3, abs=1e-3)
    returns = csr_matrix((np.array([-5.0], np.float32), ([0], [3])), shape=nothing.shape)
    assert model.fold_in(returns)[0] == pytest.approx(history.mean.numpy(), abs=1e-4)
    whole = made.interactions(WEIGHTS, HALF_LIFE_DAYS).matrix[:20]
    few = whole.copy()
    few.data[np.arange(few.nnz) % 15 > 3] = 0
    few.eliminate_zeros()
    rng = np.random.default_rng(0)

    def unsure(histories: csr_matrix) -> float:
        found = history.possible(histories)
        drawn = np.stack([found.draw(u, 60, rng) for u in range(histories.shape[0])])
        return float((drawn @ model.factors.T).std(1).mean())

    assert unsure(whole) < 0.85 * unsure(few) and unsure(few) < 0.95 * unsure(csr_matrix(whole.shape, dtype=np.float32))
    counts = counts_of(csr_matrix(np.array([[16.0, -2.0, 1.0]], np.float32)), 0.25)
    assert counts.toarray().tolist() == [[2.0, 0.0, 1.0]]


def test_products_that_are_no_rivals_are_not_taken_for_what_all_like(made: Simulated, named: Named) -> None:
    rows = np.concatenate([named.features, named.rows], axis=1)
    history = made.interactions(WEIGHTS, HALF_LIFE_DAYS)
    true = made.truth.utilities()

    def near(rivals: int) -> float:
        model = fit_choice(history, rows, named.rows.shape[1], ChoiceSettings(rivals=rivals))
        guessed = model.profiles @ model.factors.T
        return float(np.mean([np.corrcoef(g, t)[0, 1] for g, t in zip(guessed, true, strict=True)]))

    assert near(80) > near(120) - 0.06


def test_fewer_rivals_than_products_and_a_round_trip(
    made: Simulated, named: Named, model: Preference, tmp_path: Path
) -> None:
    rows = np.concatenate([named.features, named.rows], axis=1)
    settings = ChoiceSettings(rivals=100, users=200)
    some = fit_choice(made.interactions(WEIGHTS, HALF_LIFE_DAYS), rows, named.rows.shape[1], settings)
    alike = [
        np.corrcoef(a, b)[0, 1] for a, b in zip(some.score(some.profiles), model.score(model.profiles), strict=True)
    ]
    assert np.mean(alike) > 0.8
    some.save(tmp_path)
    again = load_preference(tmp_path)
    assert isinstance(again.history, Chooser)
    matrix = made.interactions(WEIGHTS, HALF_LIFE_DAYS).matrix[:5]
    assert np.array_equal(again.fold_in(matrix), some.fold_in(matrix))
    assert np.array_equal(again.score_features(again.profiles[0], rows), some.score_features(some.profiles[0], rows))


def test_names_of_products_and_of_pictures(named: Named) -> None:
    assert named.rows.shape == (120, len(named.names)) and sorted(named.kinds) == sorted(CATEGORIES)
    pictures, labels = draw(40, seed=9)
    features = features_of_pictures(pictures)
    numbers = named.of(features, pictures)
    kinds = numbers[:, : len(named.kinds)]
    near = named.labels[named.nearest(features)]
    assert set(np.unique(kinds)) == {0, 1} and (kinds.sum(1) == 1).all()
    assert all((row == k).sum() == np.bincount(row).max() for row, k in zip(near, kinds.argmax(1), strict=True))
    right = [seen == CATEGORIES[y] for seen, y in zip(named.category(numbers), labels.tolist(), strict=True)]
    assert np.mean(right) > 0.8
    shape = named.names.index("length")
    assert numbers[labels == 0, shape].mean() > numbers[labels == 1, shape].mean() + 1  # Tall, and wide.
    # A product that is looked at anew has its own measures.
    own = named.of(named.features[:9], draw_of(named)[:9])
    assert own[:, shape : shape + 4] == pytest.approx(named.rows[:9, shape : shape + 4], abs=1e-5)
    unknown = Named(named.features, named.looks, [None] * 120)
    assert unknown.kinds == [] and unknown.category(unknown.rows) == [None] * 120
    assert unknown.of(features, pictures).shape == (40, len(unknown.names))
    some = Named(named.features, named.looks, ["shirt"] + [None] * 119)
    assert not some.of(features, pictures)[:, 0].any()  # One of seven is known.
    most = Named(named.features, named.looks, [k if i % 4 else None for i, k in enumerate(named.categories)])
    sums = most.of(features, pictures)[:, : len(most.kinds)].sum(1)
    assert set(np.unique(sums)) <= {0, 1} and sums.mean() > 0.5


def draw_of(named: Named) -> np.ndarray:
    return shoppers(users=300, products=120, events=15, seed=3).images


def features_of_pictures(pictures: np.ndarray) -> np.ndarray:
    from dataclasses import replace

    base = shoppers(users=2, products=20, events=2)
    return features_of(replace(base, images=pictures))


def test_what_is_liked_is_asked_of_the_generator() -> None:
    known = Conditions({"colour": ("red", "blue"), "sleeve": ("long", "short", "none")})
    cond = spread_attributes(known, 48, 2)
    assert cond.shape == (48, 5) and not cond[:2].any() and cond[2:4].any()
    scores = 1.0 * cond[:, 1] - 0.5 * cond[:, 0]
    wishes = wishes_of(known, scores.astype(np.float32), cond)
    assert [(w.attribute, w.value) for w in wishes] == [("colour", "blue")]
    asked = scores[cond[:, 1] > 0].mean() - scores[cond.any(1)].mean()
    assert wishes[0].gain == pytest.approx(asked, abs=1e-3)
    wished = with_wishes(known, cond, wishes)
    assert (wished[1::2, 1] == 1).all() and (wished[1::2, 0] == 0).all()
    assert np.array_equal(wished[::2], cond[::2]) and np.array_equal(wished[:, 2:], cond[:, 2:])
    assert wishes_of(known, np.zeros(48, np.float32), cond) == []
    assert spread_attributes(None, 3, 1).shape == (3, 0) and with_wishes(None, cond, []) is cond
