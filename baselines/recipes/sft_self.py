"""Supervised fine-tuning on the model's own responses, a trained baseline of MIPO's paper (arXiv 2603.19294)."""

from __future__ import annotations

from mipo_bench.baselines.recipes.mipo_random import MipoRandom
from mipo_bench.harness.types import Objective


class SftSelf(MipoRandom):
    """SFT on the chosen responses of mipo-random's pairs: the same texts, without the rejected ones."""

    name = "sft-self"
    description = "Trained baseline: supervised fine-tuning on the chosen responses."
    objective: Objective = "sft"
    shares_pairs_of = "mipo-random"
    default = False
    is_trained_baseline = True
