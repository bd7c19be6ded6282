"""Every recipe in recipes/ parses into a complete configuration."""

from pathlib import Path

import pytest

from packshot.core.config import read_toml
from packshot.models.table import MODELS
from packshot.training.presets import PRESETS, resolve_config

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipe_parses_and_names_its_command(path: Path) -> None:
    config = resolve_config(recipe=path)
    assert config.model in MODELS
    assert f"recipes/{path.name}" in read_toml(path)["about"]


def test_there_are_recipes_and_presets_for_known_models_only() -> None:
    assert RECIPES
    assert set(PRESETS) == set(MODELS)
