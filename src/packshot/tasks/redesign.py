"""An existing product, changed as little as possible so that a group of shoppers likes it more: before and after."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from packshot.core.errors import PackshotError, UsageError, suggest
from packshot.core.progress import Progress
from packshot.core.runs import RunFolder
from packshot.evaluation.copies import FALSE_ALARMS
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import to_rgb
from packshot.images.sheet import contact_sheet
from packshot.models.ranges import to_model
from packshot.release.door import check_free, release_set
from packshot.sampling.generator import sheet_scale
from packshot.sampling.inversion import invert
from packshot.tasks.copy_gate import gate_sentence, pass_gate, request_gate
from packshot.tasks.made_from import note_made_from
from packshot.tasks.rank import find_shopper
from packshot.tasks.trained import generated_picture, slug
from packshot.tasks.workshop import Workshop, open_workshop
from packshot.taste.fit import DEFAULT
from packshot.taste.making import MakeSettings
from packshot.taste.redesign import RedesignSettings, group_profile, redesign
from packshot.taste.store import Store, open_store

ALL = "all"
FELL_SHORT = "The appeal did not rise as far as asked; this is the best that was found."
NEAREST_COPIED = (
    "The generator's nearest picture is too near to a training photo, so the sheet shows the photo and the changed one."
)


@dataclass(frozen=True, kw_only=True)
class RedesignRequest:
    """A product that more people like, please.

    Attributes:
        events: a store of events.
        product: its name in the catalogue, or any other that events may call it.
        group: ids or pseudonyms of shoppers; `all`: everybody who consented to 'personalise'.
        run: run folder of the generator; one through which gradients flow.
        catalog: whose product it is; None: the one that the run was trained on.
        out: folder for the pictures.
        settings: how far.
        seed: of the search for the noise that makes the product.
        key: of the pseudonyms; None: the one in the user's folder.
        overwrite: replace files of the same names.
        allow_copies: let pictures leave without comparing them with the training photos.
        false_alarms: between 0 and 1, the share of unseen photos that would be refused as copies too.
    """

    events: Path
    product: str
    group: tuple[str, ...]
    run: Path
    catalog: Path | None = None
    out: Path = Path("personalised")
    settings: RedesignSettings = field(default_factory=RedesignSettings)
    seed: int = 0
    key: Path | None = None
    overwrite: bool = False
    allow_copies: bool = False
    false_alarms: float = FALSE_ALARMS


@dataclass(frozen=True)
class RedesignResult:
    """Before and after.

    Attributes:
        product: its name.
        shoppers: of the group.
        picture: the changed one.
        sheet: photo, the generator's nearest picture to it, and the changed one.
        before: the group's mean predicted preference for the nearest picture, in standard deviations over the
            catalogue.
        after: for the changed one.
        reached: whether it rose by what was asked.
        change: root mean square difference of the two, 0 to 255 grey levels.
        rms: of the nearest picture to the photo: what the generator cannot draw of it.
        liked_by: share of the group that likes the changed one more than the nearest one.
        words: what the changed one is beside the nearest one, clear differences first.
        copy_gate: how the picture was compared with the training photos.
        notes: what the reader has to know.
    """

    product: str
    shoppers: int
    picture: Path
    sheet: Path
    before: float
    after: float
    reached: bool
    change: float
    rms: float
    liked_by: float
    words: list[str]
    copy_gate: str
    notes: list[str]


def redesign_product(request: RedesignRequest, *, quiet: bool = True) -> RedesignResult:
    """Changes a product for a group of shoppers.

    Raises:
        UsageError: unknown product or shopper, nobody in the group, or one who did not consent to 'personalise'.
        PackshotError: the model cannot start from a photo, the product has no picture that may be learned from, or the
            changed picture is too near to a training photo.
    """
    with Progress("Redesigning", 1.0, quiet=quiet) as bar:
        store, run = open_store(request.events), RunFolder.open(request.run)
        stem = f"redesign-{slug(request.product)}"
        paths = [request.out / f"{stem}.png", request.out / f"{stem}-sheet.png"]
        if not request.overwrite:
            check_free(paths)
        members = _members(request, store)
        gate = request_gate(run, request)
        settings = MakeSettings(n=1, samples=16, steps=0, seed=request.seed)
        # By the model through which gradients flow from the picture.
        workshop = open_workshop(store, run, request.catalog, settings, by=DEFAULT)
        bar.update(0.4, "the product")
        profiles = _profiles(workshop, members)
        photo, label, about = _photo(request, run, workshop)
        x = to_model(torch.from_numpy(photo.copy())[None])
        generator, margin = workshop.maker.generator, workshop.maker.generator.margin
        found = invert(generator, x, [label] if label is not None else range(len(generator.categories)), request.seed)
        bar.update(0.8, "the change")
        mean = group_profile(profiles, np.arange(len(profiles)))
        made = redesign(workshop.maker, found.eps, found.label, mean, request.settings)
        passed = pass_gate(gate, made.after[None], None)
        category = generator.categories[found.label]
        params = {"category": category, "ingredients": [about], "made_for": f"a group of {len(profiles):,} shoppers"}
        after = generated_picture(made.after, generator, "redesign", {**params, **passed.said[0]})
        inner = photo[margin : len(photo) - margin, margin : len(photo) - margin]
        copied = gate is not None and bool(gate.look(made.before[None])[1][0] < 1)
        nearest = None if copied else generated_picture(made.before, generator, "reconstruct", {"ingredients": [about]})
        sheet = _sheet(inner, nearest, after, generator.spec.size)
        released = release_set([after, sheet], paths, overwrite=request.overwrite)
        note_made_from(request.out, released, [about])
        own = workshop.fitted.preference.score_features(profiles, made.features)
        difference = made.before.astype(np.float64) - inner
        words = _words(workshop, made.before, made.after, category)
        return RedesignResult(
            product=about["name"],
            shoppers=len(profiles),
            picture=paths[0],
            sheet=paths[1],
            before=round(made.scores[0], 3),
            after=round(made.scores[1], 3),
            reached=made.reached,
            change=made.change,
            rms=round(float(np.sqrt(np.square(difference).mean())), 2),
            liked_by=round(float((own[:, 1] > own[:, 0]).mean()), 3),
            words=words,
            copy_gate=gate_sentence(gate),
            notes=[*([] if made.reached else [FELL_SHORT]), *([NEAREST_COPIED] if copied else [])],
        )


def _sheet(photo: np.ndarray, nearest: ProductImage | None, after: ProductImage, size: int) -> ProductImage:
    """Returns before and after side by side; without the nearest picture where that is a copy of a training photo."""
    shown = [(ProductImage(to_rgb(photo), history=(Operation("decode", "capture"),)), "photo")]
    shown += [(nearest, "nearest")] if nearest is not None else []
    shown.append((after, "changed"))
    return contact_sheet([p for p, _ in shown], len(shown), [c for _, c in shown], sheet_scale(size))


def _members(request: RedesignRequest, store: Store) -> list[str] | None:
    """Returns pseudonyms; None: everybody."""
    if not request.group:
        raise UsageError(f"Say for whom: --group ID for each shopper, or --group {ALL}.")
    if request.group == (ALL,):
        return None
    return [find_shopper(store, user, "personalise", request.key) for user in dict.fromkeys(request.group)]


def _profiles(workshop: Workshop, members: list[str] | None) -> np.ndarray:
    """Returns the profiles [U, K] of those of the group who liked something."""
    interactions = workshop.fitted.interactions
    liked = np.diff(interactions.positive.indptr) > 0
    rows = [interactions.user_rows[m] for m in members if m in interactions.user_rows] if members is not None else None
    chosen = np.flatnonzero(liked) if rows is None else np.array([r for r in rows if liked[r]], np.int64)
    if not len(chosen):
        raise UsageError("Nobody in this group was positive about a product of the catalogue; name other shoppers.")
    return workshop.fitted.preference.profiles[chosen]


def _photo(
    request: RedesignRequest, run: RunFolder, workshop: Workshop
) -> tuple[np.ndarray, int | None, dict[str, Any]]:
    """Returns the product's first photo as the generator is trained on photos, its label if known, and what it is."""
    fitted, generator = workshop.fitted, workshop.maker.generator
    place = fitted.products.number.get(request.product)
    if place is None:
        names = fitted.products.names
        raise UsageError(f"The catalogue has no product '{request.product}'.{suggest(request.product, names[:1000])}")
    product, catalog = fitted.products.rows[place], fitted.catalog
    channels: Literal[1, 3] = 1 if generator.spec.channels == 1 else 3
    fit = run.read()["config"]["data"]["fit"]
    splits: tuple[Literal["train", "test"], ...] = ("train", "test")
    for split in splits:
        if not catalog.summary["splits"].get(split):
            continue
        packed = catalog.packed(split, generator.spec.size, channels, fit, also_out=True)
        for photo in product.photos:
            if photo in packed.photo_ids and photo not in catalog.rights.out:
                names = [c.lower() for c in generator.categories]
                own = (product.category or "").lower()
                about = {"name": product.name, "sha256": catalog.digests([photo])[0]}
                label = names.index(own) if own in names else None
                return packed.images[packed.photo_ids.index(photo)], label, about
    raise PackshotError(f"The product '{product.name}' has no picture that may be learned from.")


def _words(workshop: Workshop, before: np.ndarray, after: np.ndarray, category: str) -> list[str]:
    return workshop.shelf.changes(workshop.maker.fit(before[None]), workshop.maker.fit(after[None]), [category])[0]
