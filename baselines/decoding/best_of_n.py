"""Best of n by pointwise mutual information.

The model samples `best_of_n.samples` responses under the profile. The response y with the highest
log p(y|context, prompt) - log p(y|prompt) is kept. MIPO (arXiv 2603.19294) trains a model to raise this quantity; best
of n searches for it without training.
"""

from __future__ import annotations

from mipo_bench.baselines.decoding.cad import ContextAwareDecoding
from mipo_bench.harness.types import ContrastUse


class BestOfN(ContextAwareDecoding):
    """Sample with the profile as system message; keep the response whose likelihood the profile raises most."""

    name = "best-of-n"
    description = "Best of n: of several samples, the one whose likelihood the profile raises most."
    contrast_use: ContrastUse = "reranking"
