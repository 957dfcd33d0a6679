"""Deterministic splits: what belongs to evaluation is decided by a hash of its content, never by its position."""

from __future__ import annotations

import hashlib
import random


def is_held_out(*parts: object, one_in: int) -> bool:
    """Whether this content belongs to the evaluation split (about one in `one_in` does)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % one_in == 0


def seeded(*parts: object) -> random.Random:
    """A generator whose stream depends on the parts alone, the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return random.Random(hashlib.sha256(text.encode()).hexdigest())
