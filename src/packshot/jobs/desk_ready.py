"""What the first page about a store's shoppers would wait for, done before somebody asks: asked of the desk.

The features of all products are kept in the catalogue's cache under their content, and the model of taste in the store
under the events, the catalogue and the settings; so it is done once, and done again is soon.
"""

from __future__ import annotations

from pathlib import Path


def make_ready(store: Path, catalog: Path) -> int:
    """Fits the model of taste that products are ranked by, or finds it kept; returns how many products there are.

    Raises:
        UsageError: there is nothing to learn from.
        PackshotError: store or catalogue is damaged.
    """
    from packshot.tasks.rank import TasteRequest, fit_taste

    return len(fit_taste(TasteRequest(events=store, catalog=catalog)).products.rows)
