"""Checks of a task's items for `check-task`: form, ids, splits, and the same items in every process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Final

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.text import all_storable
from mipo_bench.harness.errors import DataError, NoTrainingError, PluginError
from mipo_bench.harness.plugins.protocol_checks import reason, shown
from mipo_bench.harness.types import Demonstration, Item, Split, Task

SPLITS: tuple[Split, ...] = ("eval", "train")
SAMPLE = 50
"""Number of items of a split that a check with many scores for each item uses."""
Fingerprints = list[tuple[str, str]]
"""(item id, digest of the item's content, or of what a plugin makes of it) for each item, in order."""
Elsewhere = Callable[[], Mapping[str, Fingerprints]]
"""Returns the fingerprints of a task in another process. Raises PluginError if that process fails."""
ElsewhereOn = Callable[[Sequence[str]], Mapping[str, Fingerprints]]
"""Returns the fingerprints of a baseline or recipe on the tasks of these names in another process; raises as above."""
RAISED: Final = object()
"""The result of `call_plugin` if the plugin raised."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check: its name, a line with counts for a success, and all problems."""

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
    """The items, None if they cannot be used, and the result of the check."""
    problems: list[str] = []
    splits: dict[Split, Sequence[Item]] = {}
    lacking = ""
    for split in SPLITS:
        try:
            found = call_plugin(f"items({split!r})", partial(task.items, split), problems)
        except NoTrainingError as error:
            found, lacking = (), f"the data has no {error.split!r} split; "
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
    training = (
        f"{len(splits['train'])} for training"
        if splits["train"]
        else f"none for training ({lacking}run --recipes none)"
    )
    equal = sum(len(set(item.options)) < len(item.options) for item in items.all)
    noted = f"; {equal} with two equal options" if equal else ""
    done = f"{len(splits['eval'])} for evaluation, {training}; ids unique{noted}"
    return items, CheckResult("items", done, tuple(problems))


def _item_problem(label: str, item: Any, task: Task) -> str | None:
    """The first problem of an item by itself."""
    if not isinstance(item, Item):
        return f"{label} is {shown(item)}, not an Item"
    if not isinstance(item.id, str) or not item.id or not item.id.isprintable():
        return f"{label}: id {shown(item.id)} is not a line of text"
    problem = next(
        chain(_text_problems(item), _user_problems(item, task), _sequence_problems(item), _encoding_problems(item)),
        None,
    )
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
    if not isinstance(options, tuple) or not all(isinstance(o, str) and o.strip() for o in options):
        yield f"options {shown(options)} is not a tuple of texts"
    elif len(set(options)) == 1:
        yield f"options {shown(options)} must be several and different"
    if not isinstance(turns, tuple) or not all(isinstance(t, Demonstration) and t.prompt for t in turns):
        yield f"demonstrations {shown(turns)} is not a tuple of Demonstrations with texts"


def _encoding_problems(item: Item) -> Iterator[str]:
    if not all_storable(item):
        yield "it has a lone surrogate (half a character), which UTF-8 cannot encode"


def fingerprints(task: Task) -> dict[str, Fingerprints]:
    """Split -> fingerprint of each item. A data set may lack the split to train on."""
    try:
        training = task.items("train")
    except NoTrainingError:
        training = ()
    splits = {"eval": task.items("eval"), "train": training}
    return {split: [(item.id, short_digest(item)) for item in items] for split, items in splits.items()}


def short_digest(value: object) -> str:
    """The digest of a value's `repr` in a fingerprint."""
    return digest([repr(value)])[:16]


def same_items(task: Task, elsewhere: Elsewhere) -> CheckResult:
    """Check that another process sees the same items."""
    return same_elsewhere(partial(fingerprints, task), elsewhere, "items", "its content or id changes")


def same_elsewhere(here: Elsewhere, elsewhere: Elsewhere, noun: str, change: str) -> CheckResult:
    """Check that another process makes the same `noun`, by split or by task; `change` says what a difference means."""
    problems: list[str] = []
    found = call_plugin(f"making the {noun} again", here, problems)
    try:
        there = elsewhere()
    except PluginError as error:
        problems.append(f"a second process cannot make the {noun}: {error}")
        there = {}
    for key in found if found is not RAISED and there else ():
        a, b = found[key], there.get(key, [])
        of = "" if key in SPLITS else f" of {key}"
        changed = [name for name, content in dict(a).items() if dict(b).get(name) != content]
        problems += [f"item {name!r}{of} differs in a second process: {change}" for name in changed]
        if not changed and a != b:
            problems.append(f"the {noun} of {key} have another order or number in a second process")
    return CheckResult("processes", f"the same {noun} in a second process with other string hashes", tuple(problems))


def disjoint(items: Items) -> CheckResult:
    """Check that no evaluation prompt or user is in training, and no evaluation prompt in a demonstration."""
    problems: list[str] = []
    evaluated = items.splits["eval"]
    for name in ("prompt", "user_id"):
        trained = {getattr(item, name) for item in items.splits["train"]} - {None}
        shared = [item for item in evaluated if getattr(item, name) in trained]
        problems += [f"item {i.id!r}: its {name} {shown(getattr(i, name))} is trained on as well" for i in shared]
    prompts = {item.prompt for item in evaluated}
    shots = [(item, turn.prompt) for item in items.all for turn in item.demonstrations]
    problems += [
        f"item {i.id!r}: a demonstration shows the evaluation prompt {shown(p)}" for i, p in shots if p in prompts
    ]
    own = [item for item, prompt in shots if prompt == item.prompt and prompt not in prompts]
    problems += [f"item {item.id!r}: a demonstration shows its own prompt" for item in own]
    users = len({item.user_id for item in items.all} - {None})
    done = f"evaluation shares no prompt{' and no user' if users else ''} with training or demonstrations"
    return CheckResult("splits", f"{done} ({users} users)" if users else done, tuple(problems))


def targets(items: Items) -> CheckResult:
    """Check that every item has a target."""
    problems = [f"item {item.id!r}: target {item.target!r} is empty" for item in items.all if not item.target.strip()]
    return CheckResult("targets", f"{len(items.all)} not empty", tuple(problems))


def call_plugin(action: str, call: Callable[[], object], problems: list[str]) -> Any:
    """The result of the plugin's code; RAISED if it raises, which is added to `problems`.

    Raises DataError if a data set is missing, which is not a fault of the task.
    """
    try:
        return call()
    except (DataError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - foreign code may raise anything; it is reported
        problems.append(f"{action} raises {reason(error)}")
        return RAISED


def _spread(items: Sequence[Item]) -> list[Item]:
    step = max(1, len(items) // SAMPLE)
    return list(items[::step][:SAMPLE])
