"""Best of n by pointwise mutual information.

Of `best_of_n.samples` responses sampled under the profile, the one with the highest log p(y|context, prompt) -
log p(y|prompt): what MIPO (arXiv 2603.19294) trains a model towards, had by search instead.
"""

from __future__ import annotations

from mipo_bench.baselines.decoding.cad import ContextAwareDecoding
from mipo_bench.harness.types import ContrastUse


class BestOfN(ContextAwareDecoding):
    """The profile as system message; several samples, of which the profile explains one best."""

    name = "best-of-n"
    description = "Of several samples the one that the profile makes most likelier than no profile."
    contrast_use: ContrastUse = "reranking"
