"""Checks each loaded plugin against the protocol of its kind, and each score against its range."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from mipo_bench.harness.core.text import on_one_line
from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.plugins.moved_modules import moved
from mipo_bench.harness.types import CONTRAST_USES, MODEL_KINDS, OBJECTIVES, SUITES, WAYS, Reading, Score, Task

PluginKind = Literal["task", "baseline", "recipe"]
PLUGIN_KINDS: tuple[PluginKind, ...] = ("task", "baseline", "recipe")
ATTRIBUTES: Mapping[PluginKind, Mapping[str, type]] = {
    "task": {
        "name": str,
        "suite": str,
        "version": int,
        "description": str,
        "binary": bool,
        "reasoning": bool,
        "reference": str,
        "max_new_tokens": int,
    },
    "baseline": {"name": str, "description": str, "uses_context": bool},
    "recipe": {"name": str, "description": str},
}
METHODS: Mapping[PluginKind, Mapping[str, int]] = {
    "task": {"items": 1, "score": 2, "gold": 1, "wrong": 1},
    "baseline": {"applies": 2, "messages": 1},
    "recipe": {"applies": 2, "contrasts": 2},
}
"""Kind -> method -> number of arguments."""
OPTIONAL_ATTRIBUTES: Mapping[PluginKind, Mapping[str, type]] = {
    "task": {"licence": str, "source": str, "uses_data": bool, "default": bool, "meant_for": str, "rules_decide": bool},
    "baseline": {"default": bool, "steps": int, "context_steps": int, "contrast_use": str},
    "recipe": {"default": bool, "is_trained_baseline": bool, "objective": str, "reward": str, "shares_pairs_of": str},
}
OPTIONAL_METHODS: Mapping[PluginKind, Mapping[str, int]] = {
    "task": {
        **{"with_data": 1, "data_used": 0, "data_state": 0, "rubric": 1, "filtered": 2},
        **{"with_options": 1, "corpus_parts": 2, "checks": 1, "checked": 1},
    },
    "baseline": {"follow_up": 2, "contrast": 1},
    "recipe": {"several_contrasts": 4},
}
EARLIER_NAMES: Mapping[PluginKind, Mapping[str, str]] = {
    "task": {},
    "baseline": {},
    "recipe": {
        "baseline": "is_trained_baseline",
        "drawn_as": "shares_pairs_of",
        "graded_contrasts": "several_contrasts",
    },
}
"""Kind -> earlier name of an optional attribute or method -> present name. The earlier ones are errors."""
ALLOWED: Mapping[PluginKind, Mapping[str, tuple[str, ...]]] = {
    "task": {"meant_for": MODEL_KINDS},
    "baseline": {"contrast_use": CONTRAST_USES},
    "recipe": {"objective": OBJECTIVES, "reward": ("score", "judge")},
}
"""Attributes with a closed list of values."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LIMIT = 200
"""Most characters of a plugin's value or message that a message quotes."""
_ABSENT = object()


def check_plugin(kind: PluginKind, factory: Callable[[], Any], origin: str) -> Any:
    """Build the plugin and check it against its protocol. Raises PluginError with all problems."""
    try:
        plugin = factory()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"{origin} cannot be built: {reason(error)}") from error
    problems = list(_problems(kind, plugin))
    if problems:
        raise PluginError(f"{origin} is not a {kind}: {'; '.join(problems)}.")
    return plugin


def check_member(family: str, member: Any, origin: str) -> Task:
    """Check a task that a family made. Its name must begin with the family's and a colon. Raises PluginError."""
    problems = list(_problems("task", member, prefix=f"{family}:"))
    if problems:
        raise PluginError(f"{origin} is not a task: {'; '.join(problems)}.")
    return cast("Task", member)


def name_problem(name: str) -> str | None:
    """The problem of a plugin's name, None if it is allowed."""
    if _NAME.fullmatch(name):
        return None
    return f"name {shown(name)} is not allowed: write letters, digits, '-', '_' and '.', a letter or digit first"


def reason(error: BaseException) -> str:
    """Type and message of an error of a plugin, with the file and line in the plugin if known."""
    if isinstance(error, SystemExit):
        return f"SystemExit: sys.exit({shown(error.code)}) was called{_line(error)}"
    text = on_one_line(str(error.msg if isinstance(error, SyntaxError) else error))
    return f"{type(error).__name__}: {text[:_LIMIT]}{moved(error)}{_line(error)}"


def shown(value: object) -> str:
    """The `repr` of a plugin's value for a message, shortened; a note if it raises."""
    try:
        text = on_one_line(repr(value))
    except Exception as error:  # noqa: BLE001 - a plugin's own repr; the message must still be printed
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= _LIMIT else f"{text[:_LIMIT]}..."


