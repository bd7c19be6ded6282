"""Training of the network that finds damage.

Every sample is a function of (seed, step, place in the batch): a run that was stopped goes on as if it had not been.
Half of the damage is that of images/damage.py, half is drawn here with more variety: other sizes, tones, soft edges,
fibres, broken scratches, rings. Many samples have no damage at all: what the network has to leave alone.

Letters: S side of a sample; K kinds of damage; x the picture, y its damage, w which pixels count; p the network's
probability. The loss is, for each kind, the mean cross-entropy of damaged pixels and that of all others, each a mean of
its own: one over all pixels leaves specks and lines unlearned, since one pixel in a thousand is theirs. With it goes,
for the kinds that a batch holds, a share of 1 - Dice (Milletari et al. 2016, arXiv:1606.04797).
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from packshot.core.random import stream_seed
from packshot.images.damage import SEEN, draw_damage
from packshot.images.resize import Pixels, flatten
from packshot.models.defects.net import DefectConfig, DefectNet
from packshot.models.weights import save_tensors
from packshot.training.checkpoint import Progress
from packshot.training.ema import make_ema
from packshot.training.steps import run_steps

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

VISIBLE = 10
"""Levels by which damage has to change a pixel, or nobody can see it and the pixel does not count."""
ANY_TRACE = 0.04
"""The opacity from which a pixel beside damage does not count as undamaged."""
FINE = 4
"""How much finer lines and specks are drawn."""


@dataclass(frozen=True, kw_only=True)
class DefectTraining:
    """A training run of the detector.

    Attributes:
        about: the command that runs it.
        net: sizes of the network.
        seed: everything random derives from it.
        steps: length of the run.
        batch_size: samples a step.
        side: of a sample in pixels, a multiple of 8.
        shorter: least and greatest length of the shorter side that photos are brought to, and of the square parts of
            them that are damaged.
        undamaged: share of samples without damage.
        often: how often each kind is drawn.
        wide: share of the damaged samples whose damage is drawn here, not as images/damage.py does.
        jpeg: share of samples that are saved as JPEG after the damage.
        lr: highest learning rate; it falls along half a cosine to a hundredth.
        few: damaged pixels that a batch counts as holding, for each kind, where it holds fewer.
        rest_weight: of the mean over pixels without damage, against the mean over those with.
        dice_weight: of 1 - Dice.
        ema_halflife_kimg: of the average of the weights that is kept, in thousands of samples.
        bfloat16: whether the network's operations run in bfloat16 while it trains.
    """

    about: str = ""
    net: DefectConfig = field(default_factory=DefectConfig)
    seed: int = 0
    steps: int = 1200
    batch_size: int = 4
    side: int = 224
    shorter: tuple[int, ...] = (320, 480)
    undamaged: float = 0.35
    often: tuple[float, ...] = (2.0, 2.0, 2.0, 1.0, 1.0)
    wide: float = 0.5
    jpeg: float = 0.3
    lr: float = 3e-3
    few: float = 200.0
    rest_weight: float = 10.0
    dice_weight: float = 1.0
    ema_halflife_kimg: float = 1.5
    bfloat16: bool = True


@dataclass(frozen=True)
class Samples:
    """The batches of a run.

    Attributes:
        photos: uint8 [H, W, 3], or [H, W, 4]: those are laid over a colour drawn anew each time.
        config: the run.
    """

    photos: Sequence[Pixels]
    config: DefectTraining

    def at(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns x [n, 3, S, S] in [0, 1], y [n, K, S, S] of 0 and 1, and w [n, 1, S, S] of 0 and 1, float32."""
        samples = [self._one(step, i) for i in range(self.config.batch_size)]
        x = torch.from_numpy(np.stack([s[0] for s in samples])).permute(0, 3, 1, 2).float() / 255
        y = torch.from_numpy(np.stack([s[1] for s in samples])).float()
        return x, y, torch.from_numpy(np.stack([s[2] for s in samples]))[:, None].float()

    def _one(self, step: int, i: int) -> tuple[Pixels, Mask, Mask]:
        config = self.config
        rng = np.random.Generator(np.random.PCG64(stream_seed(config.seed, "sample", step, i)))
        photo = self._photo(rng)
        kinds: list[int] = []
        if rng.random() >= config.undamaged:
            count = 1 + int(rng.random() < 0.35)
            often = np.array(config.often) / sum(config.often)
            kinds = [int(k) for k in rng.choice(len(often), count, replace=False, p=often)]
        wide = rng.random() < config.wide
        names = config.net.kinds
        truth = np.zeros((len(names), *photo.shape[:2]), np.bool_)
        trace = np.zeros(photo.shape[:2], np.bool_)
        for k in kinds:
            one = draw_wide(photo, rng, names[k]) if wide else _as_measured(photo, rng, names[k])
            seen = one.mask & (np.abs(one.pixels.astype(np.int16) - photo).max(2) >= VISIBLE)
            truth &= ~seen
            truth[k] |= seen
            trace |= one.trace
            photo = one.pixels
        counts = truth.any(0) | ~trace
        top, left = self._corner(truth, rng)
        at = (slice(top, top + config.side), slice(left, left + config.side))
        x, y, w = photo[at], truth[:, *at], counts[at]
        if rng.random() < config.jpeg:
            x = _jpeg(x, int(rng.integers(50, 97)))
        turns = int(rng.integers(8))
        x, y, w = np.rot90(x, turns % 4), np.rot90(y, turns % 4, axes=(1, 2)), np.rot90(w, turns % 4)
        if turns >= 4:
            x, y, w = x[:, ::-1], y[:, :, ::-1], w[:, ::-1]
        return np.ascontiguousarray(x), np.ascontiguousarray(y), np.ascontiguousarray(w)

    def _photo(self, rng: np.random.Generator) -> Pixels:
        """Returns a square part of a photo, half of them at their own size, of at least S pixels a side.

        Damage is drawn onto it, so its side decides how large that is.
        """
        photo = self.photos[int(rng.integers(len(self.photos)))]
        photo = flatten(photo, tuple(int(v) for v in rng.integers(0, 256, 3)))
        least, most = (max(self.config.side, n) for n in self.config.shorter)
        shorter = min(photo.shape[:2])
        factor = 1.0 if rng.random() < 0.5 and least <= shorter <= 1.3 * most else rng.uniform(least, most) / shorter
        wanted = min(int(rng.integers(least, most + 1)), round(shorter * factor))
        cut = min(round(wanted / factor), shorter)
        top, left = (int(rng.integers(n - cut + 1)) for n in photo.shape[:2])
        part = photo[top : top + cut, left : left + cut]
        if cut == wanted:
            return part
        return np.asarray(Image.fromarray(part).resize((wanted, wanted), Image.Resampling.BICUBIC))

    def _corner(self, truth: Mask, rng: np.random.Generator) -> tuple[int, int]:
        """Returns where a sample begins: mostly so that some of the damage lies within."""
        (height, width), side = truth.shape[1:], self.config.side
        places = np.flatnonzero(truth.any(0))
        if len(places) and rng.random() < 0.8:
            y, x = divmod(int(places[rng.integers(len(places))]), width)
            top, left = y - int(rng.integers(side)), x - int(rng.integers(side))
        else:
            top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        return min(max(top, 0), height - side), min(max(left, 0), width - side)


