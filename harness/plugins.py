"""Find and check the plugins: tasks, baselines and recipes announced through entry points.

A plugin is the zero-argument factory (usually a class) of an object that follows the protocol of its kind in
`types`. It is imported, built and checked when loaded; a broken one is named with its distribution and the reason.
Plugin code runs with the user's rights.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, cast

from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.types import SUITES, Baseline, Recipe, Task

Kind = Literal["task", "baseline", "recipe"]
_SHAPES: Mapping[Kind, tuple[Mapping[str, type], Mapping[str, int]]] = {
    "task": (
        {
            "name": str,
            "suite": str,
            "version": int,
            "description": str,
            "binary": bool,
            "reasoning": bool,
            "reference": str,
            "max_new_tokens": int,
        },
        {"items": 1, "score": 2, "gold": 1, "wrong": 1},
    ),
    "baseline": ({"name": str, "description": str, "uses_context": bool}, {"applies": 2, "messages": 1}),
    "recipe": ({"name": str, "description": str}, {"applies": 2, "contrasts": 2}),
}
"""Kind -> attributes with their types, methods with their number of arguments."""


def tasks() -> dict[str, Task]:
    """Every installed task by name. Raises PluginError."""
    return cast("dict[str, Task]", _load("task"))


def baselines() -> dict[str, Baseline]:
    """Every installed prompting baseline by name. Raises PluginError."""
    return cast("dict[str, Baseline]", _load("baseline"))


def recipes() -> dict[str, Recipe]:
    """Every installed training recipe by name. Raises PluginError."""
    return cast("dict[str, Recipe]", _load("recipe"))


@cache
def _load(kind: Kind) -> dict[str, Any]:
    found: dict[str, tuple[Any, str]] = {}
    for entry in sorted(entry_points(group=f"mipo_bench.{kind}s"), key=lambda e: (e.name, e.value)):
        origin = f"{kind} plugin {entry.name!r} of {entry.dist.name if entry.dist else 'unknown'} ({entry.value})"
        plugin = check_plugin(kind, _factory(entry, origin), origin)
        if plugin.name in found:
            other = found[plugin.name][1]
            if other != origin:
                raise PluginError(f"two plugins are called {plugin.name!r}: {other} and {origin}. Uninstall one.")
        found[plugin.name] = plugin, origin
    return {name: plugin for name, (plugin, _) in found.items()}


def _factory(entry: EntryPoint, origin: str) -> Callable[[], Any]:
    try:
        return cast("Callable[[], Any]", entry.load())
    except Exception as error:
        raise PluginError(f"{origin} cannot be imported: {type(error).__name__}: {error}") from error


def check_plugin(kind: Kind, factory: Callable[[], Any], origin: str) -> Any:
    """Build the plugin and hold it against its protocol. Raises PluginError naming what is missing or wrong."""
    try:
        plugin = factory()
    except Exception as error:
        raise PluginError(f"{origin} cannot be built: {type(error).__name__}: {error}") from error
    attributes, methods = _SHAPES[kind]
    problems = [p for name, wanted in attributes.items() if (p := _attribute_problem(plugin, name, wanted))]
    problems += [p for name, count in methods.items() if (p := _method_problem(plugin, name, count))]
    if kind == "task" and not problems and plugin.suite not in SUITES:
        problems.append(f"suite {plugin.suite!r} is not one of {', '.join(SUITES)}")
    if problems:
        raise PluginError(f"{origin} is not a {kind}: {'; '.join(problems)}.")
    return plugin


def _attribute_problem(plugin: object, name: str, wanted: type) -> str | None:
    if not hasattr(plugin, name):
        return f"attribute {name!r} ({wanted.__name__}) is missing"
    value = getattr(plugin, name)
    fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
    return None if fits else f"{name} = {value!r} is not a {wanted.__name__}"


def _method_problem(plugin: object, name: str, count: int) -> str | None:
    method = getattr(plugin, name, None)
    if not callable(method):
        return f"method {name!r} is missing"
    try:
        inspect.signature(method).bind(*[None] * count)
    except TypeError:
        return f"{name}{inspect.signature(method)} must take {count} argument{'s' if count > 1 else ''}"
    return None
