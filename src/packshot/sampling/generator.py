"""A trained generator: load it, draw from it, always the same pixels for the same seed.

Letters: N pictures, K categories, z prior sample.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from packshot.core.config import apply_settings, build_config, to_table
from packshot.core.errors import PackshotError, UsageError, spelled
from packshot.core.random import stream_seed
from packshot.models.conditions import Conditions
from packshot.models.ranges import to_uint8
from packshot.models.spec import PictureSpec
from packshot.models.table import find_model
from packshot.models.weights import load_into, load_tensors, save_tensors, take_part
from packshot.sampling.prior import ClassGaussian

BATCH = 100


@dataclass(frozen=True)
class TrainedGenerator:
    """The network that makes pictures, and what it needs to know of its training.

    Attributes:
        network: in evaluation mode; has `z_dim`.
        model: name in the table of models.
        spec: size, channels and number of categories that the network makes.
        categories: their names; a label is an index into them.
        margin: border in pixels that training added on each side; it is cut off from the pictures.
        prior: what turns N(0, I) into the network's z; None: nothing has to.
        conditions: what can be asked for besides the category; None: nothing.
    """

    network: nn.Module
    model: str
    spec: PictureSpec
    categories: tuple[str, ...]
    margin: int
    prior: ClassGaussian | None = None
    conditions: Conditions | None = None

    def label_of(self, category: str) -> int:
        """Returns the label of a category's name, upper and lower case alike.

        Raises:
            UsageError: no such category; the nearest name is suggested.
        """
        return self.categories.index(spelled("category", category, self.categories))

    def noise(self, seed: int, start: int, n: int) -> Tensor:
        """Returns eps ~ N(0, I), float32 [n, z_dim], for pictures start .. start + n - 1 of a seed.

        Each picture has its own stream, so picture i is the same however many are asked for and in what batches.
        """
        rows = []
        for i in range(start, start + n):
            generator = torch.Generator().manual_seed(stream_seed(seed, "sample", i))
            rows.append(torch.randn(self.network.z_dim, generator=generator))
        return torch.stack(rows)

    def decode(self, z: Tensor, label: Tensor, cond: Tensor | None = None) -> Tensor:
        """Returns pictures [N, C, H, W] in [-1, 1] for z [N, z_dim] and label [N]; gradients flow to z.

        `cond` float32 [N, A] asks for more than the category, of a network that has `conditions`.
        """
        if cond is not None:
            return self.network.decode(z, label, cond)
        return getattr(self.network, "decode", self.network)(z, label)

    def render(self, eps: Tensor, label: Tensor, *, truncation_psi: float = 1.0, cond: Tensor | None = None) -> Tensor:
        """Returns pictures [N, C, H, W] in [-1, 1], margin and all, for eps [N, z_dim] and label [N].

        Gradients flow to eps.

        Args:
            eps: ~ N(0, I).
            label: int64.
            truncation_psi: 1 leaves the samples as they are, 0 gives the category's typical picture. A network with
                `truncated` does it its own way; for others eps is made shorter before the prior.
            cond: as for `decode`.
        """
        own = getattr(self.network, "truncated", None) if truncation_psi != 1 else None
        if own is None and truncation_psi != 1:
            eps = eps * truncation_psi
        z = eps if self.prior is None else self.prior(eps, label)
        return self.decode(z, label, cond) if own is None else own(z, label, truncation_psi)

    @property
    def is_smooth(self) -> bool:
        """Whether gradients flow from the pictures to the noise; not where the noise draws codes from a codebook."""
        with torch.enable_grad():
            eps = self.noise(0, 0, 1).to(next(self.network.parameters()).device).requires_grad_(True)
            return self.render(eps, torch.zeros(1, dtype=torch.int64, device=eps.device)).requires_grad

    def whiten(self, z: Tensor, label: Tensor) -> Tensor:
        """Returns the eps [N, z_dim] that the prior turns into z [N, z_dim] for label [N]."""
        return z if self.prior is None else self.prior.inverse(z, label)

    def pictures(
        self,
        eps: Tensor,
        labels: Tensor | Sequence[int],
        *,
        truncation_psi: float = 1.0,
        cond: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns uint8 pictures [N, H, W, C] for eps [N, z_dim] and labels [N]; the margin is cut off.

        `truncation_psi` and `cond` [N, A] are as in `render`.
        """
        return self._images(partial(self.render, truncation_psi=truncation_psi), eps, labels, cond)

    def pictures_at(self, z: Tensor, labels: Tensor | Sequence[int]) -> np.ndarray:
        """Returns uint8 pictures [N, H, W, C] for the network's own z [N, z_dim]; the margin is cut off."""
        return self._images(self.decode, z, labels, None)

    def siblings(
        self,
        eps: Tensor,
        noise: Tensor,
        labels: Tensor | Sequence[int],
        variation: float,
        cond: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns uint8 pictures [N, H, W, C] like that of eps [D]; the margin is cut off.

        A network with `siblings` (a flow, whose noise knows no near and far) has its own way; unless `cond` asks for
        something: then the noise is kept and what is asked for changes. For all others the noise is turned.

        Args:
            eps: noise of the picture that they shall be like.
            noise: ~ N(0, I), [N, D], of the free samples at the other end.
            labels: N categories.
            variation: 0 gives the picture itself, 1 free samples.
            cond: as for `pictures`.
        """
        own = getattr(self.network, "siblings", None)
        if own is None or cond is not None:
            return self.pictures(vary(eps, noise, variation), labels, cond=cond)

        def make(noise: Tensor, label: Tensor, cond: None) -> Tensor:
            made: Tensor = own(eps.to(noise).expand(len(noise), -1), noise, label, variation)
            return made

        return self._images(make, noise, labels, None)

    def _images(
        self, make: Callable[..., Tensor], points: Tensor, labels: Tensor | Sequence[int], cond: np.ndarray | None
    ) -> np.ndarray:
        device = next(self.network.parameters()).device
        points, labels = points.to(device), torch.as_tensor(labels, dtype=torch.int64, device=device)
        asked = None if cond is None else torch.as_tensor(cond, dtype=torch.float32, device=device)
        out = []
        with torch.inference_mode():
            for start in range(0, len(points), BATCH):
                part = slice(start, start + BATCH)
                made = make(points[part], labels[part], cond=None if asked is None else asked[part])
                out.append(to_uint8(made).cpu().numpy())
        return cut_margin(np.concatenate(out), self.margin)

    def sample(self, labels: Sequence[int], seed: int) -> np.ndarray:
        """Returns one uint8 picture [N, H, W, C] for each label; picture i depends on (seed, i, label) alone."""
        return self.pictures(self.noise(seed, 0, len(labels)), labels)


def cut_margin(images: np.ndarray, margin: int) -> np.ndarray:
    """Returns pictures [N, H, W, C] without the border of `margin` px that training added on each side."""
    return images[:, margin : images.shape[1] - margin, margin : images.shape[2] - margin]


def equal_shares(n: int, categories: int) -> np.ndarray:
    """Returns labels int64 [n], 0, 1, ... K-1, 0, 1, ...: every category the same number of times, or one more."""
    return np.arange(n, dtype=np.int64) % categories


def vary(eps: Tensor, noise: Tensor, variation: float) -> Tensor:
    """Returns noise [N, D] between `eps` [D] (variation 0) and `noise` [N, D] (variation 1).

    cos(t) eps + sin(t) noise, t = variation * pi / 2: where both are N(0, I), so is every mixture.
    """
    angle = variation * math.pi / 2
    return math.cos(angle) * eps[None] + math.sin(angle) * noise


def interpolate(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Returns z [steps, z_dim] on the great circle from a to b [z_dim].

    Points of a straight line lie nearer to the origin than samples of N(0, I) do (White 2016, arXiv:1609.04468).
    """
    cosine = torch.dot(a, b) / (a.norm() * b.norm())
    angle = torch.arccos(cosine.clamp(-1, 1))
    t = torch.linspace(0, 1, steps)[:, None]
    if angle < 1e-4:
        return torch.lerp(a[None], b[None], t)
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def save_generator(path: Path, generator: TrainedGenerator, net: dict[str, Any], **about: Any) -> None:
    """Writes what `load_generator` reads.

    Args:
        path: a .safetensors file.
        generator: network, prior and what they need to know.
        net: the network's configuration as a table.
        about: more facts for the header, for example the catalogue's checksum.
    """
    tensors = {f"net/{k}": v for k, v in generator.network.state_dict().items()}
    if generator.prior is not None:
        tensors |= {f"prior/{k}": v for k, v in generator.prior.state_dict().items()}
    header = {
        "model": generator.model,
        "net": net,
        "spec": to_table(generator.spec),
        "categories": list(generator.categories),
        "margin": generator.margin,
        "conditions": generator.conditions and to_table(generator.conditions),
    }
    save_tensors(path, tensors, header | about)


def load_generator(path: Path, settings: Sequence[str] = ()) -> TrainedGenerator:
    """Loads `model.safetensors` of a run.

    Args:
        path: the file.
        settings: `net.guidance=3` and the like, in place of the file's own: how it samples, not how large it is.

    Raises:
        PackshotError: missing, damaged or made by another version.
        UsageError: the model makes no pictures, or has no such setting.
    """
    tensors, header = load_tensors(path)
    if any(not setting.startswith("net.") for setting in settings):
        raise UsageError(f"{', '.join(settings)}: only settings of the network (net.guidance=3) change how it samples.")
    try:
        entry = find_model(header["model"])
    except (KeyError, TypeError, UsageError) as e:
        raise PackshotError(f"{path} was written by another version of Packshot ({e}); train again.") from e
    if entry.makes != "pictures":
        raise UsageError(
            f"{path} is a '{entry.name}', which makes no pictures; search with it: packshot search CATALOG --model ..."
        )
    try:
        header = apply_settings(header, settings)
        spec = PictureSpec(**header["spec"])
        network = entry.networks[entry.sampler](build_config(entry.config, header["net"]), spec)
        categories, margin = tuple(header["categories"]), int(header["margin"])
        asked = header.get("conditions")
        conditions = Conditions.of_table(asked) if asked else None
    except (KeyError, TypeError, UsageError) as e:
        if settings and isinstance(e, UsageError):
            raise
        raise PackshotError(f"{path} was written by another version of Packshot ({e}); train again.") from e
    try:
        load_into(network, take_part(tensors, "net/"), str(path))
    except PackshotError as e:
        if settings:
            raise UsageError(f"{', '.join(settings)} does not fit the trained weights of {path}: {e}") from e
        raise
    network = network.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    prior, fitted = None, take_part(tensors, "prior/")
    if fitted:
        prior = ClassGaussian(spec.categories, network.z_dim).eval()
        load_into(prior, fitted, str(path))
    return TrainedGenerator(network, entry.name, spec, categories, margin, prior, conditions)


def batches_of(labels: np.ndarray, size: int = 1000) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (start, labels) chunks, so that long samplings can show progress."""
    for start in range(0, len(labels), size):
        yield start, labels[start : start + size]


def sheet_scale(size: int) -> int:
    """Returns how many times to enlarge pictures of `size` px on a contact sheet, so that people recognise them."""
    return max(1, 96 // size)
