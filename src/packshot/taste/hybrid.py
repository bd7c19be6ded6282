"""The default model: two towers, one for histories and one for products, and least squares beside them.

A product's factors are what its picture gives plus what is its own; its own part is hidden at random while the model
learns (Volkovs et al. 2017, "DropoutNet"), so the picture's part stands on its own for products with no events. A
profile is a function of the history alone (`HistoryMap`), learned by hiding a part of each history and predicting it,
with the multinomial likelihood of Liang et al. 2018, "Variational autoencoders for collaborative filtering". The
scores of alternating least squares, which needs no steps and so is good with few events, are added with the share that
ranks the held-out events best.

Letters: U users, I items, B users of a batch, J items that stand against the hidden ones, K profile, H key, R numbers
kept of a picture's features.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from packshot.core.errors import UsageError
from packshot.core.random import stream_seed
from packshot.taste.factors import ALS, FactorSettings, fit_items
from packshot.taste.history import Blend, HistoryMap, Solver, shares
from packshot.taste.interactions import Interactions
from packshot.taste.pictures import PictureMap
from packshot.taste.preference import Floats, Preference


@dataclass(frozen=True, kw_only=True)
class HybridSettings:
    """Settings.

    Attributes:
        profile: K, and H.
        kept: R; no more than a fifth of the products with events, but at least 16: few products cannot tell many
            directions apart.
        power: how far the directions of the features are made equal, see `PictureMap.whiten`.
        hidden: width of hidden layers.
        steps: least number of steps; more where `epochs` passes over the users take more.
        epochs: see `steps`.
        batch: B, or a quarter of the users where that is less.
        rivals: J, drawn anew for each batch; all items where there are no more.
        rate: learning rate of Adam, falling to zero along a cosine.
        decay: weight decay of what is a product's own.
        shrink: weight decay of all maps.
        hide_item: share of products whose own part is hidden in a batch.
        hide_event: share of a history that is hidden and predicted.
        patience: checks without a better rank of the held-out events until it stops; there are `CHECKS` in all.
        solved: settings of least squares.
        seed: of weights, batches and what is hidden.
    """

    profile: int = 64
    kept: int = 128
    power: float = 0.0
    hidden: int = 64
    steps: int = 1200
    epochs: int = 20
    batch: int = 256
    rivals: int = 4000
    rate: float = 0.005
    decay: float = 0.1
    shrink: float = 1.0
    hide_item: float = 0.15
    hide_event: float = 0.3
    patience: int = 5
    solved: FactorSettings = field(default_factory=lambda: ALS)
    seed: int = 0


LEAST_KEPT = 16
CHECKS = 20
SHARES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Of least squares, that are tried; in the middle where nothing can be held out."""
HELD_OUT, MOST_HELD_OUT = 0.1, 1000
SCORES = 2**24
"""That are in memory at a time."""


