"""Which contexts or prompts an item is contrasted with: several, drawn at random or by similarity.

Similarity of two texts is the Jaccard index of their sets of lower-case words: shared words over all words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from mipo_bench.harness.types import Item, Similarity

POOL = 1000
"""Candidates that an item is compared with; of more, as many are drawn at random."""


def words(text: str) -> frozenset[str]:
    """The lower-case words and numbers of a text."""
    return frozenset(re.findall(r"\w+", text.lower()))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Shared words over all words, in [0, 1]; 0 where neither text has any."""
    return len(a & b) / len(a | b) if a or b else 0.0


def contrasts_by_similarity(
    items: Sequence[Item], rng: random.Random, negatives: int, similarity: Similarity
) -> list[list[Item]]:
    """For each item `negatives` others, each with another context; for tasks without users, with another prompt.

    `near` takes those most like the item, `far` those least like it, both in that order; ties fall at random. Raises
    ValueError where there are not as many different ones.
    """
    users = any(item.context is not None for item in items)
    different = {_text(item, users=users): item for item in items}
    bags = {text: words(text) for text in different}
    found = []
    for item in items:
        own = _text(item, users=users)
        others = [text for text in different if text != own]
        if len(others) < negatives:
            what = "contexts" if users else "prompts"
            raise ValueError(f"{negatives} negatives need as many other {what}; item {item.id!r} has {len(others)}")
        chosen = _chosen(own, others, bags, rng, negatives, similarity)
        found.append([item.asked_by(different[text]) if users else different[text] for text in chosen])
    return found


def _chosen(
    own: str,
    others: Sequence[str],
    bags: dict[str, frozenset[str]],
    rng: random.Random,
    negatives: int,
    similarity: Similarity,
) -> list[str]:
    if similarity == "random":
        return rng.sample(others, negatives)
    pool = rng.sample(others, min(max(POOL, negatives), len(others)))
    sign = -1 if similarity == "near" else 1
    return sorted(pool, key=lambda text: sign * jaccard(bags[own], bags[text]))[:negatives]


def _text(item: Item, *, users: bool) -> str:
    return item.context or "" if users else item.prompt
