"""Deterministic splits and random generators.

A hash of an item's content decides whether it belongs to the evaluation split. Its position in the data has no effect.
"""

from __future__ import annotations

import hashlib
import random


def is_held_out(*parts: object, one_in: int) -> bool:
    """Whether this content belongs to the evaluation split. About one in `one_in` contents does."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % one_in == 0


def seeded(*parts: object) -> random.Random:
    """A random generator whose stream depends only on `parts`. It is the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return random.Random(hashlib.sha256(text.encode()).hexdigest())
