"""Models of taste: one form, what they learn, what they know of cold products and new histories."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from packshot.core.errors import PackshotError, UsageError
from packshot.models.features.efflite import load_efflite0
from packshot.taste.factors import ALS, fit_als, fit_items
from packshot.taste.fit import MODELS, fit_preference
from packshot.taste.history import solve
from packshot.taste.hybrid import fit_hybrid
from packshot.taste.interactions import HALF_LIFE_DAYS, WEIGHTS, Interactions, from_events
from packshot.taste.measure import Held, hold_out, rank_targets, scorer
from packshot.taste.pictures import PictureMap
from packshot.taste.preference import Preference, load_preference, with_users
from packshot.taste.simulate import Simulated
from packshot.taste.view import DIM, load_view
from tests.shoppers import FAST, fast_default, features_of, shoppers

VISUAL = ("vbpr", "dvbpr", "hybrid")


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    with fast_default():
        yield


@pytest.fixture(scope="module")
def made() -> Simulated:
    return shoppers(users=250, products=80, events=15)


@pytest.fixture(scope="module")
def held(made: Simulated) -> Held:
    return hold_out(made.interactions(WEIGHTS, HALF_LIFE_DAYS), cold_share=0.2)


@pytest.fixture(scope="module")
def features(made: Simulated) -> np.ndarray:
    return features_of(made)


@pytest.fixture(scope="module")
def models(held: Held, features: np.ndarray) -> dict[str, Preference]:
    return {name: fit_preference(name, held.train, features) for name in MODELS}


def auc(model: Preference, held: Held, *, cold: bool = False) -> float:
    return float(rank_targets(scorer(model), held.cold if cold else held.warm, held.seen).auc.mean())


@pytest.mark.parametrize("name", MODELS)
def test_shapes_and_a_round_trip(name: str, models: dict[str, Preference], held: Held, tmp_path: Path) -> None:
    model = models[name]
    assert model.name == name
    assert model.profiles.shape[1] == model.factors.shape[1] and model.bias.shape == (80,)
    user = held.train.users[5]
    assert model.scores(user) == pytest.approx(model.profiles[5] @ model.factors.T + model.bias)
    model.save(tmp_path)
    again = load_preference(tmp_path)
    assert (again.scores(user) == model.scores(user)).all()
    assert again.settings == model.settings and again.items == model.items and (again.warm == model.warm).all()
    assert not list(tmp_path.glob("*.pkl")) and {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors"}
    with pytest.raises(UsageError, match="not fitted with a shopper 'shopper-0000x'"):
        model.scores("shopper-0000x")


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_numbers(name: str) -> None:
    few = shoppers(users=25)
    interactions, features = few.interactions(WEIGHTS, HALF_LIFE_DAYS), features_of(few)
    one, again, other = (fit_preference(name, interactions, features, seed=seed) for seed in (0, 0, 1))
    assert (again.profiles == one.profiles).all() and (again.factors == one.factors).all()
    assert (other.factors != one.factors).any() == (name not in ("popularity", "choice"))


def test_all_learn_and_the_default_learns_best_what_is_cold(models: dict[str, Preference], held: Held) -> None:
    warm = {name: auc(model, held) for name, model in models.items()}
    assert warm["popularity"] > 0.6
    for name in ("als", "bpr", "vbpr", "hybrid"):
        assert warm[name] > warm["popularity"] + 0.03, warm
    assert warm["hybrid"] > warm["vbpr"], warm
    assert auc(models["hybrid"], held, cold=True) > 0.6
    for name in ("popularity", "als", "bpr"):
        assert auc(models[name], held, cold=True) == pytest.approx(0.5)


@pytest.mark.parametrize("name", VISUAL)
def test_a_cold_product_is_scored_by_its_picture_alone(
    name: str, models: dict[str, Preference], held: Held, features: np.ndarray
) -> None:
    model, cold = models[name], ~models[name].warm
    assert cold[held.cold.among].all()
    seen = model.score_features(model.profiles, features)
    assert seen[:, cold] == pytest.approx(model.score(model.profiles)[:, cold], abs=1e-4)
    if name != "dvbpr":  # Which knows of a product only its picture and its bias.
        assert np.abs(seen - model.score(model.profiles))[:, ~cold].max() > 1e-3


@pytest.mark.parametrize("name", VISUAL)
def test_gradients_reach_the_features(name: str, models: dict[str, Preference], features: np.ndarray) -> None:
    model = models[name]
    x = torch.from_numpy(features[:3].copy()).requires_grad_(True)
    profiles = torch.from_numpy(model.profiles[:2])
    score = model.score_tensor(profiles, x)
    assert score.detach().numpy() == pytest.approx(model.score_features(model.profiles[:2], features[:3]), abs=1e-4)
    score[0].sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    step = model.score_tensor(profiles, x.detach() + 1e-3 * x.grad / x.grad.norm())
    assert step[0].sum() > score[0].sum()


def test_models_without_pictures_say_so(models: dict[str, Preference], features: np.ndarray, held: Held) -> None:
    with pytest.raises(UsageError, match="'als' sees no pictures"):
        models["als"].score_features(models["als"].profiles, features)
    with pytest.raises(UsageError, match="'vbpr' cannot judge a new history"):
        models["vbpr"].fold_in(held.train.matrix)


def test_a_history_folds_in(models: dict[str, Preference], held: Held) -> None:
    model = models["hybrid"]
    folded = model.fold_in(held.train.matrix[:40])
    assert folded == pytest.approx(model.profiles[:40], abs=1e-5)
    row = held.train.matrix[3]
    named = {held.train.items[i]: float(w) for i, w in zip(row.indices, row.data, strict=True)}
    assert model.fold_in(model.history_of(named))[0] == pytest.approx(model.profiles[3], abs=1e-5)
    # Taking away what one did changes the profile; a number that counts for nothing does not.
    first, *rest = named
    assert np.abs(model.fold_in(model.history_of({n: named[n] for n in rest}))[0] - model.profiles[3]).max() > 1e-3
    assert np.isfinite(model.fold_in(model.history_of({}))).all()
    assert with_users(model, held.train).profiles == pytest.approx(model.profiles, abs=1e-5)
    with pytest.raises(UsageError, match="knows no product 'p999'"):
        model.history_of({first: 1.0, "p999": 1.0})


def test_one_who_likes_dark_things_gets_dark_things(made: Simulated, features: np.ndarray) -> None:
    interactions = made.interactions(WEIGHTS, HALF_LIFE_DAYS)
    model = fit_preference("hybrid", interactions, features)
    brightness = made.truth.items[:, made.truth.attributes.index("brightness")]
    order = np.argsort(brightness)
    dark = {made.products[i]: 1.0 for i in order[:8]}
    bright = {made.products[i]: 1.0 for i in order[-8:]}
    scores = [model.score(model.fold_in(model.history_of(h)))[0] for h in (dark, bright)]
    rest = order[8:-8]
    top = [brightness[rest[np.argsort(-s[rest])[:10]]].mean() for s in scores]
    assert top[0] < top[1] - 0.5
    # What is sent back says the opposite of what is liked.
    away = model.history_of(dict.fromkeys(dark, -5.0) | {made.products[order[40]]: 1.0})
    kept = model.history_of({made.products[order[40]]: 1.0})
    assert (model.fold_in(away) != model.fold_in(kept)).any()


def test_without_pictures_the_default_knows_products_by_events(held: Held) -> None:
    model = fit_preference("hybrid", held.train, None)
    assert auc(model, held) > 0.7 and auc(model, held, cold=True) == pytest.approx(0.5)


def test_odd_histories(features: np.ndarray) -> None:
    """One product with 90 % of the events, a shopper with returns alone, one with nothing, one with a single view."""
    rng = np.random.default_rng(0)
    users, products = 40, 80
    rows = np.concatenate([np.repeat(np.arange(users), 10), np.arange(users), [users]])
    columns = np.concatenate([np.zeros(10 * users, int), rng.integers(1, products, users), [5]])
    weights = np.concatenate([np.ones(len(rows) - 1), [-5.0]]).astype(np.float32)
    names = [f"u{i}" for i in range(users + 2)]
    found = from_events(names, [f"p{i}" for i in range(products)], rows, columns, weights, np.arange(len(rows)))
    for name in MODELS:
        model = fit_preference(name, found, features)
        assert np.isfinite(model.score(model.profiles)).all(), name
        assert model.score(model.profiles)[:, 0].mean() > np.median(model.score(model.profiles)), name


def test_nothing_to_learn_from(features: np.ndarray) -> None:
    def only(weight: float) -> Interactions:
        one = np.zeros(1, np.int64)
        return from_events(["a"], [f"p{i}" for i in range(80)], one, one, np.array([weight], np.float32), one)

    with pytest.raises(UsageError, match="No shopper viewed"):
        fit_preference("hybrid", only(-5), features)
    with pytest.raises(UsageError, match="No shopper liked two products"):
        fit_preference("hybrid", only(1), features)
    with pytest.raises(UsageError, match=r"Unknown model of taste 'hybird'\. Did you mean 'hybrid'"):
        fit_preference("hybird", only(1), features)
    with pytest.raises(UsageError, match="ranks by pictures"):
        fit_preference("vbpr", only(1), None)


@pytest.mark.slow
def test_rivals_that_are_drawn_stand_for_all(held: Held, features: np.ndarray) -> None:
    few = fit_hybrid(held.train, features, replace(FAST, rivals=20, steps=300))
    assert auc(few, held) > 0.7


def test_directions_of_features_are_the_strongest() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(500, 6)) * [5, 3, 2, 1e-9, 1e-9, 1e-9] + 7).astype(np.float32)
    for power, expected in ((1.0, [1, 1, 1]), (0.0, [1, 3 / 5, 2 / 5])):
        pictures = PictureMap(features=6, kept=4, profile=2, visual=1, hidden=0)
        pictures.whiten(x, power)
        kept = pictures.look(torch.from_numpy(x)).numpy()
        scale = kept.std(0)[0]
        assert kept.std(0)[:3] / scale == pytest.approx(expected, rel=0.1)
        assert scale == pytest.approx(1, rel=0.1) and np.abs(kept[:, 3]).max() < 1e-3
        assert kept.mean(0) == pytest.approx(np.zeros(4), abs=1e-3)


def test_a_damaged_model_is_refused(models: dict[str, Preference], tmp_path: Path) -> None:
    models["als"].save(tmp_path)
    (tmp_path / "model.json").write_text((tmp_path / "model.json").read_text().replace('"als"', '"bpr"'))
    with pytest.raises(PackshotError, match="holds no model of taste of this version"):
        load_preference(tmp_path)


def test_own_least_squares_reach_what_implicit_reaches(held: Held) -> None:
    """The same equation, solved by two programs: one loss at the end."""
    positive = (held.train.positive > 0).astype(np.float32).toarray()
    model = fit_als(held.train, ALS)
    items = fit_items(held.train.positive, ALS)

    def loss(users: np.ndarray, factors: np.ndarray) -> float:
        confidence = 1 + (ALS.confidence - 1) * positive
        fit = (confidence * (positive - users @ factors.T) ** 2).sum()
        return float(fit + ALS.decay * ((users**2).sum() + (factors**2).sum()))

    own = solve(held.train.positive, items, ALS.decay, ALS.confidence)
    assert loss(own, items) == pytest.approx(loss(model.profiles, model.factors), rel=0.01)
    # And what it says of one shopper is the least loss that any change of the profile reaches.
    nudge = np.zeros_like(own)
    nudge[3, 2] = 0.01
    assert loss(own, items) < min(loss(own + nudge, items), loss(own - nudge, items))


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (64, 3)])
def test_the_view_is_the_network_and_a_thumbnail(size: int, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, channels), np.uint8)
    net = load_view()
    seen = net.features(images)
    assert seen.shape == (3, DIM) and net.protocol.endswith("+thumbnail8x3") and net.name != load_efflite0().name
    assert seen[:, :1280] == pytest.approx(load_efflite0().features(images), abs=1e-4)
    side = 64 if size == 64 else 32
    padded = np.zeros((3, side, side, channels))
    rim = (side - size) // 2
    padded[:, rim : side - rim, rim : side - rim] = images
    cells = padded.reshape(3, 8, side // 8, 8, side // 8, channels).mean((2, 4)) / 127.5 - 1
    expected = np.broadcast_to(cells, (3, 8, 8, 3)).transpose(0, 3, 1, 2).reshape(3, -1) * 3
    # At 28 px the net enlarges what it is shown, which smooths across the cells' edges.
    assert seen[:, 1280:] == pytest.approx(expected, abs=1e-4 if size == 64 else 0.4)
    x = net.prepare(torch.from_numpy(images)).requires_grad_(True)
    net.module(x)[:, :1280].sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
