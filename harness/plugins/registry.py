"""Finds and loads the plugins: tasks, baselines, recipes and task families.

A distribution announces plugins through the entry-point groups `mipo_bench.tasks`, `mipo_bench.baselines`,
`mipo_bench.recipes` and `mipo_bench.task_families`; a file that the user includes, in module-level lists: `TASKS =
[MyTask]`, `BASELINES`, `RECIPES`, and `TASK_FAMILIES = {"prefix": make_task}`. Each entry is a zero-argument factory
(usually a class) of an object that follows the protocol of its kind in `types`; a family is a function that makes the
task `prefix:rest` from `rest`. Every plugin is imported, built and checked when it is loaded, and all problems are
reported together. Plugin code runs with the user's rights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import Distribution, entry_points
from pathlib import Path
from typing import Any, NamedTuple, cast

from mipo_bench.harness.errors import ConfigError, PluginError, UserError, unknown
from mipo_bench.harness.plugins.included_files import IncludedFile, announced, included_files, load_module
from mipo_bench.harness.plugins.optional import with_options
from mipo_bench.harness.plugins.protocol_checks import (
    PLUGIN_KINDS,
    PluginKind,
    check_member,
    check_plugin,
    name_problem,
    reason,
    shown,
)
from mipo_bench.harness.types import Baseline, Recipe, Task

Family = Callable[[str], Task]
_LISTS: Mapping[str, PluginKind] = {"TASKS": "task", "BASELINES": "baseline", "RECIPES": "recipe"}
_FAMILIES = "TASK_FAMILIES"
_ANNOUNCEMENTS: Mapping[str, tuple[type, ...]] = {**dict.fromkeys(_LISTS, (list, tuple)), _FAMILIES: (dict,)}


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a plugin. `label` is the distribution with its version, or the included file.

    `place` is the entry point's value, or the list and index in the file; `licence` that of the distribution, None if
    it states none.
    """

    label: str
    place: str
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class Plugins:
    """All installed and included plugins by name. The keys of `origins` are kind (`family` for families) and name."""

    tasks: Mapping[str, Task]
    baselines: Mapping[str, Baseline]
    recipes: Mapping[str, Recipe]
    families: Mapping[str, Family]
    origins: Mapping[tuple[str, str], Origin]

    def task(self, name: str) -> Task:
        """The task of that name; `task:OPTION=VALUE:...` sets options of a task, and a family makes `family:rest`.

        Raises ConfigError if there is none.
        """
        if name in self.tasks:
            return self.tasks[name]
        prefix, colon, rest = name.partition(":")
        if colon and prefix in self.tasks:
            return with_options(self.tasks[prefix], rest)
        if not colon or prefix not in self.families:
            if name.lower().endswith((".yaml", ".yml")) and "lm-eval" in self.families:
                raise ConfigError(f"{name!r} is a task file of lm-eval: write lm-eval:{name}")
            raise ConfigError(
                unknown("task", name, [*self.tasks, *(f"{family}:{rest or 'NAME'}" for family in self.families)])
            )
        origin = f"task {name!r} of family {prefix!r} ({self.origins['family', prefix].label})"
        try:
            member = self.families[prefix](rest)
        except (UserError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise PluginError(f"{origin} cannot be made: {reason(error)}") from error
        return check_member(prefix, member, origin)

    def baseline(self, name: str) -> Baseline:
        """The baseline of that name. Raises ConfigError if there is none."""
        if name not in self.baselines:
            raise ConfigError(unknown("baseline", name, self.baselines))
        return self.baselines[name]

    def recipe(self, name: str) -> Recipe:
        """The recipe of that name. Raises ConfigError if there is none."""
        if name not in self.recipes:
            raise ConfigError(unknown("recipe", name, self.recipes))
        return self.recipes[name]


@dataclass(frozen=True, slots=True)
class _Found:
    """A plugin that is announced but not built yet."""

    kind: str
    name: str
    origin: Origin
    load: Callable[[], Any]
    """Returns the factory; raises any error of its import."""

    def __str__(self) -> str:
        return f"{self.kind} plugin {self.name!r} of {self.origin.label} ({self.origin.place})"


def load_plugins(include: Sequence[Path] = (), before: Callable[[str], None] = lambda _: None) -> Plugins:
    """Load the installed plugins, and those of the files and folders in `include`.

    `before` is called with the description of each plugin before its code runs. Raises PluginError with all problems,
    one line each.
    """
    problems: list[str] = []
    loaded: dict[str, dict[str, Any]] = {kind: {} for kind in (*PLUGIN_KINDS, "family")}
    origins: dict[tuple[str, str], _Found] = {}
    for found in [*_installed(), *_included(include, problems, before)]:
        before(str(found))
        try:
            name, plugin = _build(found)
        except PluginError as error:
            problems.append(str(error))
            continue
        first = origins.setdefault((found.kind, name), found)
        if first is not found:
            problems.append(f"two {found.kind} plugins are called {name!r}: {first} and {found}. Rename or remove one.")
        loaded[found.kind].setdefault(name, plugin)
    if problems:
        raise PluginError("\n".join(problems))
    tasks, baselines, recipes, families = (dict(sorted(loaded[kind].items())) for kind in (*PLUGIN_KINDS, "family"))
    return Plugins(
        tasks,
        baselines,
        recipes,
        families,
        {key: found.origin for key, found in origins.items()},
    )


def _build(found: _Found) -> tuple[str, Any]:
    try:
        factory = found.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"{found} cannot be imported: {reason(error)}") from error
    if not callable(factory):
        raise PluginError(
            f"{found} is {shown(factory)}: announce the class or function that makes the plugin, not the plugin itself."
        )
    if found.kind == "family":
        if problem := name_problem(found.name):
            raise PluginError(f"{found}: {problem}.")
        return found.name, factory
    plugin = check_plugin(cast("PluginKind", found.kind), factory, str(found))
    return plugin.name, plugin


