"""Training of the inpainter.

Every sample is a function of (seed, step, place in the batch): a run that was stopped goes on as if it had not been.

Letters: y the picture, x the same with a smooth filling in its hole, m the mask; G the inpainter, D the discriminator;
f D's features. The loss of G is, with weights, the mean |G(x) - y| in the hole, the same at an eighth of the size, the
mean |f(G(x)) - f(y)| (feature matching: Wang et al. 2018, arXiv:1711.11585) and -D(G(x)) (hinge, Lim and Ye 2017).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from packshot.core.random import stream_seed
from packshot.images.resize import Pixels, flatten
from packshot.images.smooth import Mask, fill_smooth
from packshot.losses.gan import hinge_d_fake, hinge_d_real, wasserstein_g
from packshot.models.inpaint.net import InpaintConfig, InpaintNet, PatchDiscriminator
from packshot.models.weights import save_tensors
from packshot.training.checkpoint import Progress
from packshot.training.ema import make_ema
from packshot.training.steps import run_steps

HOLES = ("box", "blob", "stroke")


@dataclass(frozen=True, kw_only=True)
class InpaintTraining:
    """A training run of the inpainter.

    Attributes:
        about: the command that runs it.
        net: sizes of the network.
        seed: everything random derives from it.
        steps: length of the run.
        batch_size: samples a step.
        side: of a sample in pixels, a multiple of 16.
        holes: least and greatest share of a sample that is hole.
        lr: highest learning rate; it falls along half a cosine to a hundredth.
        coarse_weight: of the difference at an eighth of the size.
        match_weight: of feature matching.
        adversarial_weight: of the discriminator's word.
        adversarial_from: share of the run before the discriminator begins.
        ema_halflife_kimg: of the average of the weights that is kept, in thousands of samples.
        bfloat16: whether the inpainter's operations run in bfloat16 while it trains.
    """

    about: str = ""
    net: InpaintConfig = field(default_factory=InpaintConfig)
    seed: int = 0
    steps: int = 20_000
    batch_size: int = 8
    side: int = 192
    holes: tuple[float, ...] = (0.04, 0.3)
    lr: float = 4e-4
    coarse_weight: float = 0.5
    match_weight: float = 0.3
    adversarial_weight: float = 0.003
    adversarial_from: float = 0.3
    ema_halflife_kimg: float = 2.0
    bfloat16: bool = True


@dataclass(frozen=True)
class Samples:
    """The batches of a run.

    Attributes:
        photos: uint8 [H, W, 3], or [H, W, 4]: those are laid over a colour drawn anew each time.
        config: the run.
    """

    photos: Sequence[Pixels]
    config: InpaintTraining

    def at(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns y and x, float32 [n, 3, S, S] in [0, 1], and m, float32 [n, 1, S, S]."""
        samples = [self._one(step, i) for i in range(self.config.batch_size)]
        y = torch.from_numpy(np.stack([s[0] for s in samples])).permute(0, 3, 1, 2).float() / 255
        x = torch.from_numpy(np.stack([s[1] for s in samples])).permute(0, 3, 1, 2) / 255
        return y, x, torch.from_numpy(np.stack([s[2] for s in samples]))[:, None].float()

    def _one(self, step: int, i: int) -> tuple[Pixels, np.ndarray, Mask]:
        rng = np.random.Generator(np.random.PCG64(stream_seed(self.config.seed, "sample", step, i)))
        photo, side = self.photos[int(rng.integers(len(self.photos)))], self.config.side
        height, width = photo.shape[:2]
        # From a little larger than the sample up to the whole photo: the network meets holes at every zoom.
        wanted = int(rng.integers(min(side, height, width), min(height, width) + 1))
        top, left = int(rng.integers(height - wanted + 1)), int(rng.integers(width - wanted + 1))
        crop = photo[top : top + wanted, left : left + wanted]
        crop = flatten(crop, tuple(int(v) for v in rng.integers(0, 256, 3)))
        y = np.array(Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS))
        if rng.random() < 0.5:
            y = np.ascontiguousarray(y[:, ::-1])
        kind = HOLES[int(rng.integers(len(HOLES)))]
        hole = draw_hole(side, side, kind, float(rng.uniform(*self.config.holes)), rng)
        return y, fill_smooth(y.astype(np.float32), hole), hole


