"""What a run can be asked for besides the category: read from the catalogue and from the photos themselves."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.catalog import Catalog, Packed
from packshot.catalog.columns import read_column
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import write_bytes
from packshot.core.runs import RunFolder
from packshot.images.seen import SEEN, name_colours
from packshot.models.conditions import Conditions
from packshot.models.table import ModelEntry
from packshot.training.config import DataConfig

LEAST_PHOTOS = 2
MOST_VALUES = 64


def read_conditions(
    run: RunFolder, photos: Catalog, packed: Packed, data: DataConfig, entry: ModelEntry
) -> tuple[Conditions | None, npt.NDArray[np.float32] | None]:
    """Returns the conditions that a run's settings ask for, and the condition of each training photo [N, A].

    A value that only one photo has is left out, and so are the rarest beyond 64 values of one attribute.

    Raises:
        UsageError: the model takes none; or an attribute says nothing that tells photos apart.
        PackshotError: the text model is missing.
    """
    if not data.attributes and not data.text_model:
        return None, None
    if not entry.conditions:
        raise UsageError(
            f"Model '{entry.name}' knows categories alone; to ask for attributes or a text train with --model latent."
        )
    columns = {name: read_attribute(photos, packed, name) for name in data.attributes}
    conditions, texts = Conditions({name: _values(name, column) for name, column in columns.items()}), None
    if data.text_model:
        from packshot.models.text import load_text_model

        own = run.text_model_file
        model = load_text_model(own if own.exists() else Path(data.text_model))
        texts = encode_all(model, photo_texts(photos, packed))
        conditions = Conditions(conditions.attributes, model.dim, dict(model.about))
    return conditions, conditions.encode(columns, texts, len(packed.images))


def keep_text_model(run: RunFolder, path: Path) -> None:
    """Copies a text model of Packshot's own into the run folder, so that the run can be taken elsewhere."""
    from packshot.models.text import own_model_file

    source = own_model_file(path)
    if source is not None:
        write_bytes(run.text_model_file, source.read_bytes())


def read_attribute(photos: Catalog, packed: Packed, name: str) -> Sequence[str | None]:
    """Returns an attribute of each packed photo: seen in it, or else from a column of the catalogue."""
    return SEEN[name](packed.images) if name in SEEN else read_column(photos, name, packed.photo_ids)


def photo_texts(photos: Catalog, packed: Packed) -> list[str]:
    """Returns the words for each packed photo: its title; without one the colour seen in it and its category."""
    titles = read_column(photos, "title", packed.photo_ids)
    untitled = [i for i, title in enumerate(titles) if title is None]
    colours = dict(zip(untitled, name_colours(packed.images[untitled]), strict=True)) if untitled else {}
    categories = [packed.categories[label] for label in packed.labels]
    return [title or f"{colours[i]} {categories[i].lower()}" for i, title in enumerate(titles)]


def encode_all(model: Any, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Returns the embeddings [N, D] of texts; each different one is embedded once."""
    different = sorted(set(texts))
    place = {text: i for i, text in enumerate(different)}
    embedded = model.encode_texts(different)
    if not np.isfinite(embedded).all():
        raise PackshotError("The text model gives embeddings that are not numbers; train it again.")
    return np.asarray(embedded[[place[text] for text in texts]], np.float32)


def _values(name: str, column: Sequence[str | None]) -> tuple[str, ...]:
    counts = Counter(value for value in column if value is not None)
    common = [value for value, n in counts.most_common(MOST_VALUES) if n >= LEAST_PHOTOS]
    if len(common) < 2:
        raise UsageError(
            f"The attribute '{name}' has no two values that {LEAST_PHOTOS} photos or more have; leave it out."
        )
    return tuple(sorted(common))
