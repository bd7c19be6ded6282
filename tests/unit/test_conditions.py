"""Attributes: what is seen in a photo, what a column says, how it is asked for, and what a step leaves out."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from packshot.catalog import open_catalog
from packshot.catalog.columns import read_column
from packshot.catalog.ingest import ingest
from packshot.catalog.options import IngestOptions
from packshot.core.errors import UsageError
from packshot.images.seen import COLOURS, name_colours, name_patterns, to_lab
from packshot.models.conditions import Conditions
from packshot.models.spec import PictureSpec
from packshot.models.table import find_model
from packshot.training.config import config_class
from packshot.training.latent import LatentStep
from packshot.training.step import Batch

SIDE = 24


def on_background(colour: tuple[int, int, int], background: tuple[int, int, int]) -> np.ndarray:
    picture = np.full((SIDE, SIDE, 3), background, np.uint8)
    picture[5:19, 6:18] = colour
    return picture


def test_lab_of_known_colours() -> None:
    # Published values for sRGB white, black and pure red under D65.
    lab = to_lab(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]], np.uint8))
    assert np.allclose(lab, [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]], atol=0.05)


@pytest.mark.parametrize("name", list(COLOURS))
def test_an_object_has_the_name_of_its_colour_whatever_lies_behind_it(name: str) -> None:
    behind = (235, 232, 228) if name not in ("white", "beige") else (40, 60, 150)
    pictures = [on_background(tuple(bytes.fromhex(code)), behind) for code in COLOURS[name]]
    assert name_colours(np.stack(pictures)) == [name] * len(pictures)


def test_a_picture_of_one_colour_is_looked_at_whole_and_grey_ones_have_no_hue() -> None:
    assert name_colours(np.full((1, SIDE, SIDE, 3), (200, 20, 30), np.uint8)) == ["red"]
    grey = np.stack([np.full((SIDE, SIDE, 1), level, np.uint8) for level in (10, 128, 250)])
    assert name_colours(grey) == ["black", "grey", "white"]


def test_stripes_are_a_pattern_and_shade_is_none() -> None:
    shaded = on_background((180, 30, 40), (240, 240, 240))
    shaded[5:19, 6:18] -= np.linspace(0, 60, 14).astype(np.uint8)[:, None, None]
    shaded[5:19, 6:18, 1:] = np.minimum(shaded[5:19, 6:18, 1:], 60)
    striped = on_background((180, 30, 40), (240, 240, 240))
    striped[5:19:4, 6:18] = 250
    striped[6:19:4, 6:18] = 250
    assert name_patterns(np.stack([shaded, striped])) == ["plain", "patterned"]
    assert name_patterns(np.stack([shaded, striped]).mean(3, keepdims=True).astype(np.uint8)) == ["plain", "patterned"]


KNOWN = Conditions({"colour": ("blue", "red"), "Fit": ("loose", "slim", "wide")}, text=4, text_model={"sha256": "x"})


def test_a_condition_says_what_is_asked_and_nothing_else() -> None:
    texts = np.full((2, 4), 0.5, np.float32)
    cond = KNOWN.encode({"colour": ["red", None], "Fit": ["unheard of", "slim"]}, texts, n=2)
    assert KNOWN.groups == (2, 3, 4)
    assert cond.tolist() == [[0, 1, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 0, 1, 1, 1, 1]]
    assert not KNOWN.encode({}, n=3).any()
    assert Conditions.of_table({"attributes": {"a": ["x", "y"]}, "text": 0, "text_model": {}}).groups == (2,)


def test_names_are_found_in_any_case_and_unknown_ones_are_refused_with_the_nearest() -> None:
    two = Conditions({"colour": ("RED", "red")})
    assert two.check({"colour": "red"}) == {"colour": "red"}  # Rather the very name than its twin in capitals.
    assert KNOWN.check({"COLOUR": "Red", "fit": " Slim "}) == {"colour": "red", "Fit": "slim"}
    with pytest.raises(UsageError, match="Did you mean 'colour'"):
        KNOWN.check({"color": "red"})
    with pytest.raises(UsageError, match=r"Unknown value of colour 'green'\..* Known: blue, red"):
        KNOWN.check({"colour": "green"})


def test_a_column_of_the_source_is_read_for_the_photos_asked_for(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    lines = ["image,category,Season"]
    for i in range(6):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,shirt,{'summer' if i % 2 else ''}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    ingest(tmp_path / "list.csv", tmp_path / "catalog", IngestOptions(licence="CC0-1.0", source="drawn by the tests"))
    photos = open_catalog(tmp_path / "catalog")
    keys = photos.manifest(["photo_id", "key"]).to_pylist()
    ids = [row["photo_id"] for row in reversed(keys)]
    numbers = [int(Path(row["key"]).stem) for row in reversed(keys)]
    assert read_column(photos, "season", ids) == ["summer" if n % 2 else None for n in numbers]
    assert read_column(photos, "category", ids[:2]) == ["shirt"] * 2
    with pytest.raises(UsageError, match="Did you mean 'season'"):
        read_column(photos, "seasn", ids)


def test_a_step_leaves_out_all_or_parts_as_often_as_it_is_told() -> None:
    entry, spec = find_model("latent"), PictureSpec(size=32, channels=1, categories=2, conditions=(2, 3))
    config = config_class(entry)(model="latent", seed=0, budget="1s")
    with torch.random.fork_rng():
        step = LatentStep({"latent": entry.networks["latent"](config.net, spec)}, config.objective)
    n = 20_000

    def noise(name: str, dim: int) -> torch.Tensor:
        return torch.randn(n, dim, generator=torch.Generator().manual_seed(5))

    kept = step._kept(Batch(torch.empty(n, 0), torch.zeros(n, dtype=torch.int64), 0, noise))
    assert kept.shape == (3 * n, 5)
    first, second = kept[:, 0], kept[:, 2]
    assert torch.equal(first, kept[:, 1])
    assert torch.equal(second, kept[:, 4])
    p = config.objective.cond_dropout
    for share, expected in ((first, (1 - p) ** 2), (first & second, (1 - p) ** 3)):
        assert abs(float(share.float().mean()) - expected) < 5 * math.sqrt(expected / (3 * n))