def _installed() -> Iterator[_Found]:
    """The plugins of installed distributions; an entry that occurs twice (checkout and installed) counts once."""
    announced_by_all = entry_points()
    described = cache(_described)
    for kind, group in (
        *((kind, f"mipo_bench.{kind}s") for kind in PLUGIN_KINDS),
        ("family", "mipo_bench.task_families"),
    ):
        entries = {
            (entry.name, entry.value, described(entry.dist).name): entry
            for entry in announced_by_all.select(group=group)
        }
        for _, entry in sorted(entries.items()):
            source = described(entry.dist)
            yield _Found(kind, entry.name, Origin(source.label, entry.value, source.licence), entry.load)


class _Source(NamedTuple):
    """The name of a distribution, its label in messages, and its licence."""

    name: str
    label: str
    licence: str | None


def _described(distribution: Distribution | None) -> _Source:
    """Read the metadata of a distribution, which takes milliseconds."""
    if distribution is None:
        return _Source("", "an unknown distribution", None)
    metadata = distribution.metadata
    licence = metadata.json.get("license_expression")
    return _Source(metadata["Name"], f"{metadata['Name']} {metadata['Version']}", str(licence) if licence else None)


def _included(include: Sequence[Path], problems: list[str], before: Callable[[str], None]) -> Iterator[_Found]:
    """The plugins of included files; a file that cannot be read or announces none is added to `problems`."""
    for path in {path.resolve(): path for path in include}.values():
        try:
            files = included_files(path)
        except PluginError as error:
            problems.append(str(error))
            continue
        for source in files:
            before(f"plugin file {source.label}")
            try:
                yield from _of_file(source)
            except PluginError as error:
                problems.append(str(error))


def _same(factory: Any) -> Any:
    """Return the factory unchanged: its file is loaded already."""
    return factory


def _of_file(source: IncludedFile) -> list[_Found]:
    try:
        module = load_module(source)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"plugin file {source.label} cannot be imported: {reason(error)}") from error
    try:
        lists = announced(module, _ANNOUNCEMENTS)
    except PluginError as error:
        raise PluginError(f"plugin file {source.label}: {error}") from error
    found = [
        _Found(
            kind, getattr(factory, "__name__", str(n)), Origin(source.label, f"{name}[{n}]"), partial(_same, factory)
        )
        for name, kind in _LISTS.items()
        for n, factory in enumerate(cast("Sequence[Any]", lists.get(name, ())))
    ]
    families = cast("Mapping[Any, Any]", lists.get(_FAMILIES, {}))
    found += [
        _Found("family", str(name), Origin(source.label, f"{_FAMILIES}[{name!r}]"), partial(_same, factory))
        for name, factory in families.items()
    ]
    if not found:
        raise PluginError(
            f"plugin file {source.label} announces no plugin: end it with TASKS = [MyTask], BASELINES = [...] or "
            "RECIPES = [...], lists of its classes."
        )
    return found
