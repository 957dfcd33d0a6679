"""Diversity of the responses of each arm: distinct-n and self-BLEU, at the same length for all arms of a task.

Both figures depend on the length and the number of texts: longer texts repeat more words, and more texts give self-BLEU
more references. So all texts are cut to the same number of words, and every arm has the same number of texts.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

DIVERSITY_VERSION = "diversity-1"
"""Goes up whenever the same texts get other figures."""
FEWEST = 20
"""Fewest responses for which the figures are computed."""
MOST = 50
"""Most responses that are compared with one another; the computation grows with their square."""
SHORTEST = 4
"""Words that a text needs for BLEU-4."""
QUANTILE = 0.25
"""Share of an arm's responses that may be shorter than the common length. These are left out."""


@dataclass(frozen=True, slots=True)
class Diversity:
    """Figures in [0, 1]: the share of distinct n-grams, and the mean BLEU-4 of each text against the others."""

    texts: int
    words: int
    distinct_1: float
    distinct_2: float
    self_bleu: float


def diversity(arms: Mapping[str, Sequence[str]]) -> dict[str, Diversity]:
    """The diversity of each arm with enough responses of the common length. The order of its texts must be fixed."""
    split = {arm: [text.split() for text in texts] for arm, texts in arms.items()}
    long_enough = {arm: texts for arm, texts in split.items() if len(_long(texts, SHORTEST)) >= FEWEST}
    if not long_enough:
        return {}
    words = min(_common(texts) for texts in long_enough.values())
    long = {arm: [text[:words] for text in _long(texts, words)] for arm, texts in long_enough.items()}
    count = min(MOST, *(len(texts) for texts in long.values()))
    return {arm: _measure(random.Random(0).sample(texts, count), words) for arm, texts in long.items()}


def _long(texts: Sequence[Sequence[str]], words: int) -> list[Sequence[str]]:
    return [text for text in texts if len(text) >= words]


def _common(texts: Sequence[Sequence[str]]) -> int:
    """The length that most of an arm's responses reach, of those long enough for BLEU-4."""
    lengths = sorted(len(text) for text in _long(texts, SHORTEST))
    return lengths[int(QUANTILE * len(lengths))]


def _measure(texts: Sequence[Sequence[str]], words: int) -> Diversity:
    return Diversity(len(texts), words, distinct(texts, 1), distinct(texts, 2), self_bleu(texts))


def distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    """Distinct n-grams over all n-grams (distinct-n, Li et al. 2016, arXiv 1510.03055); 0 without n-grams."""
    grams = [tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def self_bleu(texts: Sequence[Sequence[str]]) -> float:
    """The mean BLEU-4 of each text with all others as references (Zhu et al. 2018, arXiv 1802.01886), by sacrebleu."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize="none", effective_order=True)
    joined = [" ".join(text) for text in texts]
    scores = [metric.sentence_score(text, [*joined[:n], *joined[n + 1 :]]).score for n, text in enumerate(joined)]
    return min(1.0, sum(scores) / len(scores) / 100)
