"""Settings of hypothesis for all tests: the same examples on every machine, and no time limit for one example."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, max_examples=60)
settings.load_profile("repeatable")
