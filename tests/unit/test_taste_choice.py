"""The model of choice, names of what is seen, what is asked of a generator: closed forms and known tastes."""

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from packshot.models.conditions import Conditions
from packshot.taste.asking import spread_attributes, wishes_of, with_wishes
from packshot.taste.choice import ChoiceSettings, fit_choice
from packshot.taste.history import Chooser, counts_of, newton
from packshot.taste.interactions import HALF_LIFE_DAYS, WEIGHTS
from packshot.taste.named import Named, describe_looks
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


def test_a_profile_is_the_maximum_of_the_posterior_and_its_spread_the_curvature_there() -> None:
    rng = np.random.default_rng(0)
    x, fame = rng.normal(size=(30, 3)).astype(np.float32), rng.normal(size=30).astype(np.float32)
    mean, root = rng.normal(size=3).astype(np.float32), rng.normal(size=(3, 3))
    covariance = (root @ root.T + np.eye(3)).astype(np.float32)
    picks = rng.integers(0, 30, 8)
    total, number = x[picks].sum(0)[None], np.array([8.0], np.float32)

    def loss(w: np.ndarray) -> float:
        scores = x.astype(float) @ w + fame
        away = w - mean
        return float(
            8 * np.logaddexp.reduce(scores) - scores[picks].sum() + away @ np.linalg.inv(covariance) @ away / 2
        )

    w, spread = newton(x, fame, total, number, mean, covariance, np.zeros((1, 3), np.float32), steps=30)
    best = w[0].astype(float)
    assert all(loss(best + 0.05 * rng.normal(size=3)) > loss(best) for _ in range(50))
    step, bent = 1e-3, np.zeros((3, 3))
    for i, a in enumerate(np.eye(3) * step):
        for j, b in enumerate(np.eye(3) * step):
            bent[i, j] = (
                (loss(best + a + b) - loss(best + a - b) - loss(best - a + b) + loss(best - a - b)) / 4 / step**2
            )
    assert spread[0] == pytest.approx(np.linalg.inv(bent), rel=0.02, abs=0.01)


def test_who_liked_nothing_is_like_all_and_more_picks_make_surer(model: Preference) -> None:
    history = model.history
    assert isinstance(history, Chooser)
    nothing = csr_matrix((1, len(model.items)), dtype=np.float32)
    assert model.fold_in(nothing)[0] == pytest.approx(history.mean.numpy(), abs=1e-4)
    returns = csr_matrix((np.array([-5.0], np.float32), ([0], [3])), shape=nothing.shape)
    assert model.fold_in(returns)[0] == pytest.approx(history.mean.numpy(), abs=1e-4)
    sure = history.spread(model.profiles[:3])
    assert sure.shape == (3, model.profiles.shape[1], model.profiles.shape[1])
    prior = history.covariance.numpy()
    assert all(np.linalg.eigvalsh(s).min() > 0 and np.trace(s) < np.trace(prior) for s in sure)
    counts = counts_of(csr_matrix(np.array([[16.0, -2.0, 1.0]], np.float32)), 0.25)
    assert counts.toarray().tolist() == [[2.0, 0.0, 1.0]]


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
    assert numbers[:, : len(named.kinds)].sum(1) == pytest.approx(1)
    right = [seen == CATEGORIES[y] for seen, y in zip(named.category(numbers), labels.tolist(), strict=True)]
    assert np.mean(right) > 0.8
    shape = named.names.index("length")
    assert numbers[labels == 0, shape].mean() > numbers[labels == 1, shape].mean() + 1  # Tall, and wide.
    # A product that is looked at anew has its own measures.
    own = named.of(named.features[:9], draw_of(named)[:9])
    assert own[:, shape : shape + 4] == pytest.approx(named.rows[:9, shape : shape + 4], abs=1e-5)
    unknown = Named(named.features, named.looks, [None] * 120)
    assert unknown.kinds == [] and unknown.category(unknown.rows) == [None] * 120


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
