"""What the desk's processes are asked that makes or teaches: pictures for a shopper, and the shop's own taste.

The same functions as on the command line do it: `packshot personalise`, and `packshot events ingest`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from packshot.core.errors import UsageError
from packshot.jobs.desk_models import read_sample
from packshot.jobs.desk_taste import product_picture
from packshot.jobs.taste_records import Choice, MadeView, Product

STUDIO = "studio"
"""The shop's own name for the profile that its own choices on Create make up; in a store it is a pseudonym."""


def make_for(
    store: Path, run: Path, catalog: Path, user: str | None, choices: str = "", n: int = 4, seed: int = 0
) -> MadeView:
    """Makes pictures for a shopper, or for a newcomer by their choices, with `packshot personalise`.

    Raises:
        UsageError: the shopper is unknown or did not consent to it.
        PackshotError: no model there, no pictures to learn from, or nothing but copies came.
    """
    from packshot.catalog import open_catalog
    from packshot.tasks.personalise import PersonaliseRequest, personalise
    from packshot.taste.making import MakeSettings
    from packshot.taste.products import read_products

    with tempfile.TemporaryDirectory(prefix="packshot-desk-") as folder:
        made = personalise(
            PersonaliseRequest(
                events=store,
                run=run,
                user=user,
                choices=choices,
                catalog=catalog,
                out=Path(folder) / "out",
                make=MakeSettings(n=n, seed=seed),
            )
        )
        pictures = tuple(read_sample(p.path, p.category) for p in made.pictures)
    opened = open_catalog(catalog)
    products = read_products(opened)
    named = {near["product"] for p in made.pictures for near in p.nearest}
    nearest = {}
    for name in sorted(named):
        row = products.rows[products.number[name]]
        photo = next((p for p in row.photos if p not in opened.rights.out), None)
        picture = None if photo is None else product_picture(opened, photo)
        nearest[name] = Product(name=name, title=row.title or row.key, category=row.category, picture=picture)
    about = [
        {
            "category": p.category,
            "attributes": p.attributes,
            "score": p.score,
            "realism": p.realism,
            "words": p.words,
            "nearest": p.nearest,
        }
        for p in made.pictures
    ]
    titles = {
        row.name: row.title or row.key for row in products.rows if any(d["name"] == row.name for d in made.drivers)
    }
    return MadeView(
        pictures=pictures,
        about=tuple(about),
        nearest=nearest,
        drivers=tuple(made.drivers),
        without=tuple(made.without),
        titles=titles,
        copy_gate=made.copy_gate,
        notes=tuple(made.notes),
    )


def teach(store: Path, catalog: Path, choices: Sequence[Choice]) -> dict[str, int]:
    """Turns what was kept and rejected on Create into events of the shop's own profile `STUDIO` in a store.

    A made picture is no product, so each choice counts for the product of the catalogue that it looks most like:
    "cart" where it was kept, "hide" where it was rejected. They are ingested as any others (`packshot events ingest`),
    and the profile is a shopper as any other from then on.

    Returns:
        What the ingest counted, see `packshot.taste.ingest.COUNTED`.

    Raises:
        UsageError: there is no choice.
        PackshotError: the catalogue has no pictures, or the store was made with another key.
    """
    if not choices:
        raise UsageError("Nothing was kept or rejected since the shop's taste was last taught.")
    from packshot.tasks.events import EventsRequest, ingest
    from packshot.taste.ingest import IngestSettings

    names = _nearest_products(catalog, [choice.data for choice in choices])
    with tempfile.TemporaryDirectory(prefix="packshot-desk-") as folder:
        file = Path(folder) / "choices.jsonl"
        rows = [
            {"user": STUDIO, "product": name, "kind": "cart" if choice.kept else "hide", "time": choice.time}
            for name, choice in zip(names, choices, strict=True)
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        settings = IngestSettings(consent="rank,personalise")
        return ingest(EventsRequest(events=(file,), catalog=catalog, out=store, settings=settings)).counts


def _nearest_products(catalog: Path, files: Sequence[bytes]) -> list[str]:
    """Returns for each picture the name of the product that it looks most like, to the view of the models of taste."""
    import numpy as np

    from packshot.catalog import open_catalog
    from packshot.core.errors import PackshotError
    from packshot.evaluation.features import compute_features
    from packshot.images.decode import decode
    from packshot.images.resize import fit_square, to_grey, to_rgb
    from packshot.taste.fairness import unit_rows
    from packshot.taste.products import picture_side, product_features, read_products
    from packshot.taste.view import load_view

    opened = open_catalog(catalog)
    products = read_products(opened)
    features = product_features(opened, products)
    if features is None or not features.pictured.any():
        raise PackshotError("The catalogue has no pictures that may be learned from, so nothing can be compared with.")
    side = picture_side(opened)
    grey = opened.native.channels == 1
    pixels = [decode(data).pixels for data in files]
    shown = np.stack([fit_square(to_grey(p) if grey else to_rgb(p), side, "crop") for p in pixels])
    rows = np.flatnonzero(features.pictured)
    centre = features.rows[rows].mean(0)
    near = unit_rows(compute_features(load_view(), shown), centre) @ unit_rows(features.rows[rows], centre).T
    return [products.names[int(rows[k])] for k in near.argmax(1)]