def draw_hole(height: int, width: int, kind: str, share: float, rng: np.random.Generator) -> Mask:
    """Returns a hole of about this share of the picture, bool [height, width]: boxes, blobs or strokes.

    It is neither empty nor all of the picture.
    """
    side = min(height, width)
    out = np.zeros((height, width), np.bool_)
    if kind == "blob":
        lumps = ndimage.gaussian_filter(rng.normal(size=(height, width)), side / rng.uniform(6, 30), mode="wrap")
        return np.asarray(lumps > np.quantile(lumps, 1 - share))
    im = Image.new("L", (width, height))
    draw = ImageDraw.Draw(im)
    while out.mean() < share:
        x, y, angle = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, 2 * np.pi)
        if kind == "box":
            w, h = side * rng.uniform(0.06, 0.95 * math.sqrt(share) + 0.05, 2)
            draw.rectangle((x - w / 2, y - h / 2, x + w / 2, y + h / 2), fill=255)
        else:
            points = [(x, y)]
            for _ in range(6):
                angle += 0.6 * rng.normal()
                step = side * rng.uniform(0.05, 0.14)
                points.append((points[-1][0] + step * math.cos(angle), points[-1][1] + step * math.sin(angle)))
            draw.line(points, fill=255, width=max(2, round(side * rng.uniform(0.012, 0.07))), joint="curve")
        out = np.asarray(im) > 0
    if out.all():
        out = out.copy()
        out[: max(1, height // 8)] = False
    return out


def compute_losses(made: Tensor, y: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Returns the terms of reconstruction, scalars: the mean difference in the hole, fine and coarse."""
    difference = (made - y) * mask
    fine = difference.abs().sum() / (3 * mask.sum()).clamp(min=1)
    share = F.avg_pool2d(mask, 8)
    coarse = F.avg_pool2d(difference, 8).abs().sum() / (3 * share.sum()).clamp(min=1)
    return {"recon": fine, "coarse": coarse}


def train_inpaint(
    photos: Sequence[Pixels],
    config: InpaintTraining,
    out: Path,
    *,
    device: str = "cpu",
    until: int | None = None,
    log_every: int = 50,
) -> InpaintNet:
    """Trains the inpainter, or goes on with the run that lies in `out`, and returns the average of its weights.

    Writes OUT/checkpoints, OUT/log.jsonl and, at every checkpoint, OUT/inpaint.safetensors (float16).

    Args:
        photos: see `Samples`.
        config: the run.
        out: its folder.
        device: where the networks compute, for example "cuda"; only on "cpu" is a run the same each time.
        until: the step to stop at for now; None: the end of the run.
        log_every: steps between lines of the log; a checkpoint is written at every tenth.
    """
    torch.manual_seed(stream_seed(config.seed, "weights") % 2**63)
    net = InpaintNet(config.net).to(device, memory_format=torch.channels_last)
    judge = PatchDiscriminator().to(device)
    ema = make_ema(net)
    optimizers = {
        "net": torch.optim.Adam(net.parameters(), config.lr, betas=(0.9, 0.99), fused=True),
        "judge": torch.optim.Adam(judge.parameters(), config.lr, betas=(0.5, 0.99), fused=True),
    }
    samples = Samples(photos, config)

    def learn(step: int) -> dict[str, float]:
        y, x, mask = (t.to(device) for t in samples.at(step))
        judged = step >= config.adversarial_from * config.steps
        return _step(net, judge, optimizers, (y, x, mask), config, judged)

    run_steps(
        learn,
        {"net": net, "judge": judge, "ema": ema},
        optimizers,
        config,
        out,
        save=lambda progress: save_inpainter(out / "inpaint.safetensors", ema, config, progress),
        until=until,
        log_every=log_every,
        save_every=10 * log_every,
    )
    return ema


def _step(
    net: InpaintNet,
    judge: PatchDiscriminator,
    optimizers: dict[str, torch.optim.Optimizer],
    batch: tuple[Tensor, Tensor, Tensor],
    config: InpaintTraining,
    judged: bool,
) -> dict[str, float]:
    """Trains both networks on one batch and returns the terms."""
    y, x, mask = batch
    with torch.autocast(y.device.type, torch.bfloat16, enabled=config.bfloat16):
        made = net(x, mask)
    made = made.float()
    terms = compute_losses(made, y, mask)
    loss = terms["recon"] + config.coarse_weight * terms["coarse"]
    if judged:
        with torch.no_grad():
            _, wanted = judge(y, mask)
        logits, features = judge(made, mask)
        terms["match"] = torch.stack([(a - b).abs().mean() for a, b in zip(features, wanted, strict=True)]).mean()
        terms["adversarial"] = wasserstein_g(logits)
        loss = loss + config.match_weight * terms["match"] + config.adversarial_weight * terms["adversarial"]
    optimizers["net"].zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizers["net"].step()
    if judged:
        optimizers["judge"].zero_grad()
        terms["judge"] = hinge_d_real(judge(y, mask)[0]) + hinge_d_fake(judge(made.detach(), mask)[0])
        terms["judge"].backward()
        optimizers["judge"].step()
    return {name: float(term.detach()) for name, term in terms.items()}


def save_inpainter(path: Path, net: InpaintNet, config: InpaintTraining, progress: Progress) -> None:
    """Writes the weights as float16, with the sizes of the network in the header."""
    about = json.loads(json.dumps(asdict(config.net)))
    header = {"model": "inpaint", "config": about, "steps": progress.step, "cpu_seconds": progress.cpu_seconds}
    save_tensors(path, {name: t.half() for name, t in net.state_dict().items()}, header)
