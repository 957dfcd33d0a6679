"""The paths of the repository's folders."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
CASES = TESTS / "cases"
"""Inputs with right values."""
DATA = TESTS / "data"
"""Extracts of public data sets, one folder each."""
GOLDEN = TESTS / "golden"
"""Expected output of commands."""
EXAMPLE_PLUGIN = TESTS / "example_plugin"
BASELINES = ROOT / "baselines" / "prompting"
SOURCES = tuple(ROOT / part for part in ("harness", "tasks", "baselines", "reports"))
"""The folders that hold the production code."""
