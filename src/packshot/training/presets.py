"""From a model's name, a recipe and `--set` to one complete configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packshot.core.config import apply_settings, build_config, read_toml
from packshot.core.errors import UsageError
from packshot.models.table import find_model
from packshot.training.budget import parse_budget
from packshot.training.config import TrainConfig, config_class

DEFAULT_MODEL = "vae"
DEFAULT_BUDGET = "150s"

# What a model needs that differs from the dataclasses' defaults.
PRESETS: dict[str, dict[str, Any]] = {
    # Small batches and quick steps: on two cores the number of steps is what counts (docs/small-data.md).
    "dcgan": {"objective": {"g_lr": 5e-4, "d_lr": 5e-4}, "loop": {"batch_size": 16}},
    "gan-reference": {
        "objective": {"g_lr": 1e-4, "d_lr": 1e-4, "beta1": 0.9, "beta2": 0.999, "init": "torch"},
        "loop": {"lr_decay_from": 1.0},
    },
    "latent": {},
    "gan-mlp": {"objective": {"init": "torch"}},
    "wgan-gp": {
        "objective": {
            "loss": "wasserstein",
            "gradient_penalty": 10.0,
            "d_steps": 2,
            "g_lr": 1e-3,
            "d_lr": 1e-3,
            "beta1": 0.0,
            "beta2": 0.9,
            "init": "torch",
        },
    },
    "r3gan": {
        "objective": {
            "loss": "relativistic",
            "r1_gamma": 0.3,
            "r2_gamma": 0.3,
            "r1_every": 4,
            "g_lr": 1e-3,
            "d_lr": 1e-3,
            "beta1": 0.0,
            "init": "torch",
        },
    },
    "stylegan2": {
        "objective": {"r1_gamma": 0.5, "g_lr": 2e-3, "d_lr": 2e-3, "beta1": 0.0, "init": "torch"},
        "loop": {"batch_size": 32},
    },
    "projected": {
        # As quick a D as G: a slower one does not learn what the categories are before G has settled.
        "objective": {
            "loss": "hinge",
            "augment": "diffaugment",
            "g_lr": 5e-4,
            "d_lr": 5e-4,
            "beta1": 0.0,
            "init": "torch",
        },
        "loop": {"batch_size": 16},
    },
    "vae": {"objective": {"kl_weight": 0.05}},
    "vae-gan": {},
    "vq-vae": {},
    "hvae": {"objective": {"kl_weight": 0.05, "top_first_steps": 200}},
    "clip": {"loop": {"batch_size": 128}},
}


def resolve_config(
    *,
    model: str | None = None,
    recipe: Path | None = None,
    settings: Sequence[str] = (),
    budget: str | None = None,
    seed: int | None = None,
    size: int | None = None,
) -> TrainConfig:
    """Merges, weakest first: the model's preset, the recipe file, `--set`, the command's own options.

    Raises:
        UsageError: unknown model or setting (the nearest is suggested), or a value that does not fit.
    """
    table = read_toml(recipe) if recipe else {}
    table.pop("about", None)
    table = apply_settings(table, settings)
    name = table.get("model", DEFAULT_MODEL) if model is None else model
    if not isinstance(name, str):
        raise UsageError(f"Setting 'model' is {name!r}; it has to be a name.")
    entry = find_model(name)
    merged = _merge(_merge({"budget": DEFAULT_BUDGET, "seed": 0}, PRESETS[name]), table)
    merged["model"] = name
    if budget is not None:
        merged["budget"] = budget
    if seed is not None:
        merged["seed"] = seed
    if size is not None:
        merged = apply_settings(merged, [f"data.size={size}"])
    config = build_config(config_class(entry), merged)
    parse_budget(config.budget)
    return config


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        out[key] = _merge(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out
