"""Coverage of three intervals of a share near its limits: the t interval, the same cut at 0 and 1, and one of logits.

By hand: `OMP_NUM_THREADS=1 python tests/calibration/coverage_of_intervals.py [RUNS]`. It prints a Markdown table.
"""

from __future__ import annotations

import sys

import numpy as np
from null_data import shares
from scipy import special
from scipy import stats as sps

from mipo_bench.reports.statistics.choose_test import within
from mipo_bench.reports.statistics.clusters import ClusterSums
from mipo_bench.reports.statistics.parametric import cluster_t
from mipo_bench.reports.statistics.records import SHARE


def of_logits(sums: ClusterSums, alpha: float) -> tuple[float, float]:
    """The interval of the logit of the mean, by the delta method, turned back: the common transformation."""
    found, mean = cluster_t(sums, alpha), sums.estimate
    assert found.se is not None
    half = float(sps.t.isf(alpha / 2, len(sums.sizes) - 1)) * found.se / (mean * (1 - mean))
    return float(special.expit(special.logit(mean) - half)), float(special.expit(special.logit(mean) + half))


def main() -> None:
    """Print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    print(f"| users of 5 items, true share ({runs:,} sets) | t | cut | logit | reach beyond 1 | no interval |")
    print("|---|---|---|---|---|---|")
    for users, share in ((6, 0.5), (6, 0.9), (12, 0.9), (12, 0.97), (40, 0.9), (40, 0.97)):
        rng, covered, beyond, none = np.random.default_rng(users), np.zeros(3), 0, 0
        for _ in range(runs):
            sums = shares(rng, users, share)
            if sums.is_flat:
                none += 1
                continue
            plain = cluster_t(sums, 0.05)
            cut = within(plain, SHARE)
            beyond += plain.ci_high is not None and plain.ci_high > 1
            for n, (low, high) in enumerate(
                ((plain.ci_low, plain.ci_high), (cut.ci_low, cut.ci_high), of_logits(sums, 0.05))
            ):
                covered[n] += low is not None and high is not None and low <= share <= high
        figures = [*(covered / (runs - none)), beyond / (runs - none), none / runs]
        print(f"| {users}, {share} | " + " | ".join(f"{value:.3f}" for value in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
