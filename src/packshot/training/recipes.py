"""Recipes that come with the package, by name, and which of them suits how many photos."""

from pathlib import Path

from packshot.core.errors import PackshotError

SUITS = (("small-100", 250), ("small-500", 1_000), ("small-2000", 3_000))
"""Recipes for few photos, each with the most that it is meant for (docs/small-data.md)."""


def recipe_folder() -> Path:
    """Returns where they lie: in an installed package beside its code, in a checkout at its top."""
    package = Path(__file__).parents[1]
    return package.parents[1] / "recipes" if package.parent.name == "src" else package / "recipes"


def recipe_names() -> list[str]:
    """Returns the names of the recipes that come with the package."""
    return sorted(path.stem for path in recipe_folder().glob("*.toml"))


def find_recipe(path: Path) -> Path:
    """Returns the file of a recipe: `path` itself, else the one that comes with the package under this name.

    Both `small-500` and `recipes/small-500.toml`, as the documentation writes it, are its name.

    Raises:
        PackshotError: neither is there.
    """
    if path.exists():
        return path
    if str(path) in (path.stem, f"recipes/{path.stem}.toml") and path.stem in recipe_names():
        return recipe_folder() / f"{path.stem}.toml"
    raise PackshotError(
        f"Cannot use {path}: no such file; give a TOML file, or a recipe by name: {', '.join(recipe_names())}."
    )


def recipe_for(photos: int) -> str | None:
    """Returns the recipe for so few photos; None: there are enough for any model."""
    return next((name for name, most in SUITS if photos <= most), None)
