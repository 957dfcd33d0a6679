"""What `check-task` finds out about the items of a task: form, ids, splits, and that every process sees the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Final

from mipo_bench.harness.core.text import all_storable
from mipo_bench.harness.errors import DataError, PluginError
from mipo_bench.harness.plugins.protocol_checks import reason, shown
from mipo_bench.harness.plugins.second_process import Fingerprints, fingerprints
from mipo_bench.harness.types import Demonstration, Item, Split, Task

SPLITS: tuple[Split, ...] = ("eval", "train")
SAMPLE = 50
"""Items of a split that stand for all where each is scored many times."""
Elsewhere = Callable[[], Mapping[str, Fingerprints]]
"""The fingerprints of the items as another process finds them; raises PluginError where it fails."""
RAISED: Final = object()
"""Stands for the result of foreign code that raised."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was checked: what, with counts, and everything that is wrong."""

    name: str
    done: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Items:
    """The items of both splits."""

    splits: Mapping[Split, Sequence[Item]]

    @property
    def all(self) -> list[Item]:
        return [item for split in SPLITS for item in self.splits[split]]

    @property
    def sample(self) -> list[Item]:
        """Some items of each split, spread evenly."""
        return [item for split in SPLITS for item in _spread(self.splits[split])]


def read_items(task: Task) -> tuple[Items | None, CheckResult]:
    """The items, None where they cannot be used."""
    problems: list[str] = []
    splits: dict[Split, Sequence[Item]] = {}
    for split in SPLITS:
        found = call_plugin(f"items({split!r})", partial(task.items, split), problems)
        if found is RAISED:
            continue
        if not isinstance(found, Sequence):
            problems.append(f"items({split!r}) gives {shown(found)}, not a sequence of items")
            continue
        splits[split] = found
        problems += [p for n, item in enumerate(found) if (p := _item_problem(f"{split} item {n}", item, task))]
    if not problems and not splits["eval"]:
        problems.append("items('eval') is empty")
    if problems:
        return None, CheckResult("items", "", tuple(problems))
    items = Items(splits)
    counts = Counter(item.id for item in items.all)
    problems += [f"item {name!r}: {n} items have this id" for name, n in counts.items() if n > 1]
    if len({item.user_id is None for item in items.all}) > 1:
        some = next(item for item in items.all if item.user_id is None)
        problems.append(f"item {some.id!r} has no user_id, but others have one")
    training = f"{len(splits['train'])} for training" if splits["train"] else "none for training (run --recipes none)"
    return items, CheckResult("items", f"{len(splits['eval'])} for evaluation, {training}; ids unique", tuple(problems))


def _item_problem(place: str, item: Any, task: Task) -> str | None:
    """The first thing that is wrong with an item by itself."""
    if not isinstance(item, Item):
        return f"{place} is {shown(item)}, not an Item"
    if not isinstance(item.id, str) or not item.id or not item.id.isprintable():
        return f"{place}: id {shown(item.id)} is not a line of text"
    problem = next(chain(_text_problems(item), _user_problems(item, task), _sequence_problems(item), _lone(item)), None)
    return f"item {item.id!r}: {problem}" if problem else None


def _text_problems(item: Item) -> Iterator[str]:
    if not isinstance(item.prompt, str) or not item.prompt.strip():
        yield f"prompt {shown(item.prompt)} is empty"
    if not isinstance(item.target, str):
        yield f"target {shown(item.target)} is not a str"


def _user_problems(item: Item, task: Task) -> Iterator[str]:
    for attribute in ("user_id", "context"):
        value = getattr(item, attribute)
        if value is None and task.suite == "personalized":
            yield f"{attribute} is missing, but the task is personalized"
        if value is not None and (not isinstance(value, str) or not value.strip()):
            yield f"{attribute} {shown(value)} is empty"


def _sequence_problems(item: Item) -> Iterator[str]:
    options, turns = item.options, item.demonstrations
    if not isinstance(options, tuple) or not all(isinstance(o, str) and o for o in options):
        yield f"options {shown(options)} is not a tuple of texts"
    elif len(options) == 1 or len(set(options)) < len(options):
        yield f"options {shown(options)} must be several and different"
    if not isinstance(turns, tuple) or not all(isinstance(t, Demonstration) and t.prompt and t.response for t in turns):
        yield f"demonstrations {shown(turns)} is not a tuple of Turns with texts"


def _lone(item: Item) -> Iterator[str]:
    if not all_storable(item):
        yield "it holds half a character (a lone surrogate), which no file can hold"


def same_elsewhere(task: Task, elsewhere: Elsewhere) -> CheckResult:
    """Whether another process sees the same items."""
    problems: list[str] = []
    here = call_plugin("reading the items again", partial(fingerprints, task), problems)
    try:
        there = elsewhere()
    except PluginError as error:
        problems.append(f"a second process cannot read the items: {error}")
        there = {}
    for split in SPLITS if here is not RAISED and there else ():
        a, b = here[split], there[split]
        changed = [name for name, found in dict(a).items() if dict(b).get(name) != found]
        problems += [f"item {name!r} is another one in a second process: its content or id changes" for name in changed]
        if not changed and a != b:
            problems.append(f"items({split!r}) come in another order, or are more, in a second process")
    return CheckResult("processes", "the same items in a second process with other string hashes", tuple(problems))


def disjoint(items: Items) -> CheckResult:
    """Whether nothing that is evaluated is trained on or shown as a demonstration."""
    problems: list[str] = []
    held = items.splits["eval"]
    for what in ("prompt", "user_id"):
        trained = {getattr(item, what) for item in items.splits["train"]} - {None}
        shared = [item for item in held if getattr(item, what) in trained]
        problems += [f"item {i.id!r}: its {what} {shown(getattr(i, what))} is trained on as well" for i in shared]
    asked = {item.prompt for item in held}
    told = [(item, turn.prompt) for item in items.all for turn in item.demonstrations]
    problems += [
        f"item {i.id!r}: a demonstration shows the evaluation prompt {shown(p)}" for i, p in told if p in asked
    ]
    own = [item for item, prompt in told if prompt == item.prompt and prompt not in asked]
    problems += [f"item {item.id!r}: a demonstration shows its own prompt" for item in own]
    users = len({item.user_id for item in items.all} - {None})
    done = f"evaluation shares no prompt{' and no user' if users else ''} with training or demonstrations"
    return CheckResult("splits", f"{done} ({users} users)" if users else done, tuple(problems))


def targets(items: Items) -> CheckResult:
    """Whether every item has a target."""
    problems = [f"item {item.id!r}: target {item.target!r} is empty" for item in items.all if not item.target.strip()]
    return CheckResult("targets", f"{len(items.all)} not empty", tuple(problems))


def call_plugin(what: str, call: Callable[[], object], problems: list[str]) -> Any:
    """What the plugin's code gives; RAISED where it raises, which becomes a problem.

    Raises DataError where a data set is missing, which is no fault of the task.
    """
    try:
        return call()
    except DataError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code may raise anything; it is reported
        problems.append(f"{what} raises {reason(error)}")
        return RAISED


def _spread(items: Sequence[Item]) -> list[Item]:
    step = max(1, len(items) // SAMPLE)
    return list(items[::step][:SAMPLE])
