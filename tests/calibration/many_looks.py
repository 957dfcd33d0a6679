"""The share of experiments without an effect in which one of several looks at the same items has p < .05.

Prints the table of docs/statistics.md: `python tests/calibration/many_looks.py`.
"""

from __future__ import annotations

import numpy as np

from mipo_bench.reports.statistics.share_weighted import share_weighted_t

SETS, SEEDS, USERS = 4000, 3, 30
LOOKS = (1, 2, 3, 5, 10)


def false_findings(shared: float) -> list[float]:
    """For each of LOOKS, the share of experiments with a finding, if users carry this share of a cell's variance.

    Every look is a new training of the same recipe on the same users: the users' effects stay, the rest is drawn anew.
    """
    rng = np.random.default_rng(0)
    users = np.sqrt(shared) * rng.normal(size=(SETS, 1, 1, USERS))
    anew = np.sqrt(1 - shared) * rng.normal(size=(SETS, max(LOOKS), SEEDS, USERS))
    differences = users + anew
    found = share_weighted_t(differences).p_value(differences.mean(axis=(-2, -1))) < 0.05
    return [float(found[:, :looks].any(axis=1).mean()) for looks in LOOKS]


if __name__ == "__main__":
    print("| users carry | " + " | ".join(f"{n} look{'s' * (n > 1)}" for n in LOOKS) + " |")
    print("|---" * (len(LOOKS) + 1) + "|")
    for shared in (0.0, 0.2, 0.5, 0.8):
        print(f"| {shared:.0%} | " + " | ".join(f"{share:.3f}".lstrip("0") for share in false_findings(shared)) + " |")
