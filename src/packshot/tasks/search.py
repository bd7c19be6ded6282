"""Photos of a catalogue by words or by a photo, and how well that works on photos that were not trained on."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from packshot.catalog import Catalog, Packed, open_catalog
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import sha256_file, write_bytes, write_json
from packshot.core.runs import RunFolder
from packshot.evaluation.features import cache_file, cached_features, content_key
from packshot.evaluation.report import open_run_catalog
from packshot.evaluation.retrieval import compute_retrieval
from packshot.images.decode import decode
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import fit_square, flatten, to_grey
from packshot.images.sheet import contact_sheet
from packshot.models.features.efflite import load_efflite0
from packshot.models.text import TextModel, load_text_model
from packshot.models.text.load import OwnTextModel
from packshot.models.text.view import picture_view
from packshot.models.weights import load_header
from packshot.release.door import check_free, release
from packshot.tasks.trained import slug
from packshot.training.conditions import photo_texts

Vectors = npt.NDArray[np.float32]
MOST = 400
CELL, COLUMNS = 160, 6


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """Photos, please. `text` or `like`, or both: then what lies near the mean of the two.

    Attributes:
        catalog: where to look.
        model: a run of `clip`, its model file, or a folder with a CLIP model of transformers.
        out: folder for the sheet; made if it is not there.
        text: words that the photos should fit.
        like: a photo that they should be like.
        n: how many.
        overwrite: replace a sheet of the same name.
    """

    catalog: Path
    model: Path
    out: Path
    text: str | None = None
    like: Path | None = None
    n: int = 12
    overwrite: bool = False


@dataclass(frozen=True)
class Match:
    """A photo that was found.

    Attributes:
        photo_id: in the catalogue.
        key: where the photo came from.
        title: its own, or its category with the colour seen in it.
        category: its category.
        split: "train" or "test".
        similarity: cosine between the query and the photo, in [-1, 1].
    """

    photo_id: str
    key: str
    title: str
    category: str
    split: str
    similarity: float


@dataclass(frozen=True)
class SearchResult:
    """What was found.

    Attributes:
        matches: the nearest photos, nearest first.
        sheet: a PNG of them.
        searched: how many photos were looked at.
        model: name of the model.
    """

    matches: list[Match]
    sheet: Path
    searched: int
    model: str


def search(request: SearchRequest) -> SearchResult:
    """Finds the photos of a catalogue that are nearest to a text, a photo, or both.

    Raises:
        UsageError: nothing to look for, a number out of its range, or a model that knows no texts.
        PackshotError: the catalogue, the model or the photo cannot be read, or a sheet of that name exists.
    """
    text = (request.text or "").strip()
    if not text and request.like is None:
        raise UsageError("Say what to look for: --text WORDS, --like PHOTO, or both.")
    if not 1 <= request.n <= MOST:
        raise UsageError(f"--n is {request.n}; it can be 1 to {MOST}.")
    named = [*([text] if text else []), *([request.like.stem] if request.like else [])]
    sheet = request.out / f"search-{slug(' '.join(named))[:60]}.png"
    if not request.overwrite:
        check_free([sheet])
    model, photos = load_text_model(request.model), open_catalog(request.catalog)
    parts = [(split, packed, embed_photos(photos, packed, model)) for split, packed in _splits(photos, model)]
    query = np.zeros(model.dim, np.float32)
    if text:
        query += model.encode_texts([text])[0]
    if request.like is not None:
        query += model.encode_images(_framed(request.like, model, parts[0][1].margin)[None])[0]
    similarity = np.concatenate([vectors for _, _, vectors in parts]) @ (
        query / max(float(np.linalg.norm(query)), 1e-9)
    )
    best = np.argsort(-similarity, kind="stable")[: request.n]
    matches = _matches(photos, parts, best, similarity)
    release(_sheet(photos, matches), sheet, overwrite=request.overwrite)
    return SearchResult(matches, sheet, len(similarity), model.name)


def embed_photos(photos: Catalog, packed: Packed, model: TextModel) -> Vectors:
    """Returns the vectors float32 [N, D] of packed photos, kept in the catalogue's cache for the next search.

    Raises:
        PackshotError: the disk refuses, or the cached file is damaged.
    """
    key = content_key(model.about["sha256"], str((model.size, model.fit, model.channels)), packed.images)
    path = cache_file(photos.cache, "embeddings", key)
    if not path.exists():
        if isinstance(model, OwnTextModel):
            features = cached_features(load_efflite0(), packed.images, photos.cache)
            vectors = model.encode_views(picture_view(packed.images, features))
        else:
            vectors = model.encode_images(packed.images)
        write_bytes(path, save({"vectors": vectors}))
    try:
        return load_file(path)["vectors"]
    except (SafetensorError, KeyError) as e:
        raise PackshotError(f"The cached file {path} is damaged; delete it and run the same command again.") from e


def makes_embeddings(run: Path) -> bool:
    """Whether this is a trained run of `clip`, and not of a generator."""
    folder = RunFolder(run)
    return folder.model_file.is_file() and load_header(folder.model_file).get("model") == "clip"


def evaluate_retrieval(run_path: Path, *, catalog: Path | None = None) -> dict[str, Any]:
    """Measures how well the texts of test photos find their photos, writes the evaluation, and returns it.

    Args:
        run_path: a run of `clip`.
        catalog: the catalogue; None: the one that the run was trained on.

    Raises:
        PackshotError: no trained run there, no test photos, or the catalogue is missing or was changed since.
    """
    run = RunFolder.open(run_path)
    photos, model = open_run_catalog(run.read(), catalog), load_text_model(run_path)
    if not photos.summary["splits"].get("test"):
        raise PackshotError(f"The catalogue {photos.path} has no test photos, so there is nothing to measure with.")
    packed = photos.packed("test", model.size, _channels(model), model.fit)
    different, own = np.unique(photo_texts(photos, packed), return_inverse=True)
    texts = model.encode_texts(different.tolist())
    result = compute_retrieval(embed_photos(photos, packed, model), texts, own.astype(np.int64), model.name)
    warnings = [] if result.texts > 1 else ["All test photos have the same text; nothing can be told apart."]
    table = {**asdict(result), "warnings": warnings, "model_sha256": sha256_file(run.model_file)}
    write_json(run.evaluation_file, table)
    return table


def _channels(model: TextModel) -> Literal[1, 3]:
    return 1 if model.channels == 1 else 3


def _splits(photos: Catalog, model: TextModel) -> Iterator[tuple[str, Packed]]:
    splits: tuple[Literal["train", "test"], ...] = ("train", "test")
    for split in splits:
        if photos.summary["splits"].get(split):
            yield split, photos.packed(split, model.size, _channels(model), model.fit, also_out=True)


def _framed(path: Path, model: TextModel, margin: int) -> npt.NDArray[np.uint8]:
    """Returns a photo as the catalogue's are shown to the model: uint8 [size, size, C]."""
    pixels = decode(path).pixels
    pixels = to_grey(pixels) if model.channels == 1 else flatten(pixels)
    square = fit_square(pixels, model.size - 2 * margin, "pad" if model.fit == "pad" else "crop")
    return np.pad(square, ((margin, margin), (margin, margin), (0, 0)))


