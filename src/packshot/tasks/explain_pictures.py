"""Two parts of an explanation: what the discriminator looks at, and which training photos the samples resemble.

Letters: N pictures, S side in pixels, C channels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from packshot.catalog import Packed
from packshot.core.config import build_config
from packshot.core.errors import PackshotError
from packshot.core.runs import RunFolder
from packshot.evaluation.copies import compute_thumbnails, find_nearest, pixel_distances
from packshot.evaluation.evaluate import fit_samples
from packshot.evaluation.features import cached_features, compute_features, features_file
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import to_rgb
from packshot.images.seen import find_object
from packshot.images.sheet import contact_sheet
from packshot.models.features.efflite import load_efflite0
from packshot.models.table import find_model
from packshot.models.weights import load_into, load_tensors, take_part
from packshot.release.door import release
from packshot.sampling.generator import TrainedGenerator, cut_margin, equal_shares, sheet_scale
from packshot.sampling.saliency import compute_saliency
from packshot.tasks.trained import generated_picture
from packshot.training.checkpoint import list_checkpoints

Pixels = npt.NDArray[np.uint8]

SAMPLES = 16
HEAT = np.array([255.0, 70.0, 0.0])


def discriminator_view(
    run: RunFolder, about: Mapping[str, Any], generator: TrainedGenerator, folder: Path, *, seed: int
) -> dict[str, Any]:
    """Writes `discriminator.png`: samples, and the same with the pixels that move the discriminator in red.

    Returns:
        `sheet`, `share_on_object` (of all that it looks at, how much lies on the object), `object_area` (share of the
        picture that the object takes); or a `note` why there is none.

    Raises:
        PackshotError: the disk refuses.
    """
    try:
        discriminator = _load_discriminator(run, about, generator)
    except PackshotError as e:
        return {"note": str(e)}
    labels = torch.from_numpy(equal_shares(SAMPLES, len(generator.categories)))
    eps = generator.noise(seed, 0, SAMPLES)
    with torch.no_grad():
        x = generator.render(eps, labels)
    maps = compute_saliency(discriminator, x, labels).numpy()[..., None]
    maps = cut_margin(maps, generator.margin)[..., 0]
    images = generator.pictures(eps, labels)
    inside = find_object(images)
    pictures = []
    for image, heat in zip(images, maps, strict=True):
        pictures.append(generated_picture(image, generator, "sample", {"seed": seed}))
        pictures.append(generated_picture(_heated(image, heat), generator, "saliency", {"seed": seed}))
    sheet = contact_sheet(pictures, columns=8, scale=sheet_scale(generator.spec.size))
    release(sheet, folder / "discriminator.png", overwrite=True)
    return {
        "sheet": "discriminator.png",
        "share_on_object": float((maps * inside).sum() / max(maps.sum(), 1e-12)),
        "object_area": float(inside.mean()),
    }


def _load_discriminator(run: RunFolder, about: Mapping[str, Any], generator: TrainedGenerator) -> nn.Module:
    entry = find_model(generator.model)
    if "discriminator" not in entry.networks:
        raise PackshotError(f"Models of the family '{entry.family}' have no discriminator.")
    paths = list_checkpoints(run.checkpoints)
    if not paths:
        raise PackshotError(f"The run {run.path} keeps no checkpoint, and only those hold the discriminator.")
    tensors, _ = load_tensors(paths[-1])
    discriminator = entry.networks["discriminator"](build_config(entry.config, about["config"]["net"]), generator.spec)
    load_into(discriminator, take_part(tensors, "net/discriminator/"), str(paths[-1]))
    return discriminator.eval().requires_grad_(False)


def _heated(image: Pixels, heat: npt.NDArray[np.float32]) -> Pixels:
    """Returns a picture [S, S, C] as RGB, dimmed, with `heat` [S, S] laid over it in red."""
    strength = np.clip(heat / max(float(np.quantile(heat, 0.99)), 1e-12), 0, 1)[..., None]
    base = 0.6 * to_rgb(image).astype(np.float64)
    mixed: npt.NDArray[np.float64] = base * (1 - strength) + HEAT * strength
    return np.rint(mixed).astype(np.uint8)


def nearest_photos(
    train: Packed, cache: Path, generator: TrainedGenerator, folder: Path, *, seed: int
) -> dict[str, Any]:
    """Writes `nearest.png`: each of the first samples beside the training photos that it is nearest to.

    Nearest by the features of the evaluation's net where `packshot evaluate` has left them in the cache (they take
    minutes to compute), and by thumbnails.

    Returns:
        `sheet` and `pairs`: `sample`, `category`, and for each `by` the `photo_id` and `pixel_rms`; a `note` where the
        features are missing.

    Raises:
        PackshotError: the disk refuses, or the cached features are damaged.
    """
    labels = equal_shares(SAMPLES, len(generator.categories)).tolist()
    images = generator.sample(labels, seed)
    whole = fit_samples(images, train)
    found = {"thumbnails": find_nearest(compute_thumbnails(whole), compute_thumbnails(train.images))[0]}
    note = "Nearest by thumbnails alone; packshot evaluate computes the features of the photos."
    net = load_efflite0()
    if features_file(net, train.images, cache).exists():
        features = cached_features(net, train.images, cache)
        found = {"features": find_nearest(compute_features(net, whole), features)[0], **found}
        note = ""
    distances = {by: pixel_distances(whole, train.images, nearest) for by, nearest in found.items()}
    pairs, pictures = [], []
    for i, label in enumerate(labels):
        category = generator.categories[label]
        near = {}
        pictures.append(generated_picture(images[i], generator, "sample", {"seed": seed, "index": i}))
        for by, nearest in found.items():
            photo = int(nearest[i])
            near[by] = {"photo_id": train.photo_ids[photo], "pixel_rms": round(float(distances[by][i]), 2)}
            pixels = cut_margin(train.images[photo][None], train.margin)[0]
            pictures.append(ProductImage(to_rgb(pixels), history=(Operation("decode", "capture"),)))
        pairs.append({"sample": i, "category": category, **near})
    names = ["sample", *found]
    captions = [name for _ in labels for name in names]
    sheet = contact_sheet(pictures, 4 * len(names), captions, sheet_scale(generator.spec.size))
    release(sheet, folder / "nearest.png", overwrite=True)
    return {"sheet": "nearest.png", "pairs": pairs, **({"note": note} if note else {})}
