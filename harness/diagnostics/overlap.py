"""Overlap of two splits: texts that are equal except for case and white space, and near duplicates.

Near duplicates are found by MinHash (Broder 1997) over character 5-grams with locality-sensitive bands, and confirmed
by their exact Jaccard similarity, so that a chance collision never counts. 10,000 texts against 10,000 take seconds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OVERLAP_VERSION = "overlap-1"
"""Goes up whenever the same items get other figures."""
NEAR = 0.8
"""Jaccard similarity of character 5-grams from which two texts are near duplicates: the usual value of deduplication
(Lee et al. 2022, arXiv 2107.06499, use 0.8 too)."""
GRAM = 5
_BANDS, _ROWS = 16, 4
"""A pair at 0.8 shares a band with probability 0.9998, one at 0.3 with 0.12."""
_CANDIDATES = 20
"""Most texts that one text is compared with, those with the most common bands first: templates share all bands."""
_BUCKET = 200
"""Most texts in the bucket of one band."""
_NEAREST = 3
_Hashes = NDArray[np.uint64]
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Names of two texts with their similarity."""

    evaluation: str
    training: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """Numbers of evaluation texts equal to a training text, and of near duplicates; `examples` are the nearest."""

    same: int
    near: int
    examples: tuple[NearDuplicate, ...]


def overlap(evaluation: Mapping[str, str], training: Mapping[str, str]) -> Overlap:
    """Compare evaluation texts with training texts, both by name. An equal text does not count as near duplicate."""
    known: dict[str, str] = {}
    for name, text in training.items():
        known.setdefault(normalised(text), name)
    exact = {name: known[key] for name, text in evaluation.items() if (key := normalised(text)) in known}
    rest = {name: text for name, text in evaluation.items() if name not in exact}
    near = _near(rest, training)
    examples = [NearDuplicate(name, other, 1.0) for name, other in exact.items()]
    examples += sorted(near, key=lambda pair: -pair.similarity)
    return Overlap(len(exact), len(near), tuple(examples[:_NEAREST]))


def normalised(text: str) -> str:
    """The text in lower case with single spaces."""
    return " ".join(text.casefold().split())


def shingles(text: str) -> _Hashes:
    """The distinct character 5-grams of the normalised text, as sorted hashes; a shorter text is one gram."""
    codes = np.array([ord(c) for c in normalised(text)], dtype=np.uint64)
    if not len(codes):
        return codes
    width = min(GRAM, len(codes))
    hashes = np.zeros(len(codes) - width + 1, dtype=np.uint64)
    for n in range(width):
        hashes = _mixed(hashes + codes[n : n + len(hashes)])
    return np.unique(hashes)


def similarity(a: _Hashes, b: _Hashes) -> float:
    """Jaccard similarity of two sets of shingles; 1 for two empty sets."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    total = len(a) + len(b) - shared
    return shared / total if total else 1.0


def _near(evaluation: Mapping[str, str], training: Mapping[str, str]) -> list[NearDuplicate]:
    """The nearest training text of each evaluation text, where it is a near duplicate."""
    names = list(training)
    sets = [shingles(text) for text in training.values()]
    buckets: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    for n, hashes in enumerate(sets):
        for band in _bands(hashes):
            if len(buckets[band]) < _BUCKET:
                buckets[band].append(n)
    nearest = []
    for name, text in evaluation.items():
        own = shingles(text)
        votes = Counter(n for band in _bands(own) for n in buckets.get(band, ()))
        compared = [(similarity(own, sets[n]), -n) for n, _ in votes.most_common(_CANDIDATES)]
        best, place = max(compared, default=(0.0, 0))
        if best >= NEAR:
            nearest.append(NearDuplicate(name, names[-place], best))
    return nearest


def _bands(hashes: _Hashes) -> Sequence[tuple[int, bytes]]:
    """The MinHash signature in bands; no bands for an empty text."""
    if not len(hashes):
        return ()
    signature = _mixed(hashes[:, None] ^ _SALTS).min(axis=0).reshape(_BANDS, _ROWS)
    return [(n, row.tobytes()) for n, row in enumerate(signature)]


def _mixed(values: _Hashes) -> _Hashes:
    """Hash of each value: multiply and fold, modulo 2**64, so that every bit affects the whole word."""
    product = values * _MULTIPLIER
    return (product ^ (product >> np.uint64(29))) * _MULTIPLIER


_SALTS = np.random.default_rng(0).integers(0, 2**63, size=_BANDS * _ROWS, dtype=np.uint64)
