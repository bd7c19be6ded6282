"""Training of the networks behind `enhance`.

Every sample is a function of (seed, step, place in the batch): a run that was stopped goes on as if it had not been.

Letters: s scale; x what the network gets, y what it should make, b the Lanczos enlargement of x; L1 the mean absolute
difference; FFT the two-dimensional Fourier transform.

Source: the loss, L1 + weight * L1 of the transforms, is that of SAFMN (Sun et al. 2023, arXiv:2302.13800).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from packshot.core.random import stream_seed
from packshot.images.degrade import Damage, damage, shrunk
from packshot.images.resize import Pixels
from packshot.models.restore.apply import lanczos
from packshot.models.restore.net import RestoreConfig, RestoreNet
from packshot.models.weights import save_tensors
from packshot.training.checkpoint import Progress
from packshot.training.ema import make_ema
from packshot.training.steps import run_steps


@dataclass(frozen=True, kw_only=True)
class RestoreTraining:
    """A training run of one restoration network.

    Attributes:
        about: the command that runs it.
        net: sizes of the network.
        seed: everything random derives from it.
        steps: length of the run.
        batch_size: samples a step.
        patch: side of what the network gets, in pixels.
        scale_weights: how often each of `net.scales` is trained.
        reduce: photos are first made smaller by a factor drawn from this range, which takes their own JPEG traces away.
        keep_size: share of samples whose photo is not made smaller.
        lr: highest learning rate; it falls along half a cosine to a hundredth.
        fft_weight: weight of the loss of the transforms.
        ema_halflife_kimg: of the average of the weights that is kept, in thousands of samples.
        bfloat16: whether the network's operations run in bfloat16 while it trains.
    """

    about: str = ""
    net: RestoreConfig = field(default_factory=RestoreConfig)
    seed: int = 0
    steps: int = 20_000
    batch_size: int = 6
    patch: int = 48
    scale_weights: tuple[float, ...] = (0.5, 0.15, 0.35)
    reduce: tuple[float, ...] = (0.5, 0.95)
    keep_size: float = 0.5
    lr: float = 1e-3
    fft_weight: float = 0.02
    ema_halflife_kimg: float = 1.0
    bfloat16: bool = True


@dataclass(frozen=True)
class Samples:
    """The batches of a run.

    Attributes:
        photos: uint8 [H, W, 3], or [H, W, 4]: those are laid over a colour drawn anew each time.
        config: the run.
    """

    photos: Sequence[Pixels]
    config: RestoreTraining

    def at(self, step: int) -> tuple[int, Tensor, Tensor, Tensor, Tensor | None]:
        """Returns s, x [n, 3, h, w], b and y [n, 3, s h, s w], float32 in [0, 1], and the controls [n, k] or None."""
        config = self.config
        rng = self._rng("scale", step)
        weights = np.array(config.scale_weights) / sum(config.scale_weights)
        scale = int(rng.choice(config.net.scales, p=weights))
        pairs = [self._pair(step, i, scale) for i in range(config.batch_size)]
        x = _batch([p[0] for p in pairs])
        y = _batch([p[1] for p in pairs])
        base = torch.from_numpy(np.stack([lanczos(p[0], scale) for p in pairs])).permute(0, 3, 1, 2) / 255
        controls = torch.tensor(np.array([p[2] for p in pairs]), dtype=torch.float32) if config.net.controls else None
        return scale, x, base, y, controls

    def _rng(self, name: str, *index: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(stream_seed(self.config.seed, name, *index)))

    def _pair(self, step: int, i: int, scale: int) -> tuple[Pixels, Pixels, tuple[float, ...]]:
        rng = self._rng("sample", step, i)
        crop = self._crop(rng, self.config.patch * scale)
        if not self.config.net.controls:
            return shrunk(crop, scale), crop, ()
        kinds = draw_damage(rng)
        # Mostly all of it, as users ask; sometimes a part, or one kind alone.
        chance = rng.random()
        share = np.ones(3) if chance < 0.5 else np.where(rng.random(3) < 0.6, np.round(rng.random(3)), rng.random(3))
        share = share.astype(np.float64)
        deblur, denoise, unjpeg = map(float, share)
        target = kinds.lessened(deblur=deblur, denoise=denoise, unjpeg=unjpeg)
        return damage(crop, kinds), damage(crop, target), (deblur, denoise, unjpeg)

    def _crop(self, rng: np.random.Generator, side: int) -> Pixels:
        photo = self.photos[int(rng.integers(len(self.photos)))]
        factor = 1.0 if rng.random() < self.config.keep_size else rng.uniform(*self.config.reduce)
        height, width = photo.shape[:2]
        wanted = min(round(side / factor), height, width)
        top, left = int(rng.integers(height - wanted + 1)), int(rng.integers(width - wanted + 1))
        crop = photo[top : top + wanted, left : left + wanted]
        if crop.shape[2] == 4:
            colour = rng.integers(0, 256, 3) if rng.random() < 0.5 else np.full(3, rng.integers(225, 256))
            alpha = crop[..., 3:].astype(np.float32) / 255
            crop = np.rint(crop[..., :3] * alpha + colour.astype(np.float32) * (1 - alpha)).astype(np.uint8)
        if wanted != side:
            crop = np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS))
        turns = int(rng.integers(8))
        crop = np.rot90(crop, turns % 4)
        return np.ascontiguousarray(crop[:, ::-1] if turns >= 4 else crop)


def draw_damage(rng: np.random.Generator) -> Damage:
    """Returns damage as photos from phones and messengers show it; one photo in ten has none."""
    blur, noise, jpeg, subsampled, any_ = rng.random(5)
    if any_ < 0.1:
        return Damage()
    return Damage(
        blur=float(rng.uniform(0.3, 1.8)) if blur < 0.6 else 0.0,
        noise=float(25 * rng.random() ** 1.5) if noise < 0.75 else 0.0,
        grain=float(rng.random()),
        jpeg=int(rng.integers(30, 96)) if jpeg < 0.8 else None,
        subsampled=bool(subsampled < 0.7),
        seed=int(rng.integers(2**62)),
    )


def compute_loss(made: Tensor, y: Tensor, fft_weight: float) -> Tensor:
    """Returns L1(made, y) + fft_weight * L1(FFT made, FFT y), a scalar; the transforms are orthonormal."""
    difference = made - y
    spectrum = torch.fft.rfft2(difference, norm="ortho")
    return difference.abs().mean() + fft_weight * torch.view_as_real(spectrum).abs().mean()


def train_restore(
    photos: Sequence[Pixels], config: RestoreTraining, out: Path, *, until: int | None = None, log_every: int = 50
) -> RestoreNet:
    """Trains a network, or goes on with the run that lies in `out`, and returns the average of its weights.

    Writes OUT/checkpoints, OUT/log.jsonl and, at every checkpoint, OUT/model.safetensors (float32).

    Args:
        photos: see `Samples`; every side at least `patch` times the largest scale.
        config: the run.
        out: its folder.
        until: the step to stop at for now; None: the end of the run.
        log_every: steps between lines of the log; a checkpoint is written at every fifth.
    """
    torch.manual_seed(stream_seed(config.seed, "weights") % 2**63)
    net = RestoreNet(config.net).to(memory_format=torch.channels_last)
    ema = make_ema(net)
    optimizer = torch.optim.Adam(net.parameters(), config.lr, betas=(0.9, 0.99), fused=True)
    samples = Samples(photos, config)

    def learn(step: int) -> dict[str, float]:
        scale, x, base, y, controls = samples.at(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            made = net(x, scale, controls)
        loss = compute_loss(base + made.float(), y, config.fft_weight)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return {"loss": float(loss.detach())}

    run_steps(
        learn,
        {"net": net, "ema": ema},
        {"net": optimizer},
        config,
        out,
        save=lambda progress: save_restore(out / "model.safetensors", ema, config, progress),
        until=until,
        log_every=log_every,
        save_every=5 * log_every,
    )
    return ema


def save_restore(path: Path, net: RestoreNet, config: RestoreTraining, progress: Progress) -> None:
    """Writes the weights with the sizes of the network in the header."""
    about = json.loads(json.dumps(asdict(config.net)))
    header = {"model": "restore", "config": about, "steps": progress.step, "cpu_seconds": progress.cpu_seconds}
    save_tensors(path, net.state_dict(), header)


def _batch(pictures: list[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
