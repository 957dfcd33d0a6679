"""Plugins are found, and checked against their protocol when loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.plugins.protocol_checks import check_plugin
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.tasks.embedded.facts import Facts


def check(**changes: Any) -> Any:
    return check_plugin("task", type("Changed", (Facts,), changes), "task plugin 'x' of dist")


def explode(self: object) -> str:
    raise ValueError("not today\nor ever")


def leave(self: object) -> str:
    sys.exit(0)


def forever() -> None:
    forever()


def test_the_installed_plugins_pass() -> None:
    installed = load_plugins()
    assert {"arithmetic", "facts", "persona"} <= set(installed.tasks)
    assert {"few-shot", "no-context", "plain", "profile", "profile-instruction"} <= set(installed.baselines)
    assert {"mipo-missing", "mipo-random"} <= set(installed.recipes)
    assert installed.origins["task", "facts"].label.startswith("mipo-bench ")
    assert installed.origins["task", "facts"].place == "mipo_bench.tasks.embedded.facts:Facts"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": 3}, "name = 3 is not a str"),
        ({"name": "a/b"}, "name 'a/b' is not allowed"),
        ({"name": ".."}, "name '..' is not allowed"),
        ({"name": ""}, "name '' is not allowed"),
        ({"name": "a:b"}, "name 'a:b' is not allowed"),
        ({"name": "x\n"}, r"name 'x\\n' is not allowed"),
        ({"name": property(explode)}, "attribute 'name' raises ValueError: not today or ever"),
        ({"name": property(leave)}, r"attribute 'name' raises SystemExit: sys\.exit\(0\) was called"),
        ({"description": "two\nlines"}, "is not one line of text"),
        ({"source": "a\x1b[2J"}, r"source 'a\\x1b\[2J' is not one line of text"),
        ({"binary": "yes"}, "binary = 'yes' is not a bool"),
        ({"version": True}, "version = True is not an int"),
        ({"suite": "maths"}, "suite 'maths' is not one of personalized, math, choice"),
        ({"max_new_tokens": -1}, "max_new_tokens = -1 is negative"),
        ({"items": None}, "items = None is not a method"),
        ({"score": lambda self, item: None}, r"score\(item\) must take 2 arguments"),
        ({"licence": 1}, "licence = 1 is not a str"),
        ({"default": 0}, "default = 0 is not a bool"),
        ({"rubric": lambda self: ""}, r"rubric\(\) must take 1 argument"),
        ({"with_data": "folder"}, "with_data = 'folder' is not a method"),
    ],
)
def test_a_broken_task_is_named_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(PluginError, match=reason) as caught:
        check(**changes)
    assert "task plugin 'x' of dist" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_task_may_add_is_accepted() -> None:
    assert check(licence="MIT", source="owner/data@1234", uses_data=False, default=False, rubric=lambda self, i: "")


def test_every_reason_is_given_at_once() -> None:
    with pytest.raises(PluginError) as caught:
        check_plugin("baseline", object, "baseline plugin 'x'")
    for name in ("name", "description", "uses_context", "applies", "messages"):
        assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (lambda: explode(None), "ValueError: not today or ever"),
        (lambda: sys.exit(3), r"SystemExit: sys\.exit\(3\) was called"),
        (forever, "RecursionError: maximum recursion depth exceeded"),
        (lambda: Facts, "the factory returned the class Facts instead of an object"),
    ],
)
def test_a_factory_that_fails(factory: Any, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        check_plugin("task", factory, "task plugin 'x'")


class Unprintable(str):
    """An object whose repr raises."""

    __slots__ = ()

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_a_value_that_cannot_be_shown_is_still_reported() -> None:
    with pytest.raises(PluginError, match="<Unprintable whose repr raises RuntimeError> is not one of"):
        check(suite=Unprintable("x"))


def test_a_recipe_with_the_earlier_names_of_hooks_is_told_the_new_ones(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(
        "from mipo_bench.baselines.recipes.mipo_random import MipoRandom\n"
        "class Old(MipoRandom):\n    name = 'old'\n    baseline = True\n    drawn_as = 'mipo-random'\n"
        "RECIPES = [Old]\n"
    )
    told = "baseline is called is_trained_baseline now: rename it; drawn_as is called shares_pairs_of now: rename it"
    with pytest.raises(PluginError, match=told):
        load_plugins([tmp_path / "old.py"])
