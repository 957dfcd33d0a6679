"""SAMI: self-supervised alignment with mutual information (Fränken et al. 2024, arXiv 2404.13314)."""

from __future__ import annotations

from mipo_bench.baselines.recipes.mipo_random import MipoRandom
from mipo_bench.harness.types import Objective


class Sami(MipoRandom):
    """The symmetric contrastive loss over mipo-random's prompts and responses (`harness/training/contrastive.py`)."""

    name = "sami"
    description = "Trained baseline: SAMI, symmetric contrast of prompts and responses."
    objective: Objective = "sami"
    shares_pairs_of = "mipo-random"
    default = False
    is_trained_baseline = True
