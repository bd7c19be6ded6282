"""Where in a generator's noise the pictures of a request lie: free samples, near a photo, or on a way between two.

Letters: N pictures, D = z_dim, eps noise ~ N(0, I).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from packshot.core.errors import UsageError
from packshot.core.files import sha256_file
from packshot.core.runs import RunFolder
from packshot.images.decode import decode
from packshot.images.picture import ProductImage
from packshot.images.resize import fit_square, to_grey, to_rgb
from packshot.models.gan.stylegan2 import StyleGAN2Generator
from packshot.models.ranges import to_model, to_uint8
from packshot.sampling.generator import TrainedGenerator, cut_margin, interpolate
from packshot.sampling.inversion import Inversion, invert
from packshot.tasks.copy_gate import noise_again
from packshot.tasks.trained import generated_picture, slug


@dataclass(frozen=True, eq=False)
class Points:
    """Noise and category of each picture, and what is said of them.

    Attributes:
        eps: float32 [N, D].
        labels: N categories.
        operation: name of the operation in the pictures' history.
        params: its details, the same for each.
        columns: pictures in a row of the sheet; None: as square as it gets.
        rows: caption of each row, where there are columns.
        beside: pictures that the sheet shows first, with their captions.
        ingredients: photos that were used: `name`, `sha256`, `label`, `rms`.
        pixels: the pictures, uint8 [N, H, W, C], where they are made of more than `eps` and `labels`; else None.
        each: more of what is said of each picture; empty: nothing.
        draw: makes uint8 pictures of eps, labels and the condition; None: the generator's `pictures` does.
        again: other noise [n, D] for the pictures at some places, at attempt 1, 2, ...; None: the pictures are given.
    """

    eps: Tensor
    labels: list[int]
    operation: str
    params: Mapping[str, Any]
    columns: int | None = None
    rows: Sequence[str] = ()
    beside: Sequence[tuple[ProductImage, str]] = ()
    ingredients: list[dict[str, Any]] = field(default_factory=list)
    pixels: npt.NDArray[np.uint8] | None = None
    each: Sequence[Mapping[str, Any]] = ()
    draw: Callable[[Tensor, Sequence[int], npt.NDArray[np.float32] | None], npt.NDArray[np.uint8]] | None = None
    again: Callable[[npt.NDArray[np.int64], int], Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """A photo, the noise that comes nearest to it, and what the generator makes of that noise."""

    photo: ProductImage
    inversion: Inversion
    reconstruction: ProductImage
    about: dict[str, Any]


def sample_points(generator: TrainedGenerator, labels: Sequence[int], n: int, seed: int, psi: float) -> Points:
    """Free samples of the categories in turn."""
    params = {"seed": seed, "truncation_psi": psi}
    own = [labels[i % len(labels)] for i in range(n)]
    return Points(generator.noise(seed, 0, n), own, "sample", params, again=partial(noise_again, generator, seed))


def way_points(generator: TrainedGenerator, labels: Sequence[int], n: int, seed: int, psi: float) -> Points:
    """n steps from sample 0 to sample 1 for each category: a row of the sheet."""
    ends = generator.noise(seed, 0, 2)
    eps = interpolate(ends[0], ends[1], n).repeat(len(labels), 1)
    names = [generator.categories[label] for label in labels]
    params = {"seed": seed, "truncation_psi": psi}
    return Points(eps, [y for y in labels for _ in range(n)], "interpolate", params, columns=n, rows=names)


def like_points(
    generator: TrainedGenerator,
    run: RunFolder,
    photo: Path,
    labels: Sequence[int],
    *,
    n: int,
    seed: int,
    variation: float,
) -> Points:
    """n variations of a photo; with variation 0 its reconstruction alone."""
    found = find_photo(generator, run, photo, labels, seed)
    eps = found.inversion.eps
    noise = generator.noise(seed, 0, n if variation > 0 else 1)
    own = [found.inversion.label] * len(noise)
    params = {"seed": seed, "variation": variation, "ingredients": [found.about]}
    beside = [(found.photo, "photo"), (found.reconstruction, "nearest")]
    if variation == 0:
        beside = beside[:1]  # The one picture is the reconstruction.

    def draw(noise: Tensor, labels: Sequence[int], cond: npt.NDArray[np.float32] | None) -> npt.NDArray[np.uint8]:
        return generator.siblings(eps, noise, labels, variation, cond)

    made = Points(noise, own, "sample_like", params, beside=beside, ingredients=[found.about], draw=draw)
    return replace(made, again=partial(noise_again, generator, seed)) if variation > 0 else made


def mix_points(
    generator: TrainedGenerator, run: RunFolder, ends: tuple[str, str], labels: Sequence[int], n: int, seed: int
) -> Points:
    """n steps on the great circle between two photos or samples; the category changes in the middle if they differ."""
    eps, own, points = _ends(generator, run, ends, labels, seed)
    half = n // 2
    return replace(points, eps=interpolate(eps[0], eps[1], n), labels=[own[0]] * (n - half) + [own[1]] * half)


def style_points(
    generator: TrainedGenerator, run: RunFolder, ends: tuple[str, str], labels: Sequence[int], seed: int
) -> Points:
    """Pictures with the coarse styles of A and the fine ones of B, for every crossover: the first is A, the last B.

    Each is of the category that its coarsest style is of.

    Raises:
        UsageError: the generator has no styles.
    """
    network = _styled(generator)
    n = network.layers + 1
    eps, own, points = _ends(generator, run, ends, labels, seed)
    crossover = torch.arange(n - 1, -1, -1)
    (a, b), (y, y2) = (e.expand(n, -1) for e in eps), (torch.full((n,), label) for label in own)
    with torch.inference_mode():
        pixels = to_uint8(network.crossed(a, y, b, y2, crossover)).cpu().numpy()
    return replace(
        points,
        eps=torch.cat([a[:-1], b[-1:]]),
        labels=[own[0]] * (n - 1) + [own[1]],
        pixels=cut_margin(pixels, generator.margin),
        each=[{"crossover": int(k), "styles": n - 1} for k in crossover],
    )


def crossovers(generator: TrainedGenerator) -> int:
    """Returns how many pictures a mix of styles gives: its layers, and one more.

    Raises:
        UsageError: the generator has no styles.
    """
    return _styled(generator).layers + 1


def _styled(generator: TrainedGenerator) -> StyleGAN2Generator:
    if not isinstance(generator.network, StyleGAN2Generator):
        raise UsageError(f"Model '{generator.model}' has no styles to mix; leave out --styles, or use a 'stylegan2'.")
    return generator.network


def _ends(
    generator: TrainedGenerator, run: RunFolder, ends: tuple[str, str], labels: Sequence[int], seed: int
) -> tuple[list[Tensor], list[int], Points]:
    """Returns noise [D] and category of both ends of a mix, and points of none but with all that is said of it."""
    eps, own, beside, ingredients = [], [], [], []
    for end in ends:
        index = sample_index(end)
        if index is not None:
            eps.append(generator.noise(seed, index, 1)[0])
            own.append(labels[index % len(labels)])
            continue
        found = find_photo(generator, run, Path(end), labels, seed)
        eps.append(found.inversion.eps)
        own.append(found.inversion.label)
        beside.append((found.photo, "photo"))
        ingredients.append(found.about)
    params = {"seed": seed, "ends": [Path(end).name for end in ends], "ingredients": ingredients}
    return eps, own, Points(torch.empty(0), [], "mix", params, beside=beside, ingredients=ingredients)


def sample_index(end: str) -> int | None:
    """Returns the number that an end of a mix is, or None where it is a path."""
    return int(end) if end.isascii() and end.isdigit() else None


def end_name(end: str) -> str:
    """Returns an end of a mix as a part of a file name."""
    return end if sample_index(end) is not None else slug(Path(end).stem)


def find_photo(generator: TrainedGenerator, run: RunFolder, path: Path, labels: Sequence[int], seed: int) -> Found:
    """Inverts a photo that is framed as the training photos were.

    Raises:
        PackshotError: the photo cannot be read.
    """
    picture = decode(path)
    checksum = sha256_file(path)
    spec, margin = generator.spec, generator.margin
    pixels = to_grey(picture.pixels) if spec.channels == 1 else to_rgb(picture.pixels)
    framing: Literal["crop", "pad"] = "pad" if run.read()["config"]["data"]["fit"] == "pad" else "crop"
    square = fit_square(pixels, spec.size - 2 * margin, framing)
    whole = np.pad(square, ((margin, margin), (margin, margin), (0, 0)))
    inversion = invert(generator, to_model(torch.from_numpy(whole.copy())[None]), labels, seed)
    made = generator.pictures(inversion.eps[None], [inversion.label])[0]
    difference = made.astype(np.float64) - square
    category = generator.categories[inversion.label]
    rms = round(float(np.sqrt(np.square(difference).mean())), 2)
    about = {"name": path.name, "sha256": checksum, "label": category, "rms": rms}
    return Found(
        ProductImage(to_rgb(square), history=picture.history),
        inversion,
        generated_picture(made, generator, "reconstruct", {"ingredients": [about]}),
        about,
    )


def check_fraction(name: str, value: float) -> None:
    """Refuses a value outside of 0 .. 1.

    Raises:
        UsageError: it is.
    """
    if not 0 <= value <= 1:
        raise UsageError(f"{name} is {value}; it can be from 0 to 1.")