@dataclass(frozen=True)
class Drawn:
    """A picture with damage of one kind.

    Attributes:
        pixels: uint8 [H, W, 3].
        mask: bool [H, W], where the damage is.
        trace: bool [H, W], where there is any of it.
    """

    pixels: Pixels
    mask: Mask
    trace: Mask


MEASURED = {"dust": "dust", "scratch": "scratches", "stain": "stains", "hole": "holes", "block": "blocks"}


def _as_measured(pixels: Pixels, rng: np.random.Generator, kind: str) -> Drawn:
    drawn = draw_damage(pixels, rng, [MEASURED[kind]])
    return Drawn(drawn.pixels, drawn.mask, (drawn.pixels != pixels).any(2))


def draw_wide(pixels: Pixels, rng: np.random.Generator, kind: str) -> Drawn:
    """Draws damage of one kind with more variety than images/damage.py does, which is what detectors are measured on.

    Args:
        pixels: uint8 [H, W, 3]; not changed.
        rng: decides everything.
        kind: "dust", "scratch", "stain", "hole" or "block".
    """
    out = pixels.astype(np.float32)
    mask, trace = np.zeros((2, *pixels.shape[:2]), np.bool_)
    size = max(0.5, min(pixels.shape[:2]) / 500)
    for _ in range(int(rng.integers(1, 4))):
        opacity, colour = WIDE[kind](pixels.shape[:2], size, rng)
        if kind == "stain" and rng.random() < 0.5:  # It lets the cloth through, as a filter does.
            colour = out * (colour / 255)
        out += opacity[..., None] * (colour - out)
        mask |= opacity >= SEEN * max(float(opacity.max()), 1e-6)
        trace |= opacity > ANY_TRACE
    return Drawn(np.clip(np.rint(out), 0, 255).astype(np.uint8), mask, trace)


Shape = tuple[int, int]
Layer = tuple[Floats, Floats]


