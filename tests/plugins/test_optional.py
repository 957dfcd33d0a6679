"""Optional attributes of plugins, and their defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.plugins import optional

CASES: dict[str, tuple[Callable[[Any], object], object, dict[str, object], object]] = {
    "default": (optional.runs_by_default, True, {"default": False}, False),
    "rules_decide": (optional.rules_decide, False, {"rules_decide": True}, True),
    "source": (optional.data_source, None, {"source": "a/set"}, "a/set"),
    "licence": (optional.data_licence, None, {"licence": "MIT"}, "MIT"),
    "meant_for": (optional.meant_for, "any", {"meant_for": "real"}, "real"),
    "uses_data": (optional.uses_data, False, {"uses_data": True}, True),
    "data_state": (optional.data_state, None, {"data_state": lambda: ("ok", "here")}, ("ok", "here")),
    "data_used": (optional.data_used, None, {"data_used": lambda: {"rows": 3}}, {"rows": 3}),
    "context_steps": (optional.context_steps, 2, {"context_steps": 1}, 1),
    "objective": (optional.objective_of, "dpo", {"objective": "grpo"}, "grpo"),
    "reward": (optional.reward_kind, "score", {"reward": "judge"}, "judge"),
    "shares_pairs_of": (optional.shares_pairs_of, "p", {"shares_pairs_of": "q"}, "q"),
    "several_contrasts": (optional.several_contrasts, None, {"several_contrasts": max}, max),
    "is_trained_baseline": (optional.is_trained_baseline, False, {"is_trained_baseline": True}, True),
}


@pytest.mark.parametrize("name", CASES)
def test_an_optional_attribute_and_its_default(name: str) -> None:
    read, default, given, wanted = CASES[name]
    assert read(SimpleNamespace(name="p", steps=2)) == default
    assert read(SimpleNamespace(name="p", steps=2, **given)) == wanted


def test_a_task_on_a_folder() -> None:
    task: Any = SimpleNamespace(name="t", with_data=lambda folder: ("moved", folder))
    assert optional.with_data(task, Path("here")) == ("moved", Path("here"))  # type: ignore[comparison-overlap]
    with pytest.raises(PluginError, match=r"task 't' has uses_data = True, but no method with_data\(folder\)"):
        optional.with_data(SimpleNamespace(name="t"), Path("here"))
