"""One self-contained HTML page about one shopper: history, what is ranked, what was made, and why."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packshot.core.files import write_text
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import to_rgb
from packshot.release.door import encode_labelled
from packshot.taste.why import Driver

if TYPE_CHECKING:
    from packshot.tasks.personalise import MadePicture, PersonaliseResult
    from packshot.tasks.workshop import Workshop

SHOWN = 96
MOST_HISTORY = 24
PHOTO = Operation("decode", "capture")


def write_page(
    path: Path,
    result: PersonaliseResult,
    workshop: Workshop,
    without: Sequence[Driver],
    pictures: Sequence[ProductImage],
) -> None:
    """Writes the page; every generated picture in it is labelled as one.

    Raises:
        PackshotError: the disk refuses.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("packshot.tasks", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("personalise.html.j2").render(
        title="Made for one shopper" if result.user else "Made for a newcomer",
        lead=(f"{len(result.history):,} products in the history, " if result.user else "")
        + f"{len(workshop.fitted.products.rows):,} products in the catalogue; pictures by a '{result.model}', seed "
        f"{result.seed}.",
        newcomer=result.user is None,
        pair=[_pair(name, letter, workshop) for name, letter in zip(result.next_pair, "ab", strict=False)],
        shown=SHOWN,
        notes=result.notes,
        history=[_history(row, workshop) for row in result.history[:MOST_HISTORY]],
        more_history=max(0, len(result.history) - MOST_HISTORY),
        ranked=[
            {
                "picture": _product(one.product, workshop),
                "name": one.title or one.key,
                "about": one.category or "no category",
                "cold": not one.events,
            }
            for one in result.ranked
        ],
        made=[_made(one, picture, workshop) for one, picture in zip(result.pictures, pictures, strict=True)],
        drivers=result.drivers,
        names={p.name: p.label for p in workshop.fitted.products.rows},
        product={d["name"]: _product(d["name"], workshop) for d in result.drivers},
        without=[_without(driver, workshop) for driver in without],
        copy_gate=result.copy_gate,
        places=len(result.ranked),
    )
    write_text(path, page)


def _history(row: dict[str, Any], workshop: Workshop) -> dict[str, Any]:
    return {
        "picture": _product(row["product"], workshop),
        "name": row["title"] or row["key"],
        "about": ", ".join(row["kinds"]),
        "category": row["category"] or "no category",
        "weight": f"{row['weight']:+.2f}",
    }


def _pair(name: str, letter: str, workshop: Workshop) -> dict[str, Any]:
    products = workshop.fitted.products
    return {
        "picture": _product(name, workshop),
        "name": products.rows[products.number[name]].label,
        "letter": letter,
    }


def _made(one: MadePicture, picture: ProductImage, workshop: Workshop) -> dict[str, Any]:
    return {
        "picture": _address(picture),
        "category": one.category,
        "asked": ", ".join(f"{name} {value}" for name, value in one.attributes.items()),
        "words": ", ".join(one.words),
        "score": f"{one.score:+.2f}",
        "realism": f"{one.realism:.2f}",
        "nearest": [
            {
                "picture": _product(near["product"], workshop),
                "name": near["title"] or near["key"],
                "had": near["in_history"],
                "similarity": f"{near['similarity']:.2f}",
            }
            for near in one.nearest
        ],
    }


def _without(driver: Driver, workshop: Workshop) -> dict[str, Any]:
    assert driver.made is not None
    generator, rows = workshop.maker.generator, workshop.fitted.products.rows
    return {
        "name": driver.name,
        "count": driver.items,
        "effect": f"{-driver.effect:+.2f}",
        "lost": driver.lost,
        "ranked": [
            {"picture": _product(rows[i].name, workshop), "name": rows[i].label} for i in driver.ranked.tolist()
        ],
        "made": [
            {
                "picture": _address(
                    ProductImage(
                        to_rgb(pixels), history=(Operation("sample", "generated", {"model": generator.model}),)
                    )
                ),
                "category": generator.categories[int(label)],
            }
            for pixels, label in zip(driver.made.pixels, driver.made.labels, strict=True)
        ],
    }


def _product(name: str, workshop: Workshop) -> str:
    """Returns a product's first photo as a PNG data address; "" where it has none."""
    i = workshop.fitted.products.number[name]
    if not workshop.shelf.pictured[i]:
        return ""
    return _address(ProductImage(to_rgb(workshop.shelf.pixels[i]), history=(PHOTO,)))


def _address(picture: ProductImage) -> str:
    data = encode_labelled(ProductImage(picture.pixels, history=picture.history))
    return "data:image/png;base64," + base64.b64encode(data).decode()