class Towers(nn.Module):
    """Products' own parts, and the maps that everything else comes from.

    Args:
        looks: float32 [I, R], kept features; None: no pictures.
        pictures: to factors and bias.
        items: I.
        settings: sizes.
    """

    looks: Tensor | None

    def __init__(self, looks: Tensor | None, pictures: PictureMap | None, items: int, settings: HybridSettings) -> None:
        super().__init__()
        k = settings.profile
        self.register_buffer("looks", looks)
        self.pictures = pictures
        self.history = HistoryMap(items=items, key=k, profile=k, hidden=settings.hidden)
        self.key_of_look = nn.Linear(looks.shape[1], k, bias=False) if looks is not None else None
        self.own_key = nn.Parameter(0.05 * torch.randn(items, k))
        self.own_factors = nn.Parameter(0.05 * torch.randn(items, k))
        self.own_bias = nn.Parameter(torch.zeros(items))

    def keys(self, items: Tensor, keep: Tensor) -> Tensor:
        """Returns keys [n, H] of items [n]; their own part times `keep` [n, 1]."""
        out = self.own_key[items] * keep
        if self.looks is not None and self.key_of_look is not None:
            out = out + self.key_of_look(self.looks[items])
        return out

    def factors(self, items: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Returns factors [n, K] and bias [n] of items [n]; their own part times `keep` [n, 1]."""
        factors, bias = self.own_factors[items] * keep, self.own_bias[items] * keep[:, 0]
        if self.looks is not None and self.pictures is not None:
            seen, seen_bias = self.pictures.of_kept(self.looks[items])
            factors, bias = factors + seen, bias + seen_bias
        return factors, bias


@dataclass(frozen=True, eq=False)
class _Batch:
    """Some users' histories in two parts, as lists of (user of the batch, item)."""

    liked: csr_matrix
    sent_back: csr_matrix
    target_user: Tensor
    target_item: Tensor


def fit_hybrid(
    interactions: Interactions, features: Floats | None, settings: HybridSettings | None = None
) -> Preference:
    """Fits the default model.

    Args:
        interactions: histories; users without any weight above zero are not learned from, and get a profile.
        features: float32 [I, D] of the items' pictures; None: there are none, and products are known by events alone.
        settings: None: the defaults.

    Raises:
        UsageError: nobody was positive about two products, so there is nothing to learn.
    """
    settings = settings or HybridSettings()
    torch.manual_seed(stream_seed(settings.seed, "hybrid"))
    rng = np.random.default_rng(stream_seed(settings.seed, "hybrid"))
    positive, held = _hold_out(interactions, rng)
    if not (np.diff(positive.indptr) > 1).any():
        raise UsageError("No shopper liked two products, so there is nothing to learn; ingest more events.")
    warm = np.bincount(positive.indices, minlength=len(interactions.items)) > 0
    pictures, looks = None, None
    if features is not None:
        kept = min(settings.kept, max(LEAST_KEPT, int(warm.sum()) // 5))
        pictures = PictureMap(
            features=features.shape[1],
            kept=kept,
            profile=settings.profile,
            visual=settings.profile,
            hidden=settings.hidden,
        )
        pictures.whiten(features[warm], settings.power)
        with torch.no_grad():
            looks = pictures.look(torch.from_numpy(np.array(features, np.float32)))
    towers = Towers(looks, pictures, len(interactions.items), settings)
    _learn(towers, interactions, positive, held, warm, settings, rng)
    return _finished(towers.eval(), interactions, positive, held, warm, settings)


def _hold_out(interactions: Interactions, rng: np.random.Generator) -> tuple[csr_matrix, npt.NDArray[np.int64]]:
    """Takes the last liked item of some users away; returns the rest and those users, to judge by."""
    positive = interactions.positive.copy()
    able = np.flatnonzero((np.diff(positive.indptr) > 2) & (interactions.last >= 0))
    count = min(MOST_HELD_OUT, int(HELD_OUT * len(able)))
    held = np.sort(rng.permutation(able)[:count])
    for user in held.tolist():
        part = slice(positive.indptr[user], positive.indptr[user + 1])
        positive.data[part][positive.indices[part] == interactions.last[user]] = 0
    positive.eliminate_zeros()
    return positive, held


def _learn(
    towers: Towers,
    interactions: Interactions,
    positive: csr_matrix,
    held: npt.NDArray[np.int64],
    warm: npt.NDArray[np.bool_],
    settings: HybridSettings,
    rng: np.random.Generator,
) -> None:
    own = {id(p) for p in (towers.own_key, towers.own_factors, towers.own_bias)}
    groups = [
        {"params": [p for p in towers.parameters() if id(p) in own], "weight_decay": settings.decay},
        {"params": [p for p in towers.parameters() if id(p) not in own], "weight_decay": settings.shrink},
    ]
    optimiser = torch.optim.AdamW(groups, lr=settings.rate)
    users = np.flatnonzero(np.diff(positive.indptr) > 1)
    size = min(settings.batch, -(-len(users) // 4))
    steps = max(settings.steps, settings.epochs * (len(users) // size))
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, best_state, waited = -np.inf, copy.deepcopy(towers.state_dict()), 0
    order = users[:0]
    for step in range(1, steps + 1):
        if len(order) < size:
            order = rng.permutation(users)
        chosen, order = order[:size], order[size:]
        batch = _split(positive[chosen], interactions.negative[chosen], settings.hide_event, rng)
        loss = _loss(towers.train(), batch, positive[chosen], warm, settings, rng)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        falling.step()
        if len(held) and (step % max(1, steps // CHECKS) == 0 or step == steps):
            reached = _reached(_parts(towers.eval(), warm), interactions, positive, held)
            waited += 1
            if reached > best:
                best, best_state, waited = reached, copy.deepcopy(towers.state_dict()), 0
            if waited >= settings.patience:
                break
    if len(held):
        towers.load_state_dict(best_state)


def _split(positive: csr_matrix, negative: csr_matrix, share: float, rng: np.random.Generator) -> _Batch:
    """Hides a share of each history, at least one item, and leaves at least one."""
    counts = np.diff(positive.indptr)
    rows = np.repeat(np.arange(len(counts)), counts)
    draw = rng.random(len(rows))
    order = np.lexsort((draw, rows))
    place = np.arange(len(rows)) - np.repeat(positive.indptr[:-1], counts)
    number = np.clip(np.rint(share * counts), 1, np.maximum(counts - 1, 1))
    target = np.zeros(len(rows), bool)
    target[order] = place < np.repeat(number, counts)
    liked = positive.copy()
    liked.data = np.where(target, 0, liked.data)
    liked.eliminate_zeros()
    return _Batch(
        shares(liked, 1.0),
        shares(negative, 1.0),
        torch.from_numpy(rows[target]),
        torch.from_numpy(positive.indices[target].astype(np.int64)),
    )


def _loss(
    towers: Towers,
    batch: _Batch,
    positive: csr_matrix,
    warm: npt.NDArray[np.bool_],
    settings: HybridSettings,
    rng: np.random.Generator,
) -> Tensor:
    """Returns the mean of -log(e^s / (e^s + sum of e^r)), s a hidden item's score, r those of items not liked."""
    known = np.flatnonzero(warm)
    rivals = known if len(known) <= settings.rivals else np.sort(rng.choice(known, settings.rivals, replace=False))
    keep = torch.from_numpy((rng.random(len(warm)) >= settings.hide_item).astype(np.float32))[:, None]
    profiles = towers.history(*(_sum(towers, part, keep) for part in (batch.liked, batch.sent_back)))
    at = torch.from_numpy(rivals)
    factors, bias = towers.factors(at, keep[at])
    scores = profiles @ factors.T + bias + float(np.log(len(known) / len(rivals)))
    liked = torch.from_numpy(np.asarray(positive[:, rivals].todense() > 0))
    against = scores.masked_fill(liked, -torch.inf).logsumexp(1)[batch.target_user]
    factors, bias = towers.factors(batch.target_item, keep[batch.target_item])
    own = (profiles[batch.target_user] * factors).sum(1) + bias
    out: Tensor = (torch.logaddexp(own, against) - own).mean()
    return out


def _sum(towers: Towers, part: csr_matrix, keep: Tensor) -> Tensor:
    """Returns the sums [B, H] of the keys of a part of histories, of the items in it alone."""
    items, inverse = np.unique(part.indices, return_inverse=True)
    at = torch.from_numpy(items.astype(np.int64))
    keys = towers.keys(at, keep[at])
    rows = torch.from_numpy(np.repeat(np.arange(part.shape[0]), np.diff(part.indptr)))
    weighted = keys[torch.from_numpy(inverse)] * torch.from_numpy(part.data)[:, None]
    return keys.new_zeros(part.shape[0], keys.shape[1]).index_add(0, rows, weighted)


@dataclass(frozen=True, eq=False)
class _Parts:
    """What scores are made of: a map of histories, factors [I, K] and bias [I]."""

    history: HistoryMap | Solver | Blend
    factors: Floats
    bias: Floats
    warm: npt.NDArray[np.bool_]


@torch.no_grad()
def _parts(towers: Towers, warm: npt.NDArray[np.bool_]) -> _Parts:
    items = torch.arange(len(warm))
    # What is its own of a product with no events was never learned.
    keep = torch.from_numpy(warm.astype(np.float32))[:, None]
    towers.history.keys.copy_(towers.keys(items, keep))
    factors, bias = towers.factors(items, keep)
    return _Parts(towers.history, factors.numpy().copy(), bias.numpy().copy(), warm)


def _reached(parts: _Parts, interactions: Interactions, positive: csr_matrix, held: npt.NDArray[np.int64]) -> float:
    """Returns minus the mean log rank of the events held out, among the items with events.

    The likelihood would not do: it falls when a model grows too sure of itself, while its order still gets better.
    """
    total = 0.0
    rows = max(1, SCORES // len(parts.bias))
    with torch.no_grad():
        for start in range(0, len(held), rows):
            part = held[start : start + rows]
            profiles = parts.history.profiles((positive[part] - interactions.negative[part]).tocsr())
            scores = profiles @ parts.factors.T + parts.bias
            own = scores[np.arange(len(part)), interactions.last[part]][:, None]
            rivals = parts.warm & ~(positive[part].toarray() > 0)
            total -= float(np.log1p(((scores > own) & rivals).sum(1)).sum())
    return total / len(held)


def _finished(
    towers: Towers,
    interactions: Interactions,
    positive: csr_matrix,
    held: npt.NDArray[np.int64],
    warm: npt.NDArray[np.bool_],
    settings: HybridSettings,
) -> Preference:
    """Returns the model, with as much of least squares as ranks the held-out events best."""
    own, solved = _parts(towers, warm), settings.solved
    blend = Blend(
        solver={
            "items": len(warm),
            "profile": solved.profile,
            "decay": solved.decay,
            "confidence": solved.confidence,
        },
        tower=towers.history.config,
    )
    blend.tower.load_state_dict(towers.history.state_dict())
    blend.solver.factors.copy_(torch.from_numpy(fit_items(positive, solved)))
    parts = _Parts(
        blend.eval().requires_grad_(False),
        np.concatenate([blend.solver.factors.numpy(), own.factors], axis=1),
        own.bias,
        warm,
    )
    reached = []
    for share in SHARES if len(held) else ():
        blend.share.fill_(share)
        reached.append(_reached(parts, interactions, positive, held))
    blend.share.fill_(SHARES[int(np.argmax(reached))] if reached else SHARES[len(SHARES) // 2])
    return Preference(
        "hybrid",
        interactions.users,
        interactions.items,
        blend.profiles(interactions.matrix),
        parts.factors,
        parts.bias,
        warm,
        asdict(settings),
        _widened(towers.pictures, solved.profile),
        blend,
    )


def _widened(pictures: PictureMap | None, free: int) -> PictureMap | None:
    """Returns the map with `free` more factors, which no picture can tell, before its own."""
    if pictures is None:
        return None
    wide = PictureMap(**{**pictures.config, "profile": pictures.config["profile"] + free})
    wide.load_state_dict(pictures.state_dict())
    return wide.eval().requires_grad_(False)
