"""VBPR, and DVBPR's idea: preference over pictures, from pairs of a product that was liked and one that was not.

VBPR (He & McAuley 2016): score = b_i + g_u . g_i + t_u . E f_i + v . f_i. DVBPR (Kang et al. 2017): score =
t_u . N(f_i), no part of a product's own, and N learned deep; here N is a small network on frozen features.

Letters: U users, I items, K numbers of a profile, D features, R numbers kept of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot.core.random import stream_seed
from packshot.taste.interactions import Interactions
from packshot.taste.pictures import PictureMap
from packshot.taste.preference import Floats, Preference


@dataclass(frozen=True, kw_only=True)
class VisualSettings:
    """Settings.

    Attributes:
        own: numbers of a profile that a product's own factors answer; 0: pictures alone (DVBPR).
        visual: numbers of a profile that its picture answers.
        kept: R.
        hidden: width of the hidden layer over the features; 0: a linear map (VBPR).
        power: how far the directions of the features are made equal, see `PictureMap.whiten`.
        epochs: passes over the events.
        batch: pairs in a step.
        rate: learning rate of Adam, falling to zero along a cosine.
        decay: weight of half the squared norm of what a pair touches.
        seed: of weights, pairs and order.
    """

    own: int = 8
    visual: int = 8
    kept: int = 256
    hidden: int = 0
    power: float = 0.0
    epochs: int = 20
    batch: int = 1024
    rate: float = 0.01
    decay: float = 1e-2
    seed: int = 0


class _Pairs(nn.Module):
    """Users' and items' parts, and the map of pictures."""

    looks: Tensor

    def __init__(self, looks: Tensor, pictures: PictureMap, users: int, settings: VisualSettings) -> None:
        super().__init__()
        self.pictures = pictures
        self.register_buffer("looks", looks)
        self.profiles = nn.Parameter(0.1 * torch.randn(users, settings.own + settings.visual))
        self.own = nn.Parameter(0.1 * torch.randn(len(looks), settings.own))
        self.bias = nn.Parameter(torch.zeros(len(looks)))

    def factors(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Returns factors [n, K] and bias [n] of items [n]."""
        seen, bias = self.pictures.of_kept(self.looks[items])
        return torch.cat([self.own[items], seen[:, self.own.shape[1] :]], dim=1), bias + self.bias[items]


def fit_visual(
    interactions: Interactions, features: Floats, settings: VisualSettings | None = None, name: str = "vbpr"
) -> Preference:
    """Fits VBPR, or DVBPR with its settings, by Bayesian personalised ranking (Rendle et al. 2009).

    Args:
        interactions: histories; each cell above zero is one event, whatever its weight.
        features: float32 [I, D] of the items' pictures.
        settings: None: the defaults, VBPR's.
        name: of the model.
    """
    settings = settings or VisualSettings()
    torch.manual_seed(stream_seed(settings.seed, name))
    rng = np.random.default_rng(stream_seed(settings.seed, name))
    warm = interactions.warm
    pictures = PictureMap(
        features=features.shape[1],
        kept=settings.kept,
        profile=settings.own + settings.visual,
        visual=settings.visual,
        hidden=settings.hidden,
    )
    pictures.whiten(features[warm], settings.power)
    with torch.no_grad():
        looks = pictures.look(torch.from_numpy(np.array(features, np.float32)))
    model = _Pairs(looks, pictures, len(interactions.users), settings)
    _learn(model, interactions, settings, rng)
    with torch.no_grad():
        # A product with no events has nothing of its own that was learned.
        model.own[~torch.from_numpy(warm)] = 0
        model.bias[~torch.from_numpy(warm)] = 0
        factors, bias = model.factors(torch.arange(len(interactions.items)))
    return Preference(
        name,
        interactions.users,
        interactions.items,
        model.profiles.detach().numpy(),
        factors.numpy(),
        bias.numpy(),
        warm,
        asdict(settings),
        pictures.eval().requires_grad_(False),
    )


def _learn(model: _Pairs, interactions: Interactions, settings: VisualSettings, rng: np.random.Generator) -> None:
    positive = interactions.positive.tocsr()
    users = np.repeat(np.arange(positive.shape[0]), np.diff(positive.indptr))
    items = positive.indices.astype(np.int64)
    known = np.flatnonzero(interactions.warm)
    cells = np.sort(users * positive.shape[1] + items)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, max(1, settings.epochs * -(-len(users) // settings.batch))
    )
    for _ in range(settings.epochs):
        order = rng.permutation(len(users))
        for start in range(0, len(order), settings.batch):
            chosen = order[start : start + settings.batch]
            other = rng.choice(known, len(chosen))
            for _ in range(3):  # Those that the user liked too are drawn again; what is left of them is left out.
                cell = users[chosen] * positive.shape[1] + other
                liked = cells[np.minimum(np.searchsorted(cells, cell), len(cells) - 1)] == cell
                other[liked] = rng.choice(known, int(liked.sum()))
            cell = users[chosen] * positive.shape[1] + other
            fine = cells[np.minimum(np.searchsorted(cells, cell), len(cells) - 1)] != cell
            parts = (users[chosen][fine], items[chosen][fine], other[fine])
            user, liked_item, other_item = (torch.from_numpy(part) for part in parts)
            loss = _loss(model, user, liked_item, other_item, settings.decay)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            falling.step()


def _loss(model: _Pairs, user: Tensor, liked: Tensor, other: Tensor, decay: float) -> Tensor:
    profile = model.profiles[user]
    (f, b), (g, c) = model.factors(liked), model.factors(other)
    loss = -F.logsigmoid((profile * (f - g)).sum(1) + b - c).mean()
    squares = profile.square().sum() + model.own[liked].square().sum() + model.own[other].square().sum()
    squares = squares + model.bias[liked].square().sum() + model.bias[other].square().sum()
    return loss + decay / 2 * squares / len(user)
