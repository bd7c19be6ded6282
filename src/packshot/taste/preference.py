"""What a shopper likes, in one form for every model: score = profile . factors + bias.

A model differs in where these come from. So ranking, the index, explanations and made pictures need no knowledge of
the model: a product has a row of factors, a picture that no product has gets one from the model's `PictureMap`, and a
history that was changed, or is new, gets a profile from `fold_in`.

Letters: U users, I items, K numbers of a profile, N pictures, D features of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from packshot.core.errors import PackshotError, UsageError, lookup, suggest
from packshot.core.files import read_json, write_json
from packshot.models.weights import load_tensors, save_tensors, take_part
from packshot.taste.history import HISTORIES, Blend, Chooser, HistoryMap, Solver
from packshot.taste.interactions import Interactions
from packshot.taste.pictures import PictureMap

Floats = npt.NDArray[np.float32]
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Preference:
    """A fitted model.

    Attributes:
        name: of the model, as in `fit.MODELS`.
        users: U names.
        items: I names.
        profiles: float32 [U, K].
        factors: float32 [I, K].
        bias: float32 [I], what an item has for everybody.
        warm: bool [I], which items had events.
        settings: what it was fitted with, for JSON.
        pictures: gives factors and bias to any picture; None: the model sees none.
        history: gives a profile to any history; None: it knows only the users that it was fitted with.
    """

    name: str
    users: list[str]
    items: list[str]
    profiles: Floats
    factors: Floats
    bias: Floats
    warm: npt.NDArray[np.bool_]
    settings: dict[str, Any] = field(default_factory=dict)
    pictures: PictureMap | None = None
    history: HistoryMap | Solver | Blend | Chooser | None = None

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.users)}

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.items)}

    def profile(self, user: str) -> Floats:
        """Returns the profile float32 [K] of a user.

        Raises:
            UsageError: the model was not fitted with this user.
        """
        if user not in self._rows:
            raise UsageError(f"The model was not fitted with a shopper '{user}'; fold_in judges a new history.")
        out: Floats = self.profiles[self._rows[user]]
        return out

    def scores(self, user: str) -> Floats:
        """Returns the scores float32 [I] of all items for a user; only their order means something."""
        return self.score(self.profile(user))

    def score(self, profiles: Floats) -> Floats:
        """Returns the scores float32 [..., I] of profiles [..., K]."""
        out: Floats = profiles @ self.factors.T + self.bias
        return out

    def score_features(self, profiles: Floats, features: Floats) -> Floats:
        """Returns the scores float32 [..., N] of pictures by their features [N, D], in the catalogue or not.

        Raises:
            UsageError: the model sees no pictures.
        """
        factors, bias = self.sees().embed(features)
        out: Floats = profiles @ factors.T + bias
        return out

    def score_tensor(self, profiles: Tensor, features: Tensor) -> Tensor:
        """Returns the scores [..., N] of features [N, D] with gradients: for pictures that are made to be liked.

        Raises:
            UsageError: the model sees no pictures.
        """
        factors, bias = self.sees()(features)
        out: Tensor = profiles @ factors.T + bias
        return out

    def sees(self) -> PictureMap:
        """Returns the map from pictures to factors.

        Raises:
            UsageError: the model has none.
        """
        if self.pictures is None:
            raise UsageError(f"The model '{self.name}' sees no pictures; take one that does, such as hybrid.")
        return self.pictures

    def fold_in(self, weights: csr_matrix) -> Floats:
        """Returns profiles float32 [n, K] of histories [n, I], signed weights as `Interactions.matrix` has them.

        A history with an item taken away gives the counterfactual profile; a new shopper's gives a first one.

        Raises:
            UsageError: the model knows only the users that it was fitted with.
        """
        if self.history is None:
            raise UsageError(f"The model '{self.name}' cannot judge a new history; take hybrid or als.")
        return self.history.profiles(weights)

    def history_of(self, weights: Mapping[str, float]) -> csr_matrix:
        """Returns one history [1, I] of signed weights by items' names.

        Raises:
            UsageError: an item that the model does not know.
        """
        columns = []
        for name in weights:
            if name not in self._columns:
                raise UsageError(f"The model knows no product '{name}'.{suggest(name, self.items[:1000])}")
            columns.append(self._columns[name])
        values = np.array(list(weights.values()), np.float32)
        return csr_matrix((values, (np.zeros(len(columns), int), columns)), shape=(1, len(self.items)))

    def save(self, folder: Path) -> None:
        """Writes model.safetensors and model.json: the tensors and the names."""
        tensors = {
            "profiles": torch.from_numpy(self.profiles),
            "factors": torch.from_numpy(self.factors),
            "bias": torch.from_numpy(self.bias),
            "warm": torch.from_numpy(self.warm.astype(np.uint8)),
        }
        maps: dict[str, Any] = {}
        for prefix, part in (("pictures", self.pictures), ("history", self.history)):
            if part is not None:
                maps[prefix] = [type(part).__name__, part.config]
                tensors |= {f"{prefix}.{name}": t for name, t in part.state_dict().items()}
        header = {"format_version": FORMAT_VERSION, "name": self.name, "settings": self.settings, "maps": maps}
        save_tensors(folder / "model.safetensors", tensors, header)
        write_json(folder / "model.json", {**header, "users": self.users, "items": self.items})


def load_preference(folder: Path) -> Preference:
    """Reads what `Preference.save` wrote.

    Raises:
        PackshotError: a file is missing or damaged, or of another format.
    """
    tensors, header = load_tensors(folder / "model.safetensors")
    about = read_json(folder / "model.json")
    if header.get("format_version") != FORMAT_VERSION or about.get("name") != header.get("name"):
        raise PackshotError(f"{folder} holds no model of taste of this version; delete it and rank again.")
    maps = header["maps"]
    pictures, history = None, None
    if "pictures" in maps:
        pictures = PictureMap(**maps["pictures"][1])
        pictures.load_state_dict(take_part(tensors, "pictures."))
    if "history" in maps:
        kind, config = maps["history"]
        history = lookup("map of histories", kind, HISTORIES)(**config)
        history.load_state_dict(take_part(tensors, "history."))
    users, items = about["users"], about["items"]
    if len(users) != len(tensors["profiles"]) or len(items) != len(tensors["factors"]):
        raise PackshotError(f"{folder} is damaged: its names and numbers do not fit; delete it and rank again.")
    return Preference(
        header["name"],
        users,
        items,
        tensors["profiles"].numpy(),
        tensors["factors"].numpy(),
        tensors["bias"].numpy(),
        tensors["warm"].numpy().astype(bool),
        header["settings"],
        pictures.eval().requires_grad_(False) if pictures else None,
        history.eval().requires_grad_(False) if history else None,
    )


def with_users(model: Preference, interactions: Interactions) -> Preference:
    """Returns the model with the profiles of these users' histories instead of its own.

    Raises:
        UsageError: the model knows only its own users, or other items.
    """
    if interactions.items != model.items:
        raise UsageError("The histories are over other products than the model's.")
    return Preference(
        model.name,
        interactions.users,
        model.items,
        model.fold_in(interactions.matrix),
        model.factors,
        model.bias,
        model.warm,
        model.settings,
        model.pictures,
        model.history,
    )