def _dust(shape: Shape, size: float, rng: np.random.Generator) -> Layer:
    plane, draw = _canvas(shape)
    largest = rng.uniform(1.2, 4.0) * size
    for _ in range(int(rng.integers(1, 16))):
        x, y = rng.uniform(0, shape[1]), rng.uniform(0, shape[0])
        radius = max(0.6, largest * rng.uniform(0.25, 1.0))
        if rng.random() < 0.2:
            _fibre(draw, x, y, radius, rng)
            continue
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        reach = radius * rng.uniform(0.6, 1.3, 9)
        draw.polygon(_corners(x + reach * np.cos(angles), y + reach * np.sin(angles)), fill=int(rng.integers(170, 256)))
    return _soft(plane, shape, rng.uniform(0.0, 0.7), rng.uniform(0.55, 1.0), rng), _tone(rng)


def _fibre(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, rng: np.random.Generator) -> None:
    """Draws a short hair: dust, too."""
    turned = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.35, 10))
    xs, ys = x + np.cumsum(np.cos(turned)) * radius, y + np.cumsum(np.sin(turned)) * radius
    draw.line(_corners(xs, ys), fill=255, width=max(2, round(FINE * 0.4 * radius)))


def _scratch(shape: Shape, size: float, rng: np.random.Generator) -> Layer:
    plane, draw = _canvas(shape)
    for _ in range(int(rng.integers(1, 3))):
        length, bend, steps = rng.uniform(0.08, 1.0) * min(shape), rng.normal(0, 0.08), 40
        turned = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(bend / 4, 0.02 * rng.random(), steps))
        xs = rng.uniform(0, shape[1]) + np.cumsum(np.cos(turned)) * length / steps
        ys = rng.uniform(0, shape[0]) + np.cumsum(np.sin(turned)) * length / steps
        points, width = _corners(xs, ys), max(2, round(FINE * size * rng.uniform(0.5, 2.6)))
        if rng.random() < 0.6:
            draw.line(points, fill=255, width=width)
            continue
        level = np.clip(np.cumsum(rng.normal(0, 0.2, steps)) + 0.9, 0, 1)  # It fades and breaks.
        for a, b, strength in zip(points, points[1:], level, strict=False):
            draw.line([a, b], fill=round(255 * float(strength)), width=width)
    return _soft(plane, shape, rng.uniform(0.0, 0.6), rng.uniform(0.55, 1.0), rng), _tone(rng)


def _stain(shape: Shape, size: float, rng: np.random.Generator) -> Layer:
    radius = size * rng.uniform(5, 34)
    lump = _lump(shape, radius, rng).astype(np.float32)
    soft = ndimage.gaussian_filter(lump, size * rng.uniform(0.5, 3.0))
    if rng.random() < 0.25:  # It has dried from the middle: a rim is left.
        soft = soft - rng.uniform(0.4, 0.9) * ndimage.gaussian_filter(soft, radius / rng.uniform(2, 5)) * soft
        soft = soft / max(float(soft.max()), 1e-6)
    tints = ((50, 130, 30, 90, 10, 60), (60, 200, 50, 190, 40, 180), (20, 120, 20, 120, 20, 120))
    low = np.array(tints[int(rng.integers(3))], np.float32)
    colour = rng.uniform(low[::2], low[1::2]).astype(np.float32)
    return (soft * rng.uniform(0.35, 0.85)).astype(np.float32), colour


def _hole(shape: Shape, size: float, rng: np.random.Generator) -> Layer:
    lump = _lump(shape, size * rng.uniform(4, 30), rng).astype(np.float32)
    if rng.random() < 0.4:
        lump = ndimage.gaussian_filter(lump, rng.uniform(0.3, 0.8))
    return lump, _flat(rng)


def _block(shape: Shape, size: float, rng: np.random.Generator) -> Layer:
    side = int(rng.choice([8, 12, 16, 24, 32]))
    top, left = int(rng.integers(shape[0])), int(rng.integers(shape[1]))
    if rng.random() < 0.7:
        top, left = top // side * side, left // side * side
    out = np.zeros(shape, np.float32)
    out[top : top + side * int(rng.integers(1, 4)), left : left + side * int(rng.integers(1, 6))] = 1
    return out, _flat(rng)


WIDE: dict[str, Callable[[Shape, float, np.random.Generator], Layer]] = {
    "dust": _dust,
    "scratch": _scratch,
    "stain": _stain,
    "hole": _hole,
    "block": _block,
}


def _canvas(shape: Shape) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    plane = Image.new("L", (FINE * shape[1], FINE * shape[0]))
    return plane, ImageDraw.Draw(plane)


def _corners(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in zip(FINE * x, FINE * y, strict=True)]


