"""The size of every test that a report can print: simulated data without an effect, as a Markdown table.

By hand: `OMP_NUM_THREADS=1 python tests/calibration/size_of_tests.py [RUNS]`. It takes a few minutes with 2,000
data sets for each row. An interval counts as the test that rejects what it does not hold.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from null_data import Kind, Seeds, p_values, shares
from numpy.typing import NDArray
from scipy import special
from scipy import stats as sps

from mipo_bench.reports.statistics.clusters import ClusterSums
from mipo_bench.reports.statistics.parametric import cluster_t, mcnemar
from mipo_bench.reports.statistics.records import Floats, Inference
from mipo_bench.reports.statistics.share_weighted import share_weighted_t
from mipo_bench.reports.statistics.sign_flip import sign_flip
from mipo_bench.reports.statistics.verdicts.agreement import agreement
from mipo_bench.reports.statistics.verdicts.length_control import length_controlled
from mipo_bench.reports.stats import benjamini_hochberg, holm, win_rate

LEVELS = (0.05, 0.01)
RATIOS = (0.0, 0.03, 0.1, 0.3, 1.0)
"""Spread of the seeds over that of the clusters."""
MARGIN = 0.1
Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class Row:
    """One test on one kind of data: the share of data sets rejected at each level."""

    test: str
    data: str
    rates: tuple[float, ...]


def rates(p: Floats) -> tuple[float, ...]:
    """The shares of p-values at or below each level."""
    return tuple(float(np.mean(p <= level)) for level in LEVELS)


def outside(truth: float, intervals: Callable[[float], list[Ends]]) -> tuple[float, ...]:
    """The share of intervals that do not hold the truth, at each level; an undefined interval holds everything."""
    found = []
    for level in LEVELS:
        ends = [(-np.inf if a is None else a, np.inf if b is None else b) for a, b in intervals(level)]
        found.append(float(np.mean([not low <= truth <= high for low, high in ends])))
    return tuple(found)


@cache
def mcnemar_of(only_base: int, only_method: int, n: int, alpha: float) -> Inference:
    """Exact McNemar of the counts."""
    return mcnemar(only_base, only_method, n, alpha, MARGIN)


def discordant(rng: np.random.Generator, runs: int, n: int, base: float, method: float) -> list[tuple[int, int]]:
    """Counts of items that one side alone solves, with these probabilities."""
    return [(int(b), int(c)) for b, c, _ in rng.multinomial(n, (base, method, 1 - base - method), runs)]


def binary_pairs(runs: int) -> Iterator[Row]:
    """Exact McNemar, its mid-p, its interval, and non-inferiority at the margin."""
    for n, each in ((60, 1 / 6), (500, 0.05)):
        rng = np.random.default_rng(n)
        counts = discordant(rng, runs, n, each, each)
        found = [mcnemar_of(b, c, n, 0.05) for b, c in counts]
        data = f"{n} items, {2 * each:.0%} differ"
        yield Row("exact McNemar", data, rates(np.asarray([f.p_value for f in found], float)))
        yield Row("mid-p (beside it)", data, rates(np.asarray([f.p_midp for f in found], float)))

        def ends(level: float, counts: list[tuple[int, int]] = counts, n: int = n) -> list[Ends]:
            return [(f.ci_low, f.ci_high) for f in (mcnemar_of(b, c, n, level) for b, c in counts)]

        yield Row("Bonett-Price interval", data, outside(0, ends))
        lost = [mcnemar_of(b, c, n, 0.05) for b, c in discordant(rng, runs, n, 0.15 + MARGIN, 0.15)]
        yield Row(
            "non-inferiority, McNemar",
            f"{n} items, true loss = margin",
            rates(np.asarray([f.p_noninferiority for f in lost], float)),
        )


def user_sums(rng: np.random.Generator, sizes: Floats, kind: str) -> ClusterSums:
    """Differences without an effect, summed over the items of users: user and item effects of equal spread."""
    c = len(sizes)
    if kind == "skewed":
        u = sizes * (rng.exponential(size=c) - 1) + np.sqrt(sizes) * rng.normal(size=c)
    elif kind == "graded":
        u = np.asarray([rng.choice([-0.5, -0.25, 0, 0, 0.25, 0.5], int(n)).sum() for n in sizes])
    else:
        u = sizes * rng.normal(size=c) + np.sqrt(sizes) * rng.normal(size=c)
    return ClusterSums(u[np.newaxis], sizes)


def sign_flips(runs: int) -> Iterator[Row]:
    """The sign-flip test, its interval, and non-inferiority at the margin."""
    for sizes, kind in (
        (np.arange(1.0, 9), "normal"),
        (np.arange(1.0, 13), "normal"),
        (np.arange(1.0, 13), "skewed"),
        (np.tile(np.arange(1.0, 11), 4), "normal"),
        (np.tile(np.arange(1.0, 11), 4), "skewed"),
        (np.ones(60), "graded"),
    ):
        rng = np.random.default_rng(len(sizes))
        unit = "items" if sizes.max() == 1 else f"users of 1 to {sizes.max():.0f} items"
        data = f"{len(sizes)} {unit}, {kind}"
        drawn = [user_sums(rng, sizes, kind) for _ in range(runs)]
        found = [sign_flip(sums, 0.05, draws=2000) for sums in drawn]
        yield Row(found[0].test, data, rates(np.asarray([f.p_value for f in found], float)))
        if kind == "normal":
            at = [ClusterSums(sums.sums - MARGIN * sums.sizes, sums.sizes) for sums in drawn]
            p = [sign_flip(sums, 0.05, MARGIN, draws=2000).p_noninferiority for sums in at]
            yield Row("non-inferiority, sign-flip", f"{data}, true loss = margin", rates(np.asarray(p, float)))


def training_seeds(runs: int) -> Iterator[Row]:
    """The share-weighted t at the ratio of variances at which it rejects most often."""
    kinds: tuple[tuple[int, Kind], ...] = (
        *((6, "normal"), (30, "normal"), (100, "normal")),
        *((12, "skewed"), (100, "skewed"), (100, "binary")),
    )
    for seeds in (2, 3, 5, 10):
        for clusters, kind in kinds:
            spread = 0.06 if kind == "binary" else 1.0
            sets = runs if clusters == 100 else 5 * runs
            designs = [Seeds(seeds, clusters, r * spread, spread, kind=kind) for r in RATIOS]
            found = [rates(p_values(d, sets, seed=seeds)) for d in designs]
            most = tuple(max(rate[n] for rate in found) for n in range(len(LEVELS)))
            yield Row(f"share-weighted t, {seeds} seeds", f"{clusters} clusters, {kind}; worst of 5 ratios", most)
        one_sided = []
        for stack in Seeds(seeds, 30, 0.3, 1).stacks(5 * runs, 1):
            test = share_weighted_t(stack)
            one_sided.append(test.tail(stack.mean((-1, -2)) / test.se))
        data = "30 clusters, normal, true loss = margin"
        yield Row(f"non-inferiority, {seeds} seeds", data, rates(np.concatenate(one_sided)))


def hard_seeds(runs: int) -> Iterator[Row]:
    """Data at the limits of the share-weighted t: users of very unequal size, and seed effects far from normal."""
    for seeds, clusters in ((3, 30), (10, 30)):
        for related in (0.0, 0.7):
            rng = np.random.default_rng(seeds)
            size, other = rng.normal(size=(2, 2 * runs, clusters))
            sizes = np.exp(np.sqrt(np.log(1 + 1.3**2)) * size)
            user = related * size + np.sqrt(1 - related**2) * other
            centre = related * np.sqrt(np.log(1 + 1.3**2))  # the mean of the effects, weighted by size
            d = user[:, np.newaxis] - centre + rng.normal(size=(2 * runs, seeds, clusters))
            delta = (sizes * d.mean(axis=1)).sum(axis=1) / sizes.sum(axis=1)
            data = f"{clusters} users, sizes of CV 1.3, correlation of log size and effect {related}"
            yield Row(f"share-weighted t, {seeds} seeds", data, rates(share_weighted_t(d, sizes).p_value(delta)))
        rng = np.random.default_rng(seeds)
        d = rng.normal(size=(2 * runs, 1, clusters)) + rng.normal(size=(2 * runs, seeds, clusters))
        d += 0.5 * rng.choice((-1.0, 1.0), size=(2 * runs, seeds, 1))
        p = share_weighted_t(d).p_value(d.mean((-1, -2)))
        yield Row(f"share-weighted t, {seeds} seeds", f"{clusters} clusters, seed effects of two values", rates(p))


def scores(runs: int) -> Iterator[Row]:
    """Intervals of one arm's score."""
    rng = np.random.default_rng(5)
    for n, share in ((60, 0.5), (60, 0.95), (500, 0.95)):
        hits = rng.binomial(n, share, runs)

        def wilson(level: float, hits: NDArray[np.int64] = hits, n: int = n) -> list[Ends]:
            ends = [sps.binomtest(int(k), n).proportion_ci(1 - level, method="wilson") for k in hits]
            return [(float(e.low), float(e.high)) for e in ends]

        yield Row("Wilson interval", f"{n} 0/1 items, true share {share}", outside(share, wilson))
    for users, share in ((12, 0.5), (12, 0.95), (40, 0.5), (40, 0.95)):
        drawn = [shares(rng, users, share) for _ in range(runs)]

        def over_users(level: float, drawn: list[ClusterSums] = drawn) -> list[Ends]:
            found = [None if sums.is_flat else cluster_t(sums, level) for sums in drawn]
            return [(f.ci_low, f.ci_high) if f else (None, None) for f in found]

        yield Row(
            "t interval over users", f"{users} users of 5 0/1 items, true share {share}", outside(share, over_users)
        )


