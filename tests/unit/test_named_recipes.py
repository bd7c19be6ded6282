"""Recipes that come with the package are found by name, wherever the command is run."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from packshot.cli.train import _hint_at_recipe
from packshot.core.errors import PackshotError
from packshot.training import recipes
from packshot.training.presets import resolve_config
from packshot.training.recipes import find_recipe, recipe_folder, recipe_for, recipe_names


def test_every_recipe_of_the_checkout_has_a_name() -> None:
    own = Path(__file__).parents[2] / "recipes"
    assert recipe_names() == sorted(path.stem for path in own.glob("*.toml"))
    assert {name for name, _ in recipes.SUITS} <= set(recipe_names())


@pytest.mark.parametrize("given", ["small-500", "recipes/small-500.toml"])
def test_a_name_is_found_from_anywhere(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = find_recipe(Path(given))
    assert found == recipe_folder() / "small-500.toml"
    assert resolve_config(recipe=found).objective.augment == "ada"


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small-500").write_text('model = "vae"\n')
    assert find_recipe(Path("small-500")) == Path("small-500")


@pytest.mark.parametrize("given", ["small-5000", "elsewhere/small-500.toml", "small-500.toml", "recipes/../x.toml"])
def test_what_is_neither_is_refused_with_the_names(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PackshotError, match=r"no such file; give a TOML file, or a recipe by name: .*small-500"):
        find_recipe(Path(given))


def test_an_installed_package_has_them_beside_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "packshot"
    shutil.copytree(recipe_folder(), package / "recipes")
    monkeypatch.setattr(recipes, "__file__", str(package / "training" / "recipes.py"))
    assert recipe_folder() == package / "recipes"
    assert "small-100" in recipe_names()


@pytest.mark.parametrize(
    ("photos", "name"),
    [(2, "small-100"), (250, "small-100"), (251, "small-500"), (1001, "small-2000"), (3001, None), (60_000, None)],
)
def test_few_photos_have_a_recipe(photos: int, name: str | None) -> None:
    assert recipe_for(photos) == name


@pytest.mark.parametrize(("limit", "name"), [(None, "small-500"), (100, "small-100")])
def test_the_hint_counts_the_photos_that_are_trained_on(
    limit: int | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "packshot.catalog.open_catalog", lambda path: SimpleNamespace(summary={"splits": {"train": 450}})
    )
    (hint,) = _hint_at_recipe(Path("catalog"), limit)
    assert f"--recipe {name}" in hint and hint.startswith(f"{limit or 450} training photos")