def _soft(plane: Image.Image, shape: Shape, blur: float, strength: float, rng: np.random.Generator) -> Floats:
    opacity = np.asarray(plane.reduce(FINE), np.float32) / 255
    if rng.random() < 0.5:
        opacity = ndimage.gaussian_filter(opacity, blur)
        opacity /= max(float(opacity.max()), 0.4)
    return (opacity * np.float32(strength)).astype(np.float32)


def _lump(shape: Shape, radius: float, rng: np.random.Generator) -> Mask:
    cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
    y, x = np.ogrid[: shape[0], : shape[1]]
    angle, away = np.arctan2(y - cy, x - cx), np.hypot(y - cy, (x - cx) * rng.uniform(0.7, 1.4))
    rough = rng.uniform(0.1, 0.45)
    waves = sum(rng.uniform(0, rough / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(1, 6))
    return np.asarray(away < radius * (1 + waves))


def _tone(rng: np.random.Generator) -> Floats:
    """Returns light, dark or, less often, any grey, with some tint."""
    kind = rng.random()
    tone = rng.uniform(205, 255) if kind < 0.45 else rng.uniform(0, 55) if kind < 0.9 else rng.uniform(0, 255)
    return np.clip(tone + rng.normal(0, 8, 3), 0, 255).astype(np.float32)


def _flat(rng: np.random.Generator) -> Floats:
    if rng.random() < 0.6:
        return np.full(3, rng.choice([0.0, 128.0, 255.0]), np.float32)
    return rng.choice([0, 64, 128, 192, 255], 3).astype(np.float32)


def _jpeg(pixels: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def compute_loss(logits: Tensor, y: Tensor, w: Tensor, config: DefectTraining) -> dict[str, Tensor]:
    """Returns the terms of the loss, scalars: the cross-entropies of damage and of the rest, and 1 - Dice.

    The first two are sums over the kinds, the last a mean over those that there are.

    Args:
        logits: float32 [n, K, S, S].
        y: damage, [n, K, S, S] of 0 and 1.
        w: which pixels count, [n, 1, S, S] of 0 and 1.
        config: its weights.
    """
    p, y = torch.sigmoid(logits) * w, y * w
    entropy = F.binary_cross_entropy_with_logits(logits, y, weight=w, reduction="none")
    damaged, rest = y.sum((0, 2, 3)), (1 - y).sum((0, 2, 3))
    missed = (entropy * y).sum((0, 2, 3)) / damaged.clamp(min=config.few)
    invented = (entropy * (1 - y)).sum((0, 2, 3)) / rest.clamp(min=1)
    dice = (2 * (p * y).sum((0, 2, 3)) + 1) / (p.sum((0, 2, 3)) + damaged + 1)
    held = (damaged > 0).float()
    return {
        "missed": missed.sum(),
        "invented": invented.sum(),
        "dice": ((1 - dice) * held).sum() / held.sum().clamp(min=1),
    }


def train_defects(
    photos: Sequence[Pixels], config: DefectTraining, out: Path, *, until: int | None = None, log_every: int = 50
) -> DefectNet:
    """Trains the detector, or goes on with the run that lies in `out`, and returns the average of its weights.

    Writes OUT/checkpoints, OUT/log.jsonl and, at every checkpoint, OUT/model.safetensors (float32).

    Args:
        photos: see `Samples`.
        config: the run.
        out: its folder.
        until: the step to stop at for now; None: the end of the run.
        log_every: steps between lines of the log; a checkpoint is written at every fifth.
    """
    torch.manual_seed(stream_seed(config.seed, "weights") % 2**63)
    net = DefectNet(config.net).to(memory_format=torch.channels_last)
    ema = make_ema(net)
    optimizer = torch.optim.AdamW(net.parameters(), config.lr, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    samples = Samples(photos, config)

    def learn(step: int) -> dict[str, float]:
        x, y, w = samples.at(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            logits = net(x)
        terms = compute_loss(logits.float(), y, w, config)
        optimizer.zero_grad()
        loss = terms["missed"] + config.rest_weight * terms["invented"] + config.dice_weight * terms["dice"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return {name: float(term.detach()) for name, term in terms.items()}

    run_steps(
        learn,
        {"net": net, "ema": ema},
        {"net": optimizer},
        config,
        out,
        save=lambda progress: save_defects(out / "model.safetensors", ema, config, progress),
        until=until,
        log_every=log_every,
        save_every=5 * log_every,
    )
    return ema


def save_defects(path: Path, net: DefectNet, config: DefectTraining, progress: Progress) -> None:
    """Writes the weights with the sizes of the network in the header."""
    about = json.loads(json.dumps(asdict(config.net)))
    header = {"model": "defects", "config": about, "steps": progress.step, "cpu_seconds": progress.cpu_seconds}
    save_tensors(path, net.state_dict(), header)
