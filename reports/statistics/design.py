"""Planning with variance components: the power of the share-weighted t for users x items x training seeds.

The model of the difference of one item is

    d_sui = mu + seed_s + user_u + item_ui + (seed x user)_su + residual_sui

with independent normal effects. In a design with S seeds, C users and m items for each user, the mean squares of the
S x C matrix of user means are independent chi-squared variables, and independent of the estimate. So the critical
difference T se is drawn from three chi-squared variables, and the power given T se is a normal probability. The draws
are a fixed Sobol sequence: the same question has the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy

from mipo_bench.reports.statistics.clusters import Codes
from mipo_bench.reports.statistics.records import Floats
from mipo_bench.reports.statistics.share_weighted import ShareWeightedT, root

_LOG2_DRAWS = 9
_HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Components:
    """Standard deviations of the parts of an item's difference, in the unit of the scores.

    `items` is between the items of one user, and stays the same in every training; `residual` is anew in each.
    """

    users: float = 0.0
    items: float = 0.0
    seeds: float = 0.0
    seeds_users: float = 0.0
    residual: float = 0.0


@dataclass(frozen=True, slots=True)
class Design:
    """A number of users, of items for each user, and of training seeds; one seed stands for arms without training."""

    users: int
    items: int
    seeds: int

    def standard_error(self, sd: Components) -> float:
        """The true standard deviation of the estimate."""
        seed, cluster, error = self._variances(sd)
        return math.sqrt(seed / self.seeds + cluster / self.users + error / (self.seeds * self.users))

    def critical_differences(self, sd: Components, alpha: float) -> Floats:
        """Draws of the smallest difference that the test calls significant, (draws,). Needs two users."""
        s, c = self.seeds, self.users
        seed, cluster, error = self._variances(sd)
        uniform = _uniform()
        if s == 1:
            ms = (cluster + error) * _mean_square(uniform[:, 0], c - 1)
            return float(scipy.special.stdtrit(c - 1, 1 - alpha / 2)) * np.sqrt(ms / c)
        test = ShareWeightedT(
            ms_seed=(error + c * seed) * _mean_square(uniform[:, 0], s - 1),
            ms_cluster=(error + s * cluster) * _mean_square(uniform[:, 1], c - 1),
            ms_error=error * _mean_square(uniform[:, 2], (s - 1) * (c - 1)),
            n_seeds=s,
            n_clusters=c,
            effective_clusters=np.full(len(uniform), float(c)),
        )
        return _critical(test, alpha) * test.se

    def power(self, difference: float, sd: Components, alpha: float = 0.05) -> float:
        """The probability that a true difference is found."""
        return _power(difference, self.critical_differences(sd, alpha), self.standard_error(sd))

    def smallest_difference(self, sd: Components, alpha: float = 0.05, power: float = 0.8) -> float | None:
        """The smallest true difference that is found with this power; None for fewer than two users."""
        if self.users < 2:
            return None
        critical, se = self.critical_differences(sd, alpha), self.standard_error(sd)
        high = float(critical.max()) + (float(scipy.special.ndtri(power)) + 1) * se
        return root(lambda x: _power(x, critical, se) - power, 0, high)

    def _variances(self, sd: Components) -> tuple[float, float, float]:
        """Of a seed, of a user's mean over items, and of the rest of a user's mean in one training."""
        error = sd.seeds_users**2 + sd.residual**2 / self.items
        return sd.seeds**2 if self.seeds > 1 else 0.0, sd.users**2 + sd.items**2 / self.items, error


def _power(difference: float, critical: Floats, se: float) -> float:
    """The mean over draws of the probability that the estimate is beyond the critical difference, on either side."""
    beyond = scipy.special.ndtr((difference - critical) / se) + scipy.special.ndtr((-difference - critical) / se)
    return float(beyond.mean())


@cache
def _uniform() -> Floats:
    """A fixed Sobol sequence in three dimensions, (draws, 3)."""
    return np.asarray(
        scipy.stats.qmc.Sobol(3, rng=np.random.default_rng(0)).random_base2(_LOG2_DRAWS), dtype=np.float64
    )


def _mean_square(uniform: Floats, df: int) -> Floats:
    """Draws of chi-squared over its degrees of freedom."""
    return np.asarray(scipy.special.gammaincinv(df / 2, uniform) * 2 / df)


def _critical(test: ShareWeightedT, alpha: float) -> Floats:
    """The t with p = alpha of each test of a stack, by bisection between the quantiles of its parts."""
    df = np.stack([np.broadcast_to(df, test.ms_seed.shape) for _, df in test.parts])
    high, low = (
        scipy.special.stdtrit(df.min(axis=0), 1 - alpha / 2),
        scipy.special.stdtrit(df.max(axis=0), 1 - alpha / 2),
    )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        significant = 2 * test.tail(middle) <= alpha
        low, high = np.where(significant, low, middle), np.where(significant, middle, high)
    return np.asarray(high)


def estimate_components(difference: Floats, cluster: Codes) -> Components:
    """Variance components of a (seeds, items) matrix of differences; negative estimates are 0.

    Analysis of variance of unweighted user means, unbiased for users of any size. Where every user has one item, what
    belongs to items is part of `users`, and `seeds_users` of `residual`. With one seed, `seeds` and `seeds_users` are 0
    and the residual is part of `items`, which no seed reduces. Raises ValueError for fewer than two users.
    """
    seeds, count = difference.shape[0], np.bincount(cluster)
    if len(count) < 2:
        raise ValueError("one user (or item) has no spread: variance components need two or more.")
    means = np.stack([np.bincount(cluster, weights=row) / count for row in difference])
    spare, per_user = difference.shape[1] - len(count), float((1 / count).mean())
    items, residual = _inside(difference - means[:, cluster], spare) if spare else (0.0, 0.0)
    by_user, interaction = means.mean(axis=0), 0.0
    if seeds > 1:
        centred = means - means.mean(axis=1, keepdims=True) - by_user + by_user.mean()
        interaction = float(np.square(centred).sum()) / ((seeds - 1) * (len(count) - 1))
    users = float(by_user.var(ddof=1)) - items * per_user - interaction / seeds
    between = float(means.mean(axis=1).var(ddof=1)) - interaction / len(count) if seeds > 1 else 0.0
    rest = interaction - residual * per_user
    parts = (users, items, between, rest, residual) if spare else (users, 0.0, between, 0.0, interaction)
    return Components(*(math.sqrt(max(part, 0.0)) for part in parts))


def _inside(deviation: Floats, spare: int) -> tuple[float, float]:
    """Variances of items and of the residual, from the deviations of items from their user's mean in each training."""
    seeds, mean = len(deviation), deviation.mean(axis=0)
    residual = float(np.square(deviation - mean).sum()) / ((seeds - 1) * spare) if seeds > 1 else 0.0
    return max(float(np.square(mean).sum()) / spare - residual / seeds, 0.0), residual


@dataclass(frozen=True, slots=True)
class Goal:
    """A difference that has to be found, with its power, at this alpha."""

    difference: float
    power: float = 0.8
    alpha: float = 0.05


def smallest_designs(
    sd: Components, goal: Goal, seeds: Sequence[int], items: Sequence[int], users: int
) -> list[Design]:
    """For each number of seeds and of items for each user, the design with the fewest users, at most `users`."""
    found = []
    for s in seeds:
        for m in items:
            enough = _fewest_users(sd, goal, s, m, users)
            if enough is not None:
                found.append(Design(enough, m, s))
    return found


def _fewest_users(sd: Components, goal: Goal, seeds: int, items: int, most: int) -> int | None:
    """Bisection over the number of users: more users find more."""

    def enough(users: int) -> bool:
        return Design(users, items, seeds).power(goal.difference, sd, goal.alpha) >= goal.power

    low, high = 1, most
    if most < 2 or not enough(most):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
