"""What a request asks of a generator besides a category, as the generator understands it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from packshot.core.errors import PackshotError, UsageError
from packshot.core.runs import RunFolder
from packshot.models.conditions import Conditions
from packshot.sampling.generator import TrainedGenerator


class Request(Protocol):
    """The part of a request that is about what the pictures show."""

    @property
    def labels(self) -> Sequence[str]:
        """Categories by name."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """Values by attribute."""

    @property
    def text(self) -> str | None:
        """Words."""

    @property
    def text_model(self) -> Path | None:
        """Where the text model is."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Categories and condition.

    Attributes:
        labels: categories, to be taken in turn.
        cond: float32 [1, A]; None: nothing but the category.
        said: what the pictures' history says of it.
    """

    labels: list[int]
    cond: npt.NDArray[np.float32] | None = None
    said: dict[str, Any] = field(default_factory=dict)


def find_asked(generator: TrainedGenerator, run: RunFolder, request: Request) -> Asked:
    """Returns what is asked of a generator.

    Raises:
        UsageError: a category, attribute or value that the generator never saw, or that it takes none.
        PackshotError: the text model is gone, or is another one.
    """
    labels = [generator.label_of(name) for name in request.labels]
    everything = list(range(len(generator.categories)))
    if not request.attributes and request.text is None:
        return Asked(labels or everything)
    known = generator.conditions
    named = run.path.name if run.is_shipped else run.path
    if request.attributes and (known is None or not known.attributes):
        raise UsageError(
            f"{named} was trained without attributes; train with: packshot train CATALOG --model latent "
            "--attributes colour"
        )
    if request.text is not None and (known is None or not known.text):
        raise UsageError(
            f"{named} was trained without texts; train with: packshot train CATALOG --model latent "
            "--text-model RUN, where RUN was made by --model clip"
        )
    assert known is not None
    attributes = known.check(request.attributes)
    said: dict[str, Any] = {"attributes": attributes} if attributes else {}
    texts = None
    if request.text is not None:
        if not request.text.strip():
            raise UsageError("--text is empty; say in a few words what the picture has to show.")
        model = open_text_model(run, known, request.text_model)
        texts = model.encode_texts([request.text])
        said["text"] = request.text
        if not labels:
            labels = [int((model.encode_texts(list(generator.categories)) @ texts[0]).argmax())]
    cond = known.encode({name: [value] for name, value in attributes.items()}, texts)
    return Asked(labels or everything, cond, said)


def open_text_model(run: RunFolder, known: Conditions, path: Path | None) -> Any:
    """Opens the text model that a run was trained with: at `path`, else the run's own copy, else where it was.

    Raises:
        PackshotError: it is not there, or it is another model.
    """
    from packshot.models.text import load_text_model

    was = Path(known.text_model["path"])
    place = path or (run.text_model_file if run.text_model_file.exists() else was)
    if not place.exists():
        raise PackshotError(
            f"The text model of {run.path} is not at {place} any more; say by --text-model where it is."
        )
    model = load_text_model(place)
    if model.about["sha256"] != known.text_model["sha256"]:
        raise PackshotError(f"{place} is not the text model that {run.path} was trained with; give that one.")
    return model
