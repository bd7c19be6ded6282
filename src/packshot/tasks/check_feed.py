"""The pictures that a check looks at: of files, folders and catalogues, and those that a product feed names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from packshot.catalog.options import IngestOptions
from packshot.catalog.readers.lists import REMOTE, Locator
from packshot.catalog.readers.merchant import IMAGES, Item, read_products
from packshot.core.errors import PackshotError
from packshot.tasks.photos import Photo, find_photos

FEEDS = (".csv", ".tsv", ".tab", ".txt", ".xml", ".rss", ".atom")
"""The endings of a file that is read as a feed."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A picture that was named, or a product of a feed.

    Attributes:
        name: what to call it.
        photo: the picture, not yet read; None: there is none to be read.
        problem: why not, where that is a fault of what names it.
        unknown: why not, where nothing is wrong with it.
        product: the product that it shows, by the feed's own id; None: no feed names it.
        attribute: by which the feed names it, for example "image_link"; None: this is the product itself.
        texts: what the feed says of the product; only of the product itself.
    """

    name: str
    photo: Photo | None = None
    problem: str | None = None
    unknown: str | None = None
    product: str | None = None
    attribute: str | None = None
    texts: Item | None = None


def find_listed(given: list[Path], images: Path | None = None, leave_out: Path | None = None) -> Iterator[Listed]:
    """Yields what files, folders, catalogues and feeds name, in a fixed order; a product before its pictures.

    Nothing is fetched from the network: of an address the last part is looked for in `images`, where that is given.

    Args:
        given: what the user named.
        images: the folder that a feed's pictures lie in; None: its own folder.
        leave_out: a folder that is not looked into: results lie there.

    Raises:
        UsageError: nothing was named, or there is no such file or folder.
        PackshotError: a folder may not be read, a catalogue is damaged, or a feed is none.
    """
    found = [path for path in given if not _is_feed(path)]
    if found or not given:
        for photo in find_photos(found, leave_out):
            yield Listed(name=photo.name, photo=photo)
    for path in given:
        if _is_feed(path):
            yield from _of_feed(path, images)


def _is_feed(path: Path) -> bool:
    return path.suffix.lower() in FEEDS and path.is_file()


def _of_feed(path: Path, images: Path | None) -> Iterator[Listed]:
    options = IngestOptions(images=None if images is None else str(images))
    locator = Locator(path, options)
    for number, item in enumerate(read_products(path, options), 1):
        product = item.get("id", [f"product {number}"])[0].strip()
        yield Listed(name=f"{path}: {product}", product=product, texts=item)
        links = [(a, link.strip()) for a in IMAGES for link in item.get(a, []) if link.strip()]
        if all(attribute != "image_link" for attribute, _ in links):
            yield Listed(
                name=f"{path}: {product}",
                product=product,
                attribute="image_link",
                problem=f"{path}: {product} has no image_link.",
            )
        for attribute, link in links:
            yield _linked(link, locator, product, attribute)


def _linked(link: str, locator: Locator, product: str, attribute: str) -> Listed:
    found, problem = locator.find(link)
    listed = Listed(name=link, product=product, attribute=attribute)
    if found is None and REMOTE.match(link):
        return replace(
            listed,
            unknown="it is an address on the network, and nothing is fetched; download the pictures and name their "
            "folder with --images",
        )
    if found is None:
        return replace(listed, problem=f"{link} {problem}.")
    path = Path(found)
    (photo,) = find_photos([path])
    try:
        below = path.resolve().relative_to(locator.folder.resolve())
    except ValueError:
        return replace(listed, problem=f"{link} lies outside of {locator.folder}; name its folder with --images.")
    return replace(listed, photo=replace(photo, stem=PurePosixPath(below).with_suffix("")))


def no_pictures(given: list[Path]) -> PackshotError:
    """Returns the error of a check that has nothing to look at."""
    return PackshotError(f"There is no picture in {', '.join(map(str, given))}.")
