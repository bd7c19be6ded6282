"""Packshot: product pictures for e-commerce, from a shop's own photos.

The names below are the Python interface; each is loaded when it is first used, so `import packshot` is instant.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "CreateRequest": "packshot.tasks.create",
    "IngestOptions": "packshot.catalog.options",
    "PackshotError": "packshot.core.errors",
    "UsageError": "packshot.core.errors",
    "create": "packshot.tasks.create",
    "evaluate_run": "packshot.evaluation.run",
    "fetch": "packshot.catalog.fetch",
    "ingest": "packshot.catalog.ingest",
    "load_generator": "packshot.sampling.generator",
    "open_catalog": "packshot.catalog",
    "resolve_config": "packshot.training.presets",
    "resume": "packshot.training.run",
    "sample": "packshot.tasks.create",
    "train": "packshot.training.run",
    "write_report": "packshot.evaluation.report",
}

__all__ = sorted([*_PUBLIC, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'packshot' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