def _matches(
    photos: Catalog, parts: list[tuple[str, Packed, Vectors]], best: npt.NDArray[np.intp], similarity: Vectors
) -> list[Match]:
    table = photos.manifest(["photo_id", "key", "category"]).to_pylist()
    about = {row["photo_id"]: row for row in table}
    found: dict[int, tuple[str, str, str]] = {}
    start = 0
    for split, packed, vectors in parts:
        rows = best[(best >= start) & (best < start + len(vectors))]
        few = Packed(
            packed.images[rows - start],
            packed.labels[rows - start],
            [packed.photo_ids[i - start] for i in rows],
            packed.categories,
            packed.margin,
        )
        texts = photo_texts(photos, few)
        found |= {int(i): (split, photo_id, text) for i, photo_id, text in zip(rows, few.photo_ids, texts, strict=True)}
        start += len(vectors)
    out = []
    for i in best.tolist():
        split, photo_id, text = found[i]
        row = about[photo_id]
        out.append(Match(photo_id, row["key"], text, row["category"], split, round(float(similarity[i]), 4)))
    return out


def _sheet(photos: Catalog, matches: list[Match]) -> ProductImage:
    pictures = []
    for match in matches:
        photo = photos.read(match.photo_id)
        pixels = fit_square(flatten(photo.pixels), CELL, "pad")
        pictures.append(photo.done(Operation("resize", "classical", {"size": CELL}), pixels))
    return contact_sheet(pictures, COLUMNS, [f"{m.similarity:.2f} {m.title}" for m in matches])