def judged(runs: int) -> Iterator[Row]:
    """Win rates, the win rate at equal length, the choice of a place, and kappa."""
    rng, place = np.random.default_rng(6), np.repeat(np.arange(12), 3)
    users = place.astype(str).tolist()
    p: list[float] = []
    lengths: dict[float, list[Ends]] = {level: [] for level in LEVELS}
    kappas: dict[float, list[Ends]] = {level: [] for level in LEVELS}
    for _ in range(runs):
        lean = 0.4 * rng.normal(size=12)[place]
        orders = [["W" if won else "L" for won in rng.random(36) < special.expit(lean)] for _ in range(2)]
        p.append(win_rate(orders[0], orders[1], users).p_value or 1.0)
        length = rng.normal(20, 40, 36)
        wins = rng.binomial(2, special.expit(lean + 0.7 * np.tanh(length / length.std()))) / 2
        labels = rng.integers(0, 2, 60)
        verdicts = np.where(rng.random(60) < 0.6, labels, 1 - labels)
        for level in LEVELS:
            found = length_controlled(wins.tolist(), length.tolist(), users, alpha=level)
            lengths[level].append((found.ci_low, found.ci_high))
            same = agreement(labels.tolist(), verdicts.tolist(), [str(n // 3) for n in range(60)], level)
            kappas[level].append((same.ci_low, same.ci_high))
    yield Row("win rate, sign-flip", "12 users of 3 items, both orders", rates(np.asarray(p)))
    at_equal_length = outside(0.5, lengths.__getitem__)
    yield Row("win rate at equal length, interval", "12 users of 3 items, users lean", at_equal_length)
    yield Row("kappa, interval", "20 users of 3 labels, true kappa .2", outside(0.2, kappas.__getitem__))
    first = np.asarray([sps.binomtest(int(k), 36).pvalue for k in rng.binomial(36, 0.5, runs)])
    yield Row("first place chosen, binomial", "36 items that lean to a place", rates(first))


def families(runs: int) -> Iterator[Row]:
    """Holm: any false claim among six arms against one base. Benjamini-Hochberg: the share of false claims."""
    rng = np.random.default_rng(7)
    any_false, false_share = [], []
    for _ in range(runs):
        base = rng.normal(size=(1, 30))
        arms = [
            rng.normal(0, 0.3, (3, 1)) + rng.normal(size=(1, 30)) + rng.normal(size=(3, 30)) - base for _ in range(6)
        ]
        p = [float(share_weighted_t(d).p_value(np.asarray(d.mean()))) for d in arms]
        any_false.append(min(q for q in holm(p) if q is not None))
        real = [float(share_weighted_t(d + 1.5).p_value(np.asarray(d.mean() + 1.5))) for d in arms[:3]] + p[3:]
        adjusted = np.asarray(benjamini_hochberg(real), float)
        false_share.append([(adjusted[3:] <= level).sum() / max(1, (adjusted <= level).sum()) for level in LEVELS])
    yield Row("Holm, any false claim", "6 arms of 3 seeds against one base", rates(np.asarray(any_false)))
    yield Row(
        "Benjamini-Hochberg, false claims", "the same, 3 arms with an effect", tuple(np.mean(false_share, axis=0))
    )


def main() -> None:
    """Print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"| test | data without an effect ({runs:,} sets) | at .05 | at .01 |\n|---|---|---|---|")
    for part in (binary_pairs, sign_flips, training_seeds, hard_seeds, scores, judged, families):
        for row in part(runs):
            figures = " | ".join(f"{rate:.3f}".replace("0.", ".", 1) for rate in row.rates)
            print(f"| {row.test} | {row.data} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
