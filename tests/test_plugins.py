"""Plugins are held against their protocol when loaded."""

from __future__ import annotations

from typing import Any

import pytest

from mipo_bench.harness import plugins
from mipo_bench.harness.errors import PluginError
from mipo_bench.tasks.facts import Facts


def check(**changes: Any) -> Any:
    return plugins.check_plugin("task", type("Changed", (Facts,), changes), "task plugin 'x' of dist")


def test_the_installed_plugins_pass() -> None:
    assert set(plugins.tasks()) == {"arithmetic", "facts", "persona"}
    assert len(plugins.baselines()) == 6
    assert set(plugins.recipes()) == {"mipo-missing", "mipo-random"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": 3}, "name = 3 is not a str"),
        ({"binary": "yes"}, "binary = 'yes' is not a bool"),
        ({"version": True}, "version = True is not a int"),
        ({"suite": "maths"}, "suite 'maths' is not one of"),
        ({"items": None}, "method 'items' is missing"),
        ({"score": lambda self, item: None}, r"score\(item\) must take 2 arguments"),
    ],
)
def test_a_broken_task_is_named_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(PluginError, match=reason) as caught:
        check(**changes)
    assert "task plugin 'x' of dist" in str(caught.value)


def test_every_reason_is_given_at_once() -> None:
    with pytest.raises(PluginError) as caught:
        plugins.check_plugin("baseline", object, "baseline plugin 'x'")
    for name in ("name", "description", "uses_context", "applies", "messages"):
        assert repr(name) in str(caught.value)


def test_a_factory_that_raises() -> None:
    def factory() -> None:
        raise RuntimeError("no data")

    with pytest.raises(PluginError, match="cannot be built: RuntimeError: no data"):
        plugins.check_plugin("task", factory, "task plugin 'x'")
