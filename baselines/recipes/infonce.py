"""InfoNCE (van den Oord et al. 2018, arXiv 1807.03748), a trained baseline of MIPO's paper (arXiv 2603.19294)."""

from __future__ import annotations

from mipo_bench.baselines.recipes.mipo_random import MipoRandom
from mipo_bench.harness.types import Objective


class InfoNce(MipoRandom):
    """InfoNCE on mipo-random's pairs: a chosen response is contrasted under its own prompt and under other prompts."""

    name = "infonce"
    description = "Trained baseline: InfoNCE, the response's own prompt against others."
    objective: Objective = "infonce"
    shares_pairs_of = "mipo-random"
    default = False
    is_trained_baseline = True
