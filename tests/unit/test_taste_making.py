"""Pictures made by taste, reasons, quiz, re-ranking and exposure, against closed forms and known tastes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from packshot.core.errors import PackshotError, UsageError
from packshot.models.conditions import Conditions
from packshot.models.features.net import FeatureNet
from packshot.models.ranges import to_model
from packshot.models.spec import PictureSpec
from packshot.models.weights import load_tensors, save_tensors
from packshot.sampling.generator import TrainedGenerator
from packshot.taste.asking import Texts
from packshot.taste.fairness import compare_tradeoffs, diversity, measure_exposure, rerank, unit_rows
from packshot.taste.history import Solver
from packshot.taste.interactions import Interactions
from packshot.taste.making import FRESH, TWIN, Maker, MakeSettings, _mixed
from packshot.taste.measure import Asked
from packshot.taste.pictures import PictureMap
from packshot.taste.pool import MOST_KEPT, PoolCache, fit_pictures
from packshot.taste.preference import Preference
from packshot.taste.quiz import CROWD, WEIGHTIEST, Quiz, open_quiz
from packshot.taste.redesign import RedesignSettings, redesign
from packshot.taste.why import Counterfactual, Shelf

SIDE, Z = 16, 4


class Squares(nn.Module):
    """A square on black: its brightness is the first number of the noise; category 1 is wide."""

    z_dim = Z

    def __init__(self, smooth: bool = True) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.smooth = smooth

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        shape = torch.zeros(len(z), 1, SIDE, SIDE)
        shape[:, :, 4:12, 6:10] = 1
        shape[label == 1, :, 6:10, 2:14] = 1
        light = torch.sigmoid(z[:, 0] if self.smooth else z[:, 0].detach())[:, None, None, None]
        return shape * (2 * light) - 1


def generator(smooth: bool = True) -> TrainedGenerator:
    spec = PictureSpec(size=SIDE, channels=1, categories=2)
    network = Squares(smooth).eval().requires_grad_(False)
    return TrainedGenerator(network, "squares", spec, ("tall", "wide"), 0)


class Cells(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x[:, :1], 4).flatten(1)


def prepare(images: Tensor) -> Tensor:
    x = torch.nn.functional.interpolate(to_model(images), size=64, mode="bilinear", antialias=True)
    return x.expand(-1, 3, -1, -1)


NET = FeatureNet(
    name="cells",
    distance="fd",
    dim=16,
    input_size=64,
    input_range=(-1.0, 1.0),
    protocol="cells",
    licence="CC0-1.0",
    source="the tests",
    prepare=prepare,
    module=Cells().eval(),
)


def catalogue() -> tuple[np.ndarray, np.ndarray]:
    """Pictures of 40 products, tall and wide, of every brightness, and their features."""
    made = generator()
    eps = torch.zeros(40, Z)
    eps[:, 0] = torch.linspace(-2, 2, 40)
    pixels = made.pictures(eps, [i % 2 for i in range(40)])
    return pixels, NET.features(pixels).astype(np.float32)


def likes(features: np.ndarray, direction: np.ndarray) -> Preference:
    """A model with one number: how much of a direction of the features a picture shows."""
    pictures = PictureMap(features=16, kept=16, profile=1, visual=1, hidden=0)
    pictures.mean.copy_(torch.from_numpy(features.mean(0)))
    pictures.directions.copy_(torch.eye(16))
    with torch.no_grad():
        pictures.linear.weight.zero_()
        pictures.linear.weight[0] = torch.from_numpy(direction.astype(np.float32))
    pictures.eval().requires_grad_(False)
    factors, bias = pictures.embed(features)
    solver = Solver(items=len(features), profile=1, decay=1.0, confidence=20.0)
    solver.factors.copy_(torch.from_numpy(factors))
    n = len(features)
    names = [f"p{i}" for i in range(n)]
    return Preference(
        "one", ["u"], names, np.ones((1, 1), np.float32), factors, bias, np.ones(n, bool), {}, pictures, solver
    )


def maker(settings: MakeSettings, *, smooth: bool = True, sign: float = 1.0, categories: tuple[str, ...] = ()) -> Maker:
    _, features = catalogue()
    bright = sign * np.ones(16) / 16
    return Maker(
        generator(smooth), likes(features, bright), NET, features, side=SIDE, channels=1, categories=categories,
        settings=settings,
    )  # fmt: skip


def test_the_best_samples_are_chosen_and_a_search_makes_them_better() -> None:
    plain = maker(MakeSettings(n=3, samples=40, steps=0, diversity=0.0))
    [chosen] = plain.make(np.ones((1, 1), np.float32))
    inside = np.flatnonzero(plain.pool.distance <= plain.limit)
    light = plain.pool.pixels[inside].reshape(len(inside), -1).mean(1)
    best = inside[np.argsort(-light, kind="stable")[:3]]
    assert sorted(chosen.sample[:3].tolist()) == sorted(best.tolist())
    assert not chosen.moved.any() and (np.diff(chosen.scores[:3]) <= 0).all()
    for smooth in (True, False):  # No gradient is needed.
        [moved] = maker(MakeSettings(n=3, samples=40, steps=5, diversity=0.0), smooth=smooth).make(
            np.ones((1, 1), np.float32)
        )
        assert moved.moved[:3].any() and moved.scores[:3].mean() > chosen.scores[:3].mean()
        assert (moved.scores[:3] >= chosen.scores[:3] - 1e-5).all() and (moved.distance[:3] <= 1).all()


def test_a_batch_of_shoppers_gets_what_each_gets_alone_unless_they_search_together() -> None:
    settings = MakeSettings(n=2, samples=20, steps=4)
    made = maker(settings)
    profiles = np.array([[1.0], [-1.0], [1.0]], np.float32)
    both = made.make(profiles)
    for profile, one in zip(profiles, both, strict=True):
        [alone] = made.make(profile[None])
        assert np.array_equal(alone.sample, one.sample) and np.abs(alone.scores - one.scores).max() < 1e-4
    assert both[0].pixels[:2].mean() > both[1].pixels[:2].mean() + 20
    together = maker(replace(settings, together=True)).make(profiles)
    assert all(t.scores[0] >= b.scores[0] - 1e-5 for t, b in zip(together, both, strict=True))


def test_while_a_taste_is_unsure_one_picture_is_made_for_each_thing_that_it_may_be() -> None:
    made = maker(MakeSettings(n=2, samples=40, steps=0, diversity=0.0))
    light = made.pool.pixels.reshape(40, -1).mean(1)
    sure = made._chosen(made.pool, np.array([[1.0]], np.float32), 2)
    assert sorted(light[sure]) == sorted(light)[-2:]
    unsure = made._chosen(made.pool, np.array([[1.0], [1.0], [-1.0]], np.float32), 2)
    assert light[unsure].tolist() == [light.max(), light.min()]


def test_of_pictures_that_are_all_but_the_same_one_is_chosen_while_there_are_others() -> None:
    made = maker(MakeSettings(n=2, samples=40, steps=0, diversity=0.0))
    tastes = np.array([[1.0], [1.0]], np.float32)
    light = made.pool.pixels.reshape(40, -1).mean(1)
    best = int(light.argmax())
    looks = unit_rows(made.pool.features, made.centre)
    other = int(np.where(looks @ looks[best] < TWIN, light, 0).argmax())
    twins = made.pool.at(np.array([best, best, other]))
    assert made._chosen(twins, tastes, 2).tolist() == [0, 2]
    assert len(made._chosen(twins, tastes, 5)) == 3


@given(st.integers(0, 1000), st.floats(0, 1))
def test_children_are_mixed_with_parents_of_their_category_and_stay_as_long_as_noise_is(seed: int, step: float) -> None:
    made, rng = maker(MakeSettings(n=2, samples=8, steps=0)), np.random.default_rng(seed)
    best = made.pool.at(rng.permutation(8)[:4])
    starts, fresh = best.at(np.arange(10) % 4), rng.normal(size=(10, Z)).astype(np.float32)
    mixed = _mixed(best, starts, fresh, step)
    for i in range(10):
        others = [e for k, e in enumerate(best.eps) if k != i % 4 and best.labels[k] == starts.labels[i]]
        possible = [fresh[i]] if i % FRESH == 0 or not others else others
        fits = []
        for other in possible:
            out = np.sqrt(1 - step**2) * starts.eps[i] + step * other
            length = np.sqrt((1 - step**2) * (starts.eps[i] ** 2).sum() + step**2 * (other**2).sum())
            fits.append(np.allclose(mixed[i], out / max(np.linalg.norm(out), 1e-9) * length, atol=1e-4))
        assert any(fits)


class Lit(Squares):
    """Squares that can be asked to be bright or dark."""

    def decode(self, z: Tensor, label: Tensor, cond: Tensor | None = None) -> Tensor:
        asked = 0.0 if cond is None else 2 * (cond[:, 0] - cond[:, 1])
        return self(torch.cat([z[:, :1] + torch.as_tensor(asked).reshape(-1, 1), z[:, 1:]], dim=1), label)


def test_what_a_taste_likes_is_asked_of_the_generator() -> None:
    _, features = catalogue()
    lit = replace(
        generator(), network=Lit().eval().requires_grad_(False), conditions=Conditions({"light": ("bright", "dark")})
    )
    settings = MakeSettings(n=2, samples=40, steps=2, allowed=1.0)
    made = Maker(
        lit, likes(features, np.ones(16) / 16), NET, features, side=SIDE, channels=1, settings=settings
    )  # fmt: skip
    bright, dark = made.make(np.array([[1.0], [-1.0]], np.float32))
    assert [(w.attribute, w.value) for w in bright.wishes] == [("light", "bright")] and bright.wishes[0].gain > 0.25
    assert [w.value for w in dark.wishes] == ["dark"]
    assert bright.cond[bright.moved][:, 0].any() and not bright.cond[:2, 1].any()
    assert bright.pixels[:2].mean() > dark.pixels[:2].mean() + 20


class Told(Squares):
    """Squares that a text makes bright or dark: its embedding is (1, 0) or (0, 1)."""

    def decode(self, z: Tensor, label: Tensor, cond: Tensor | None = None) -> Tensor:
        asked = 0.0 if cond is None else cond[:, 0] - cond[:, 1]
        return self(torch.cat([z[:, :1] + torch.as_tensor(asked).reshape(-1, 1), z[:, 1:]], dim=1), label)


def test_the_words_of_liked_products_are_asked_of_a_generator_that_takes_text() -> None:
    _, features = catalogue()
    of = np.arange(40) // 20  # The later, the brighter.
    texts = Texts(["dim thing", "lit thing"], np.eye(2, dtype=np.float32)[::-1], of, ["Tall", "wide"] * 20)
    told = replace(
        generator(), network=Told().eval().requires_grad_(False), conditions=Conditions(text=2, text_model={})
    )
    settings = MakeSettings(n=2, samples=40, steps=2, allowed=1.0)
    made = Maker(
        told, likes(features, np.ones(16) / 16), NET, features, side=SIDE, channels=1, settings=settings, texts=texts
    )  # fmt: skip
    lit, dim = made.make(np.array([[1.0], [-1.0]], np.float32))
    assert {w.value for w in lit.wishes} == {"lit thing"} and {w.value for w in dim.wishes} == {"dim thing"}
    assert {w.category for w in lit.wishes} <= {"tall", "wide"} and all(w.gain >= 0.25 for w in lit.wishes)
    assert {texts.said(c) for c in lit.cond[lit.moved]} == {None, "lit thing"}
    assert lit.pixels[:2].mean() > dim.pixels[:2].mean() + 20
    without = Maker(told, likes(features, np.ones(16) / 16), NET, features, side=SIDE, channels=1, settings=settings)
    [plain] = without.make(np.array([[1.0]], np.float32))
    assert plain.wishes == [] and not plain.cond.any()


def test_a_text_is_wished_for_only_where_its_products_are_clearly_liked_more() -> None:
    texts = Texts(["one", "two"], np.eye(2, dtype=np.float32), np.array([0, 0, 1, 1, 0, 0]), ["a"] * 4 + [None, "b"])
    scores = np.array([1.0, 1.0, -1.0, -1.0, 9.0, 3.0], np.float32)
    [wish] = texts.liked(scores)  # Category b has one text only; a product without a category says nothing.
    assert (wish.value, wish.category, wish.gain) == ("one", "a", pytest.approx(2 / (2 + 2)))
    assert texts.liked(0.4 * scores) == []


def test_samples_are_kept_by_generator_and_products_and_read_again(tmp_path: Path) -> None:
    _, features = catalogue()
    model = likes(features, np.ones(16) / 16)

    def drawn(generator_hash: str, real: np.ndarray, n: int = 12, seed: int = 0) -> Maker:
        return Maker(
            generator(), model, NET, real, side=SIDE, channels=1, settings=MakeSettings(n=2, samples=n, seed=seed),
            cache=PoolCache(tmp_path, generator_hash),
        )  # fmt: skip

    first, fresh = drawn("g", features), maker(MakeSettings(n=2, samples=12))
    [kept] = tmp_path.glob("pool-*")
    pixels = load_tensors(kept)[0]["pixels"]
    for one in (first, drawn("g", features)):
        for name in ("pixels", "features", "distance", "alike", "factors", "eps", "labels"):
            assert np.array_equal(getattr(one.pool, name), getattr(fresh.pool, name)), name
    # It is read, not drawn again: what is in the file is what comes.
    tensors, _ = load_tensors(kept)
    save_tensors(kept, {**tensors, "pixels": 255 - pixels}, {})
    assert np.array_equal(drawn("g", features).pool.pixels, 255 - fresh.pool.pixels)
    for other in (
        drawn("h", features),
        drawn("g", features + 1),
        drawn("g", features, seed=1),
        drawn("g", features, n=14),
    ):
        assert not np.array_equal(other.pool.pixels[:12], 255 - fresh.pool.pixels)
    assert len(list(tmp_path.glob("pool-*"))) == 5
    for seed in range(2, 9):
        drawn("g", features, seed=seed)
    assert len(list(tmp_path.glob("pool-*"))) == MOST_KEPT
    (tmp_path / "cut").mkdir()
    damaged = tmp_path / "cut" / kept.name
    save_tensors(damaged, {**tensors, "pixels": pixels[:3]}, {})
    with pytest.raises(PackshotError, match="damaged"):
        Maker(
            generator(), model, NET, features, side=SIDE, channels=1, settings=MakeSettings(n=2, samples=12),
            cache=PoolCache(damaged.parent, "g"),
        )  # fmt: skip


def test_the_features_with_gradients_are_those_of_the_pictures() -> None:
    made = maker(MakeSettings(n=1, samples=6))
    labels = torch.from_numpy(made.pool.labels)
    seen = made.see_tensor(made.generator.render(torch.from_numpy(made.pool.eps), labels)).numpy()
    assert np.abs(seen - made.pool.features).max() < 0.01  # Half a grey level in 127.


def test_a_category_can_be_asked_for_and_settings_have_ranges() -> None:
    made = maker(MakeSettings(n=2, samples=10), categories=("wide",))
    assert set(made.make(np.ones((1, 1), np.float32))[0].labels.tolist()) == {1}
    with pytest.raises(UsageError, match="wide"):
        maker(MakeSettings(), categories=("wied",))
    with pytest.raises(UsageError, match="1 to 64"):
        MakeSettings(n=0)
    with pytest.raises(UsageError, match="samples"):
        MakeSettings(n=4, samples=3)


def test_pictures_are_fitted_to_the_catalogue() -> None:
    pixels = np.full((2, 8, 8, 3), 200, np.uint8)
    out = fit_pictures(pixels, 20, 1, 2)
    assert out.shape == (2, 20, 20, 1) and (out[:, 2:18, 2:18] == 200).all() and out[:, :2].max() == 0
    assert fit_pictures(pixels, 8, 3) is not pixels and np.array_equal(fit_pictures(pixels, 8, 3), pixels)


def test_what_is_taken_away_changes_list_and_pictures() -> None:
    _, features = catalogue()
    made = maker(MakeSettings(n=2, samples=20, steps=0))
    bright, dark = [39, 38, 37], [0]
    weights = csr_matrix(
        (np.array([5.0, 5.0, 5.0, 1.0], np.float32), ([0] * 4, bright + dark)), shape=(1, len(features))
    )
    asked = Counterfactual(made.preference, weights, made, places=5)
    first = made.make(asked.profile[None])[0]
    kinds = ["tall" if i % 2 == 0 else "wide" for i in range(40)]
    without = asked.without("the bright", np.array(bright), first, 2, again=True)
    assert without.items == 3 and without.weight == 15 and without.effect > 0 and without.lost >= 4
    assert not set(without.ranked.tolist()) & {*bright, *dark}
    assert without.made is not None and without.made.pixels[:2].mean() < first.pixels[:2].mean()
    items = asked.items(made.preference.items, first, 2)
    assert {d.name for d in items} == {"p39", "p38", "p37", "p0"} and items[-1].name == "p0"
    assert asked.categories(kinds, first, 2)[0].name == "wide"  # 39 and 37.


def test_a_redesign_is_the_smallest_change_that_is_liked_as_much_more_as_asked() -> None:
    made = maker(MakeSettings(n=1, samples=4))
    eps, profile = torch.tensor([-1.0, 0.3, 0.2, 0.1]), np.ones(1, np.float32)
    little = redesign(made, eps, 0, profile, RedesignSettings(gain=0.3))
    much = redesign(made, eps, 0, profile, RedesignSettings(gain=0.8))
    for one, gain in ((little, 0.3), (much, 0.8)):
        assert one.reached and gain <= one.scores[1] - one.scores[0] < gain + 0.02
    assert 0 < little.change < much.change and little.steps < much.steps
    assert np.array_equal(little.before, made.generator.pictures(eps[None], [0])[0])
    liked = redesign(made, torch.tensor([6.0, 0, 0, 0]), 0, profile, RedesignSettings(gain=3.0))
    assert not liked.reached and liked.scores[1] >= liked.scores[0]  # It is as bright as can be.
    with pytest.raises(UsageError, match="gain"):
        RedesignSettings(gain=0)


def test_words_and_nearest_products() -> None:
    pixels, features = catalogue()
    kinds = ["tall" if i % 2 == 0 else "wide" for i in range(40)]
    shelf = Shelf(pixels, np.ones(40, bool), kinds, features)
    dark, bright = shelf.differences(pixels[[2, 38]], ["tall", "Tall"])
    assert "darker" in dark and "brighter" in bright and "darker" not in bright
    assert not {"longer", "wider"} & {*dark, *bright}  # All of their category are as long.
    [across] = shelf.differences(pixels[[39]], ["no such"])
    assert "wider" in across
    near = shelf.nearest(features[[7]], n=3)[0]
    assert near[0] == (7, 1.0) and near[0][1] >= near[1][1] >= near[2][1]
    hidden = replace(shelf, pictured=np.arange(40) != 7)
    assert hidden.nearest(features[[7]], n=1)[0][0][0] != 7


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_reranking_follows_its_definition(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    scores, looks = rng.normal(size=12).astype(np.float32), unit_rows(rng.normal(size=(12, 5)).astype(np.float32))
    assert rerank(scores, looks, n, 0.0).tolist() == np.argsort(-scores, kind="stable")[:n].tolist()
    chosen = rerank(scores, looks, n, 0.6).tolist()
    assert len(set(chosen)) == n
    relevance = (scores - scores.mean()) / scores.std()
    for k in range(1, n):
        value = [
            0.4 * relevance[i] - 0.6 * max(0, *(float(looks[i] @ looks[j]) for j in chosen[:k]))
            for i in range(12)
            if i not in chosen[:k]
        ]
        own = 0.4 * relevance[chosen[k]] - 0.6 * max(0, *(float(looks[chosen[k]] @ looks[j]) for j in chosen[:k]))
        assert own == pytest.approx(max(value), abs=1e-5)
    pairs = [1 - float(looks[i] @ looks[j]) for a, i in enumerate(chosen) for j in chosen[a + 1 :]]
    got = diversity(looks[chosen])
    assert (got is None and n == 1) or got == pytest.approx(np.mean(pairs), abs=1e-5)


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1), st.integers(1, 20))
def test_little_known_products_get_at_least_what_was_promised(seed: int, tradeoff: float, lift: float, n: int) -> None:
    rng = np.random.default_rng(seed)
    scores, looks = rng.normal(size=40).astype(np.float32), unit_rows(rng.normal(size=(40, 3)).astype(np.float32))
    unknown = rng.random(40) < 0.4
    scores[unknown] -= 3
    listed = rerank(scores, looks, n, tradeoff, little_known=unknown, lift=lift)
    weight = 1 / np.log2(np.arange(n) + 2)
    if unknown.sum() > unknown[listed].sum():
        assert (weight * unknown[listed]).sum() / weight.sum() >= lift * unknown.mean() - 1e-6
    if weight[1:].sum() / weight.sum() > lift * unknown.mean() + 1e-6:  # Else the first place has to be one of theirs.
        assert listed[0] == scores.argmax() or tradeoff == 1
    assert len(set(listed.tolist())) == n
    assert np.array_equal(rerank(scores, looks, n, tradeoff, little_known=unknown), rerank(scores, looks, n, tradeoff))
    with pytest.raises(UsageError, match="little-known"):
        rerank(scores, looks, n, tradeoff, lift=2.0)
    assert not len(rerank(scores[:0], looks[:0], n, tradeoff))


def test_exposure_adds_up_and_finds_who_is_hidden() -> None:
    categories = ["a"] * 6 + ["b"] * 3 + [None]
    prices = [1.0, 2, 3, 4, 5, 6, 7, 8, None, None]
    events = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    found = measure_exposure([np.array([0, 1]), np.array([1, 2])], categories, prices, events)
    for by in ("category", "price", "popularity"):
        part = [e for e in found if e.by == by]
        assert sum(e.products for e in part) == pytest.approx(1, abs=1e-3)
        assert sum(e.exposure for e in part) == pytest.approx(1, abs=1e-3)
    get = {(e.by, e.group): e for e in found}
    assert get["category", "a"].lift == pytest.approx(1 / 0.6, abs=1e-3) and get["category", "b"].exposure == 0
    first, second = 1.0, 1 / np.log2(3)
    assert get["popularity", "none"].exposure == pytest.approx((first + second + first) / (2 * (first + second)), 1e-3)
    assert [e.group for e in found if e.by == "price"] == ["low", "middle", "high", "none"]
    assert [e.group for e in found if e.by == "popularity"] == ["few events", "some events", "many events", "none"]
    assert get["price", "none"].products == pytest.approx(0.2) and get["price", "low"].exposure == 1
    with pytest.raises(UsageError, match="0 to 1"):
        rerank(np.zeros(3, np.float32), np.eye(3, dtype=np.float32), 2, 1.5)


def test_a_larger_tradeoff_is_less_liked_and_more_varied() -> None:
    rng = np.random.default_rng(3)
    products, users = 30, 8
    matrix = csr_matrix((rng.random((users, products)) < 0.2).astype(np.float32))
    names = [f"u{i}" for i in range(users)], [f"p{i}" for i in range(products)]
    factors, profiles = (rng.normal(size=(n, 4)).astype(np.float32) for n in (products, users))
    model = Preference("m", *names, profiles, factors, np.zeros(products, np.float32), np.ones(products, bool))
    histories = Interactions(*names, matrix, np.zeros(users, np.int32))
    looks = unit_rows(factors)
    kinds, prices = ["a"] * 15 + ["b"] * 15, [1.0] * products
    rows = compare_tradeoffs(model, histories, looks, kinds, prices, places=6, tradeoffs=(0.0, 0.4, 0.9))
    assert [r.liked for r in rows] == sorted((r.liked for r in rows), reverse=True) and rows[0].liked > rows[2].liked
    assert rows[0].diversity < rows[1].diversity < rows[2].diversity  # type: ignore[operator]
    assert rows[0].shoppers == users and 0 < rows[0].shown <= 1
    assert {e.group for e in rows[0].exposure if e.by == "price"} == {"low"}
    assert rows[0].hits is None and rows[0].quality == []
    # Everybody is asked about the product that the model puts first, then about the one that it puts last.
    order = np.argsort(-model.score(profiles), axis=1)
    for targets, hits in ((order[:, 0], 1.0), (order[:, -1], 0.0)):
        asked = Asked(np.arange(users), targets, np.ones(products, bool))
        empty = Interactions(*names, csr_matrix((users, products), dtype=np.float32), np.zeros(users, np.int32))
        [row] = compare_tradeoffs(
            model, empty, looks, kinds, prices, places=6, tradeoffs=((0.0, 0.0),), asked=asked, seen=empty.matrix
        )
        assert row.hits == hits and row.ndcg == hits
        assert sum(q.asked for q in row.quality if q.by == "category") == users
        assert all(q.hits == hits for q in row.quality)


def quiz(rng: np.random.Generator) -> Quiz:
    factors = rng.normal(size=(200, 6)).astype(np.float32)
    profiles = rng.normal(size=(300, 6)).astype(np.float32)
    return open_quiz(factors, np.zeros(200, np.float32), profiles)


def test_what_is_believed_after_answers_and_what_an_answer_tells_is_bayes_rule() -> None:
    asked = quiz(np.random.default_rng(0))
    believed = np.ones(len(asked.profiles)) / len(asked.profiles)
    assert len(asked.profiles) == CROWD and np.abs(asked.utility.mean(1)).max() < 1e-5
    for _ in range(3):
        pair = asked.next_pair()
        yes = 1 / (1 + np.exp(-2.0 * (asked.utility[:, pair[0]] - asked.utility[:, pair[1]]).astype(float)))
        asked.answer(*pair)
        believed = believed * yes / (believed @ yes)
        assert asked.shares == pytest.approx(believed, abs=1e-7)
    assert asked.profile == pytest.approx(believed @ asked.profiles, abs=1e-5)
    assert asked.scores() == pytest.approx(believed @ asked.utility, abs=1e-5)
    drawn = asked.draw(20_000)
    assert drawn.shape == (20_000, 6) and drawn.mean(0) == pytest.approx(asked.profile, abs=0.05)
    # What an answer tells: entropy of what is believed now, less what is expected to be left of it.
    few = np.sort(np.argsort(-believed, kind="stable")[:WEIGHTIEST])
    believed = believed[few] / believed[few].sum()
    pairs = np.array([[0, 1], [5, 9], [3, 7]])

    def entropy(p: np.ndarray) -> float:
        return float(-(p[p > 0] * np.log(p[p > 0])).sum())

    for (a, b), gain in zip(pairs.tolist(), asked.gain(pairs).tolist(), strict=True):
        yes = 1 / (1 + np.exp(-2.0 * (asked.utility[few, a] - asked.utility[few, b]).astype(float)))
        first, second = believed * yes, believed * (1 - yes)
        left = sum(part.sum() * entropy(part / part.sum()) for part in (first, second))
        assert gain == pytest.approx(entropy(believed) - left, abs=1e-4)


def test_three_chosen_pairs_tell_more_than_three_random_ones() -> None:
    """Of tastes that come in eight kinds, as those of a shop's shoppers do, three answers nearly find the kind."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        factors = rng.normal(size=(200, 6)).astype(np.float32)
        kinds = 2 * rng.normal(size=(8, 6))
        profiles = (kinds[rng.integers(0, 8, 1600)] + 0.3 * rng.normal(size=(1600, 6))).astype(np.float32)
        true = factors @ profiles[-1]
        for chosen in (True, False):
            asked = open_quiz(factors, np.zeros(200, np.float32), profiles[:-1])
            for _ in range(3):
                a, b = asked.next_pair() if chosen else tuple(rng.choice(200, 2, replace=False).tolist())
                asked.answer(a, b) if true[a] > true[b] else asked.answer(b, a)
            found[chosen].append(float(np.corrcoef(asked.scores(), true)[0, 1]))
    assert np.mean(found[True]) > 0.8 and np.mean(found[True]) > np.mean(found[False]) + 0.05
