"""From what was done to what is said: one statement about a picture, from its history, that every label repeats.

| operation | source type | C2PA action | China label | visible notice |
|---|---|---|---|---|
| resize, crop, convert | as it was | resized, cropped, converted | none | none |
| tone, hidden faces, marks of proof | as it was | adjustedColor, edited | none | none |
| enhance (a network) | algorithmicallyEnhanced | enhanced | none | none |
| backdrop, repair, extend | compositeWithTrainedAlgorithmicMedia | edited, with the region | yes | Modified with AI |
| restyle | compositeWithTrainedAlgorithmicMedia | filtered | yes | Modified with AI |
| a generator's sample | trainedAlgorithmicMedia | created | yes | Generated with AI |

The source type itself derives in `packshot.release.source_type`; here it becomes the actions of C2PA 2.2 (section
18.15), the label of GB 45438-2025 and the notice's kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from packshot.core.text import as_utf8
from packshot.images import xmp
from packshot.images.picture import Operation, ProductImage
from packshot.release.source_type import derive_source_type

Notice = Literal["generated", "modified"]

ACTIONS: Mapping[str, str] = {
    "resize": "c2pa.resized",
    "crop": "c2pa.cropped",
    "convert": "c2pa.converted",
    "tone": "c2pa.adjustedColor",
    "enhance": "c2pa.enhanced",
    "restyle": "c2pa.filtered",
    "notice": "c2pa.addedText",
    "watermark": "c2pa.watermarked",
    "reattach": "c2pa.transcoded",
}
"""The action of each operation; of any other it is `c2pa.enhanced` where a network was at work, else `c2pa.edited`.
`c2pa.removed` and `c2pa.placed` are of ingredients with manifests of their own, and no operation here has one."""
NOTICE = "notice"
BESIDE = ("beside", "none")
"""Places of a notice that leave the pixels as they are."""
OPENING = ("decode",)
"""Operations that bring a picture in: what `c2pa.opened` says of the ingredient."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing that was done.

    Attributes:
        name: of C2PA, for example "c2pa.edited".
        description: the operation's own name, and its method where it has one.
        source_type: IPTC term of what the action made; None: it made nothing that wants one.
        box: left, top, width, height in pixels of the only part that changed; None: all of it, or not known.
        reason: why, where C2PA has a term for it.
    """

    name: str
    description: str
    source_type: str | None = None
    box: tuple[int, int, int, int] | None = None
    reason: str | None = None

    def as_c2pa(self) -> dict[str, Any]:
        """Returns the entry of the assertion `c2pa.actions.v2`."""
        out: dict[str, Any] = {"action": self.name, "description": self.description}
        if self.source_type is not None:
            out["digitalSourceType"] = xmp.SOURCE_TYPE_TERMS + self.source_type
        if self.reason is not None:
            out["reason"] = self.reason
        if self.box is not None:
            left, top, width, height = self.box
            shape: dict[str, Any] = {"type": "rectangle", "unit": "pixel", "origin": {"x": left, "y": top}}
            shape |= {"width": width, "height": height}
            out["changes"] = [{"region": [{"type": "spatial", "shape": shape}], "description": self.description}]
        return out


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What is said of a picture; the same in every label.

    Attributes:
        source_type: IPTC term, or None where nothing can be claimed.
        created: whether the picture began here; else a photo was opened.
        actions: what was done, oldest first, without the one that opened or created.
        ingredient: what the photo that was opened is called; None: created, or nobody knows.
        notice: what a visible notice would say; None: none is due.
        model: what made a generated picture, or None.
        notice_place: where it is: "corner", "padding", "beside", "none"; None: nobody has placed one.
        notice_language: that it was placed in; None as of `notice_place`.
        notice_texts: how it reads, by language; empty: nobody has placed one.
    """

    source_type: str | None
    created: bool
    actions: tuple[Action, ...] = ()
    ingredient: str | None = None
    notice: Notice | None = None
    model: str | None = None
    notice_place: str | None = None
    notice_language: str | None = None
    notice_texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def label_due(self) -> bool:
        """Whether a label has to say that a machine was at work."""
        return self.source_type in LABELLED

    @property
    def china_label(self) -> bool:
        """Whether GB 45438-2025 wants its label: what a network made, in whole or in part."""
        return self.notice is not None


LABELLED = ("algorithmicallyEnhanced", *xmp.SYNTHETIC)


def state(image: ProductImage, declared: str | None = None, *, written: str | None = None) -> Statement:
    """Returns the statement about a picture.

    Args:
        image: its history has to say where it came from.
        declared: the term that the labels which it brought along say, or None.
        written: the format that it leaves in, for a picture that came in as another; None: the same.

    Raises:
        PackshotError: the history does not say where the pixels came from.
    """
    history = image.history
    source_type = derive_source_type(history, declared)
    created = all(operation.origin != "capture" for operation in history) or any(
        operation.name == "contact_sheet" for operation in history
    )
    opened = next((o for o in history if o.name in OPENING), None)
    made = next((o for o in history if o.origin == "generated"), None)
    first = made if created and made is not None else None
    actions = [_action(o) for o in history if o.name not in OPENING and o is not first and not _left_as_it_is(o)]
    if opened is not None and written not in (None, opened.params.get("format")):
        actions.append(Action(name="c2pa.converted", description=f"to {written}"))
    notice = next((o.params for o in reversed(history) if o.name == NOTICE), {})
    return Statement(
        source_type=source_type,
        created=created,
        actions=tuple(actions),
        ingredient=None if created or opened is None else as_utf8(str(opened.params.get("name") or "photo")),
        notice=_notice(source_type),
        model=None if made is None else str(made.params.get("model") or "") or None,
        notice_place=notice.get("place"),
        notice_language=notice.get("language"),
        notice_texts=dict(notice.get("texts", {})),
    )


def _left_as_it_is(operation: Operation) -> bool:
    """Whether it is a notice that is not in the pixels: nothing was done to the picture."""
    return operation.name == NOTICE and operation.params.get("place") in BESIDE


def _action(operation: Operation) -> Action:
    name = ACTIONS.get(operation.name, "c2pa.enhanced" if operation.origin == "learned" else "c2pa.edited")
    terms = {"learned": "algorithmicallyEnhanced", "generated": "compositeWithTrainedAlgorithmicMedia"}
    made = operation.params.get("source_type") or terms.get(operation.origin)
    method = operation.params.get("method") or operation.params.get("model")
    box = operation.params.get("box")
    whole = isinstance(box, (list, tuple)) and len(box) == 4 and all(isinstance(v, int) for v in box)
    return Action(
        name=name,
        description=f"{operation.name} ({method})" if isinstance(method, str) else operation.name,
        source_type=made if isinstance(made, str) else None,
        box=tuple(box) if whole and box is not None else None,
        reason="c2pa.PII.present" if operation.name == "anonymise" else None,
    )


def _notice(source_type: str | None) -> Notice | None:
    if source_type == "trainedAlgorithmicMedia":
        return "generated"
    return "modified" if xmp.is_synthetic(source_type) else None
