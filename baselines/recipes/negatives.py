"""Negatives of a preference pair: other contexts, or other prompts, drawn at random or by similarity.

The similarity of two texts is the Jaccard index of their sets of lower-case words: shared words over all words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from mipo_bench.harness.types import Item, Similarity

POOL = 1000
"""The largest number of candidates per item; if there are more, this many are drawn at random."""


def words(text: str) -> frozenset[str]:
    """The lower-case words and numbers of a text."""
    return frozenset(re.findall(r"\w+", text.lower()))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """The Jaccard index in [0, 1]: shared words over all words; 0 if both texts have no words."""
    return len(a & b) / len(a | b) if a or b else 0.0


def contrasts_by_similarity(
    items: Sequence[Item], rng: random.Random, negatives: int, similarity: Similarity
) -> list[list[Item]]:
    """`negatives` contrasts per item, each with another context; in tasks without users, each with another prompt.

    `near` takes the most similar candidates, most similar first; `far` takes the least similar, least similar first.
    Ties are broken at random. Raises ValueError if an item has fewer than `negatives` different candidates.
    """
    users = any(item.context is not None for item in items)
    items_by_text = {_text(item, users=users): item for item in items}
    word_sets = {text: words(text) for text in items_by_text}
    contrasts = []
    for item in items:
        own = _text(item, users=users)
        others = [text for text in items_by_text if text != own]
        if len(others) < negatives:
            kind = "contexts" if users else "prompts"
            raise ValueError(f"{negatives} negatives need as many other {kind}; item {item.id!r} has {len(others)}")
        drawn = _drawn(own, others, word_sets, rng, negatives, similarity)
        contrasts.append([item.asked_by(items_by_text[text]) if users else items_by_text[text] for text in drawn])
    return contrasts


def _drawn(
    own: str,
    others: Sequence[str],
    word_sets: dict[str, frozenset[str]],
    rng: random.Random,
    negatives: int,
    similarity: Similarity,
) -> list[str]:
    """`negatives` of the `others`, in order of similarity to the text `own`."""
    if similarity == "random":
        return rng.sample(others, negatives)
    pool = rng.sample(others, min(max(POOL, negatives), len(others)))
    sign = -1 if similarity == "near" else 1
    return sorted(pool, key=lambda text: sign * jaccard(word_sets[own], word_sets[text]))[:negatives]


def _text(item: Item, *, users: bool) -> str:
    """The text by which items are compared: the context in tasks with users, else the prompt."""
    return item.context or "" if users else item.prompt
