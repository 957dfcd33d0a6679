"""The cluster sign-flip test and the interval that inverts it. `choose_test` uses it unless another test applies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipo_bench.reports.statistics.clusters import ClusterSums
from mipo_bench.reports.statistics.parametric import cr1_standard_error
from mipo_bench.reports.statistics.records import Floats, Inference

EXACT_CLUSTERS = 16
DRAWS = 10_000
TOLERANCE = 1e-12
CHUNK = 2_000_000
"""Bits that are drawn at once. The generator drops the rest of a word, so that another number gives other draws."""
BLOCK = 1 << 25
"""Bytes of drawn bits in memory at once."""
TABLES = 256
"""Tables of subset sums in memory at once: 1 MB."""


@dataclass(frozen=True, slots=True)
class Subsets:
    """Sums of `u` and `n` over a reference set of subsets of the clusters.

    Flipping the signs of the clusters in F turns the statistic T = sum(u) into T - 2 sum_F(u), so a set of
    sign vectors is a set of subsets. The set is closed under complement and holds the empty set, which is the
    data as observed: all 2^C subsets, or B random ones, their complements, the empty and the full one.
    """

    u: Floats
    n: Floats

    @property
    def size(self) -> int:
        """The number of subsets in the reference set."""
        return len(self.u)


def all_subsets(u: Floats, n: Floats) -> Subsets:
    """Every subset, (2^C,): the sums are built by doubling."""
    sums = np.zeros((1, 2))
    for row in np.column_stack((u, n)):
        sums = np.concatenate((sums, sums + row))
    return Subsets(sums[:, 0], sums[:, 1])


def drawn_subsets(u: Floats, n: Floats, seed: int, draws: int) -> Subsets:
    """`draws` uniformly random subsets with their complements, the empty and the full one, (2 draws + 2,)."""
    rng = np.random.default_rng(seed)
    clusters, width = u + 1j * n, math.ceil(len(u) / 8)
    step = max(1, CHUNK // len(u))
    sizes = [min(step, draws - start) for start in range(0, draws, step)]
    block = max(1, BLOCK // (step * width))
    parts = [np.zeros(1, dtype=np.complex128)]
    for start in range(0, len(sizes), block):
        raw = b"".join(rng.bytes(size * width) for size in sizes[start : start + block])
        parts.append(_sums(np.frombuffer(raw, dtype=np.uint8).reshape(-1, width), clusters))
    sums = np.concatenate(parts)
    sums = np.concatenate((sums, clusters.sum() - sums))
    return Subsets(sums.real.copy(), sums.imag.copy())


def _sums(members: NDArray[np.uint8], clusters: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """The sum of each subset, (subsets,). `members` has a bit for each cluster, (subsets, clusters / 8).

    Eight clusters have 256 subsets, whose sums are a table. A lookup takes the place of eight products.
    """
    total = np.zeros(len(members), dtype=np.complex128)
    octets = np.pad(clusters, (0, -len(clusters) % 8)).reshape(-1, 8)
    for start in range(0, len(octets), TABLES):
        part = octets[start : start + TABLES]
        tables = np.zeros((len(part), 1), dtype=np.complex128)
        for bit in part.T[::-1]:  # the first cluster is the highest bit
            tables = np.concatenate((tables, tables + bit[:, np.newaxis]), axis=1)
        codes = np.ascontiguousarray(members[:, start : start + TABLES].T)
        for table, code in zip(tables, codes, strict=True):
            total += table.take(code)
    return total


def p_two_sided(u: Floats, subsets: Subsets) -> float:
    """Share of sign vectors with |T| at least as large as observed.

    For random draws this is (1 + k) / (1 + B). Sums that differ only by rounding count as equal: the tolerance is
    1e-12 of sum |u|.
    """
    total = u.sum()
    flipped = total - 2 * subsets.u
    return float(np.mean(np.abs(flipped) >= abs(total) - TOLERANCE * np.abs(u).sum()))


def p_noninferior(u: Floats, n: Floats, margin: float, subsets: Subsets) -> float:
    """One-sided sign-flip p-value of delta <= -margin: T of u + n margin at least as large as observed."""
    shifted = subsets.u + margin * subsets.n
    return float(np.mean(shifted <= TOLERANCE * np.abs(u + margin * n).sum()))


def invert_test(subsets: Subsets, alpha: float) -> tuple[float, float] | None:
    """Interval of all differences that the two-sided test at `alpha` does not reject; None if unbounded.

    The ends are the k-th smallest and largest of the subset ratios sum(u) / sum(n), k = floor(size alpha / 2)
    (Hartigan 1969, typical values). Each empty subset that was drawn by chance never rejects and
    lowers k by one.
    """
    filled = subsets.n > 0
    drawn_empty = int((~filled).sum()) - 1
    k = math.floor(subsets.size * alpha / 2 + 1e-9) - drawn_empty
    if k < 1:
        return None
    ratios = subsets.u[filled] / subsets.n[filled]
    ratios.partition((k - 1, len(ratios) - k))
    return float(ratios[k - 1]), float(ratios[-k])


def sign_flip(
    clusters: ClusterSums, alpha: float, margin: float | None = None, seed: int = 0, draws: int = DRAWS
) -> Inference:
    """Sign-flip permutation test of a zero mean over clusters, with its inverted interval and the CR1 standard error.

    The test enumerates all sign vectors if at most 16 clusters differ from zero (flipping does not change a zero), and
    draws them otherwise. The smallest p-value that k non-zero clusters can give is 2^(1-k). `clusters` has one seed and
    at least two clusters. A constant difference has a p-value but no interval: all subset ratios are equal.
    """
    u, n = clusters.sums[0], clusters.sizes
    nonzero = u[u != 0]
    exact = len(nonzero) <= EXACT_CLUSTERS
    subsets = all_subsets(u, n) if len(u) <= EXACT_CLUSTERS else drawn_subsets(u, n, seed, draws)
    flat = clusters.is_flat
    ends = None if flat else invert_test(subsets, alpha)
    return Inference(
        test="sign-flip-exact" if exact else "sign-flip-monte-carlo",
        p_value=p_two_sided(nonzero, all_subsets(nonzero, nonzero)) if exact else p_two_sided(u, subsets),
        ci_low=ends[0] if ends else None,
        ci_high=ends[1] if ends else None,
        se=None if flat else cr1_standard_error(clusters.linearised),
        df=len(u) - 1.0,
        p_noninferiority=None if margin is None else p_noninferior(u, n, margin, subsets),
        min_attainable_p=max(min(1.0, 2.0 ** (1 - len(nonzero))), 0 if exact else 1 / (1 + draws)),
    )
