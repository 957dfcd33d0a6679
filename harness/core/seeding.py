"""Random seeds that are derived from names, such as a task's and an item's."""

from __future__ import annotations

from mipo_bench.harness.core.hashing import digest


def seed_of(*parts: object) -> int:
    """A sampling seed below 2**63 that depends on the parts alone."""
    return int(digest(parts)[:16], 16) >> 1
