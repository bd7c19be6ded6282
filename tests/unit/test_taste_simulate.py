"""Simulated shoppers: tastes that are known, over pictures that are real."""

import csv
from pathlib import Path

import numpy as np
import pytest

from packshot.core.errors import UsageError
from packshot.taste.interactions import HALF_LIFE_DAYS, KINDS, WEIGHTS
from packshot.taste.looks import SHAPES, measure_looks
from packshot.taste.simulate import Simulation, simulate
from tests.shoppers import CATEGORIES, draw, shoppers


def test_looks_are_what_was_drawn() -> None:
    pictures = np.full((3, 20, 20, 1), 255, np.uint8)
    pictures[0, 4:16, 8:12] = 0  # 12 high, 4 wide, black.
    pictures[1, 8:12, 4:16] = 100
    pictures[2, 5:15, 5:15] = np.where(np.arange(10) % 2, 40, 160)[None, :, None]  # Striped.
    looks = measure_looks(pictures)
    by = dict(zip(SHAPES, looks.shapes.T, strict=True))
    assert by["length"] == pytest.approx([np.log(3), -np.log(3), 0], abs=1e-5)
    assert by["size"] == pytest.approx([48 / 400, 48 / 400, 100 / 400])
    assert by["brightness"][0] == pytest.approx(0, abs=1e-3) and by["brightness"][1] == pytest.approx(42.4, abs=0.1)
    assert by["detail"][:2] == pytest.approx([0, 0], abs=1e-4) and by["detail"][2] > 10
    assert looks.colours[:2] == ["black", "grey"]
    assert measure_looks(pictures[:0]).shapes.shape == (0, 4)


def test_same_seed_same_shoppers() -> None:
    one, two, other = shoppers(seed=3), shoppers(seed=3), shoppers(seed=4)
    for name in ("user", "product", "kind", "time"):
        assert (getattr(one, name) == getattr(two, name)).all()
    assert (one.truth.tastes == two.truth.tastes).all()
    assert (one.product != other.product).any()


def test_utility_is_standard_and_known_for_any_picture() -> None:
    made = shoppers(users=50, products=80)
    utility = made.truth.utilities()
    assert utility.mean(1) == pytest.approx(np.zeros(50), abs=1e-4)
    assert utility.std(1) == pytest.approx(np.ones(50), abs=1e-4)
    own = made.truth.utility(7, made.images, made.truth.labels)
    assert own == pytest.approx(utility[7], abs=1e-4)
    # A picture that is new, and whose category nobody says.
    pictures, labels = draw(200, seed=9)
    assert (made.truth.categorise(pictures) == labels).mean() > 0.9
    assert np.isfinite(made.truth.utility(7, pictures)).all()


def test_one_taste_in_words() -> None:
    made = shoppers(users=300, products=80)
    truth = made.truth
    brightness = truth.attributes.index("brightness")
    darkest = truth.tastes[:, brightness].argmin()
    black, white = np.full((2, 1, 24, 24, 3), 255, np.uint8)
    black[:, 6:18, 6:18], white[:, 6:18, 6:18] = 10, 190
    tall = np.zeros(1, np.int64)
    colours = [i for i, name in enumerate(truth.attributes) if name.startswith("colour=")]
    # Only its brightness differs for a shopper to whom the colour's name says nothing.
    truth.tastes[darkest, colours] = 0
    assert truth.utility(int(darkest), black, tall)[0] > truth.utility(int(darkest), white, tall)[0]


def test_events_follow_taste_and_fame() -> None:
    made = shoppers(users=400, products=80, events=10)
    utility = np.take_along_axis(made.truth.utilities(), made.product.reshape(400, 10), axis=1)
    assert utility.mean() > 0.7
    assert len(set(zip(made.user.tolist(), made.product.tolist(), strict=True))) == 4000
    assert (np.diff(made.time.reshape(400, 10), axis=1) >= 0).all()
    bought = utility[(made.kind == KINDS.index("purchase")).reshape(400, 10)]
    assert bought.mean() > utility.mean() + 0.1

    def correlation(**settings: float) -> float:
        one = shoppers(users=400, products=80, events=10, **settings)
        return float(np.corrcoef(one.truth.fame, np.bincount(one.product, minlength=80))[0, 1])

    assert correlation(popularity=2.0) > 0.7 > correlation(popularity=0.2)
    assert (shoppers(popularity=0.0).truth.fame == 0).all()
    erratic = shoppers(users=400, products=80, events=10, noise=20.0)
    assert erratic.truth.utilities()[erratic.user, erratic.product].mean() < 0.3


def test_written_as_a_shop_would(tmp_path: Path) -> None:
    made = shoppers(users=20, products=30, events=5)
    made.write(tmp_path / "e.csv")
    with (tmp_path / "e.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 100 and set(rows[0]) == {"user", "product", "kind", "time"}
    assert [r["time"] for r in rows] == sorted(r["time"] for r in rows)
    assert {r["product"] for r in rows} <= set(made.products)
    found = made.interactions(WEIGHTS, HALF_LIFE_DAYS)
    assert found.matrix.shape == (20, 30) and found.matrix.nnz == 100


def test_settings_out_of_range() -> None:
    pictures, labels = draw(10)
    with pytest.raises(UsageError, match="There are 10 pictures, fewer than the 30"):
        simulate(pictures, labels, CATEGORIES, Simulation(users=2, products=30, events=3))
    for wrong in ({"noise": 0.0}, {"events": 2000}, {"users": 0}, {"popularity": -1.0}):
        with pytest.raises(UsageError, match="A simulation needs"):
            Simulation(**wrong)
