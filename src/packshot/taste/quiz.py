"""A picture quiz for newcomers: two products, which one do you like more? Each pair is the one that tells the most.

What a taste may be is a crowd of tastes: those of shoppers with a history, and draws from the normal distribution
around them where there are few. So the quiz knows what goes together (who likes one thing much often likes little
else), which no single normal distribution says. An answer says that one of two is liked more with odds
exp(steepness * w . (x_a - x_b)) (Bradley & Terry 1952); each taste of the crowd counts by how well it explains the
answers so far. The next pair is the one whose answer is least certain to the crowd while each taste by itself is sure:
the largest expected gain of information (Houlsby et al. 2011, "Bayesian active learning for classification and
preference learning"), here exact, among random pairs of products.

Letters: I products, K numbers of a taste, w taste, x looks, T tastes of the crowd, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from packshot.core.random import stream_seed

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

PAIRS = 2000
"""That are considered for each question."""
CROWD = 1500
"""Tastes that are kept at least, and of shoppers at most."""
WEIGHTIEST = 400
"""Tastes of the crowd that pairs are judged by."""
WIDER = 4.0
"""By which the covariance of drawn tastes is widened: learned profiles are shrunk, and a newcomer may be unlike any."""


@dataclass(frozen=True, kw_only=True)
class QuizSettings:
    """Settings.

    Attributes:
        steepness: of a choice: by how much one standard deviation of utility raises the log odds.
        seed: of the crowd and of the pairs that are considered.
    """

    steepness: float = 2.0
    seed: int = 0


@dataclass(eq=False)
class Quiz:
    """The state of a quiz with one shopper.

    Attributes:
        utility: float32 [T, I], what each taste of the crowd thinks of each product, in units in which a typical
            shopper's utility has a standard deviation of 1 over the products.
        profiles: float32 [T, K], the tastes as profiles of the model that the quiz was opened with.
        settings: how.
        asked: pairs that were asked, the liked one first.
    """

    utility: Floats
    profiles: Floats
    settings: QuizSettings = field(default_factory=QuizSettings)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._log = np.zeros(len(self.utility))

    @property
    def shares(self) -> Doubles:
        """How far each taste of the crowd is believed in, float64 [T]; they add up to 1."""
        odds = np.exp(self._log - self._log.max())
        out: Doubles = odds / odds.sum()
        return out

    @property
    def profile(self) -> Floats:
        """The taste that is believed in now, as a profile float32 [K] of the model."""
        out: Floats = (self.shares @ self.profiles).astype(np.float32)
        return out

    def scores(self) -> Doubles:
        """Returns the expected utility float64 [I] of all products."""
        out: Doubles = self.shares @ self.utility
        return out

    def draw(self, n: int) -> Floats:
        """Returns n tastes that are possible now, as profiles float32 [n, K]."""
        rng = np.random.default_rng([stream_seed(self.settings.seed, "drawn"), len(self.asked)])
        return self.profiles[rng.choice(len(self.profiles), n, p=self.shares)]

    def next_pair(self) -> tuple[int, int]:
        """Returns the two products to show next."""
        rng = np.random.default_rng([stream_seed(self.settings.seed, "quiz"), len(self.asked)])
        pairs = rng.integers(0, self.utility.shape[1], (PAIRS, 2))
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        best = int(self.gain(pairs).argmax())
        return int(pairs[best, 0]), int(pairs[best, 1])

    def answer(self, liked: int, other: int) -> None:
        """Learns that one product is liked more than another."""
        self.asked.append((liked, other))
        better = self.settings.steepness * (self.utility[:, liked] - self.utility[:, other]).astype(np.float64)
        self._log -= np.logaddexp(0, -better)

    def gain(self, pairs: npt.NDArray[np.int64]) -> Doubles:
        """Returns the information that the answer to each of pairs [P, 2] is expected to give, float64 [P], in nats."""
        shares = self.shares
        some = np.sort(np.argsort(-shares, kind="stable")[:WEIGHTIEST])
        believed = shares[some] / shares[some].sum()
        seen = self.settings.steepness * self.utility[some]
        likely = 0.5 + 0.5 * np.tanh(0.5 * (seen[:, pairs[:, 0]] - seen[:, pairs[:, 1]]))
        out: Doubles = _entropy(believed @ likely) - believed @ _entropy(likely)
        return out


def open_quiz(factors: Floats, bias: Floats, profiles: Floats, *, settings: QuizSettings | None = None) -> Quiz:
    """Starts a quiz over the products of a model of taste; its shoppers' profiles are the crowd.

    A taste is a profile and what all have in common (the bias), so after a quiz `profile` is one like theirs.

    Args:
        factors: float32 [I, K] of the products.
        bias: float32 [I]; zeros where it is fame, which no choice between two goes by.
        profiles: float32 [U, K] of shoppers with a history; two at least.
        settings: how.
    """
    settings = settings or QuizSettings()
    rng = np.random.default_rng(stream_seed(settings.seed, "crowd"))
    crowd = profiles if len(profiles) <= CROWD else profiles[np.sort(rng.permutation(len(profiles))[:CROWD])]
    if len(crowd) < CROWD:
        covariance = WIDER * np.cov(profiles.T.astype(np.float64)).reshape(profiles.shape[1], -1)
        drawn = rng.multivariate_normal(profiles.mean(0), covariance, CROWD - len(crowd), method="eigh")
        crowd = np.concatenate([crowd, drawn.astype(np.float32)])
    own = profiles @ factors.T + bias
    scale = max(float(np.median(own.std(1))), 1e-9)
    utility = crowd @ factors.T + bias
    return Quiz(((utility - utility.mean(1, keepdims=True)) / scale).astype(np.float32), crowd, settings)


def _entropy(p: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    q = np.clip(p, 1e-7, 1 - 1e-7)
    out: npt.NDArray[np.floating] = -(q * np.log(q) + (1 - q) * np.log1p(-q))
    return out