def _line(error: BaseException) -> str:
    """File and line in the plugin: those of the syntax error, else of the last frame in the plugin's own folder.

    That folder is the one of the first frame outside of the harness and the import machinery.
    """
    if isinstance(error, SyntaxError):
        return f" ({Path(error.filename).name}, line {error.lineno})" if error.filename and error.lineno else ""
    here = str(Path(__file__).parents[1])
    foreign = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<", here)) and "importlib" not in Path(frame.filename).parts
    ]
    own = [frame for frame in foreign if Path(foreign[0].filename).parent in Path(frame.filename).parents]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def _problems(kind: PluginKind, plugin: object, prefix: str = "") -> Iterator[str]:
    if isinstance(plugin, type):
        yield f"the factory returned the class {plugin.__name__} instead of an object"
        return
    found = [p for name, wanted in ATTRIBUTES[kind].items() if (p := _attribute(plugin, name, wanted))]
    found += [
        p
        for name, wanted in OPTIONAL_ATTRIBUTES[kind].items()
        if (p := _attribute(plugin, name, wanted, optional=True))
    ]
    found += [p for name, count in METHODS[kind].items() if (p := _method(plugin, name, count))]
    found += [p for name, count in OPTIONAL_METHODS[kind].items() if (p := _method(plugin, name, count, optional=True))]
    found += [
        f"{old} is called {new} now: rename it"
        for old, new in EARLIER_NAMES[kind].items()
        if inspect.getattr_static(plugin, old, _ABSENT) is not _ABSENT
    ]
    yield from found or _values(kind, plugin, prefix)


def _values(kind: PluginKind, plugin: Any, prefix: str) -> Iterator[str]:
    """Problems of attributes that have the right type but a wrong value."""
    if not plugin.name.startswith(prefix):
        yield f"name {shown(plugin.name)} does not begin with {prefix!r}"
    elif problem := name_problem(plugin.name.removeprefix(prefix)):
        yield problem
    for attribute in ("description", "licence", "source"):
        text = getattr(plugin, attribute, "-")
        if not text.strip() or not text.isprintable():
            yield f"{attribute} {shown(text)} is not one line of text"
    yield from (
        f"{name} {shown(getattr(plugin, name))} is not one of {', '.join(allowed)}"
        for name, allowed in ALLOWED[kind].items()
        if getattr(plugin, name, allowed[0]) not in allowed
    )
    if kind != "task":
        yield from _several_prompts(plugin) if kind == "baseline" else ()
        return
    if plugin.suite not in SUITES:
        yield f"suite {shown(plugin.suite)} is not one of {', '.join(SUITES)}"
    if plugin.max_new_tokens < 0:
        yield f"max_new_tokens = {plugin.max_new_tokens} is negative"


def _several_prompts(plugin: Any) -> Iterator[str]:
    """Problems of a baseline with several prompts: a stepped or contrasted one."""
    if hasattr(plugin, "steps") != hasattr(plugin, "follow_up"):
        yield "steps and follow_up go together: give both or neither"
    elif getattr(plugin, "steps", 2) < 2:
        yield f"steps = {plugin.steps} is too few for follow_up: 2 or more"
    if hasattr(plugin, "contrast_use") != hasattr(plugin, "contrast"):
        yield "contrast_use and contrast go together: give both or neither"
    elif hasattr(plugin, "steps") and hasattr(plugin, "contrast"):
        yield "steps and contrast cannot be combined"


def _attribute(plugin: object, name: str, wanted: type, *, optional: bool = False) -> str | None:
    try:
        value = getattr(plugin, name, _ABSENT)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a property of a plugin may raise anything
        return f"attribute {name!r} raises {reason(error)}"
    if value is _ABSENT:
        return None if optional else f"attribute {name!r} ({wanted.__name__}) is missing"
    fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
    return None if fits else f"{name} = {shown(value)} is not {_article(wanted.__name__)}"


def _method(plugin: object, name: str, count: int, *, optional: bool = False) -> str | None:
    try:
        method = getattr(plugin, name, _ABSENT)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        return f"method {name!r} raises {reason(error)}"
    if method is _ABSENT and optional:
        return None
    if not callable(method):
        return f"method {name!r} is missing" if method is _ABSENT else f"{name} = {shown(method)} is not a method"
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # written in C, without a signature
        return None
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return f"{name}{signature} must take {count} argument{'s' if count > 1 else ''}"
    return None


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def checked_score(score: Score) -> Score:
    """The score unchanged. Raises TypeError if it is not a Score, ValueError for another figure or reading."""
    if not isinstance(score, Score):
        raise TypeError(f"a {type(score).__name__} is not a Score")
    for name, value in (("value", score.value), *score.parts.items()):
        if not isinstance(name, str):
            raise TypeError(f"the part {name!r} does not have a text as its name")
        is_number = isinstance(value, int | float)
        if not is_number or not 0 <= value <= 1:
            wrong = "not between 0 and 1" if is_number else f"a {type(value).__name__}; return a float of Python"
            raise ValueError(f"{name} = {value!r} is {wrong}")
    reading = score.reading
    if reading is not None and not (isinstance(reading, Reading) and reading.way in WAYS):
        raise ValueError(f"the reading {shown(reading)} is not a Reading with a way of {', '.join(WAYS)}")
    return score
