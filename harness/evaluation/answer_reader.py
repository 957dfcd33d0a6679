"""Reads answers from single texts as a run does: thoughts are left out, and the task reads the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from mipo_bench.harness.errors import ConfigError, UserError, described
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.evaluation.scoring import score_answer
from mipo_bench.harness.plugins.optional import filtered, is_judged
from mipo_bench.harness.types import ExternalTask, Item, Reading, Response, Task
from mipo_bench.tasks.reading.thoughts import THOUGHT_TAGS, Answer, ThoughtTag, without_thoughts

_NO_TARGET = {"math": "0", "choice": "A", "personalized": "A"}
"""Suite -> the target of an item that is made up for a text without one."""


@dataclass(frozen=True, slots=True)
class GivenText:
    """A response to read. Without `options` and `item` (the id of an item of the task) the task must need neither."""

    name: str
    response: str
    options: tuple[str, ...] = ()
    target: str | None = None
    item: str | None = None


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """The result for one text.

    `reading` is None for a task of lm-eval whose filters read the answer; `filtered` maps each of them to its text.
    `right` is None if no target is known.
    """

    name: str
    response: str
    answer: Answer
    reading: Reading | None
    filtered: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    right: bool | None = None

    @property
    def value(self) -> str | None:
        """The answer: the reading's, or that of the first filter."""
        return self.reading.value if self.reading else next(iter(self.filtered.values()), None)

    @property
    def thoughts(self) -> str:
        """The text that was left out as thoughts."""
        if self.answer.thoughts == "none":
            return ""
        return self.response[: len(self.response) - len(self.answer.text)].strip()


@dataclass(frozen=True)
class AnswerReader:
    """Reads answers as one task does. Raises ConfigError for a task that reads none."""

    task: Task
    tags: Sequence[ThoughtTag] = THOUGHT_TAGS

    @property
    def needs_item(self) -> bool:
        """Whether the task reads a text with one of its items only, or with options."""
        return isinstance(self.task, ExternalTask) or self.task.suite != "math"

    def read(self, text: GivenText) -> ReadAnswer:
        """Read one text. Raises ConfigError if the task needs an item or options, and DataError for missing data."""
        if is_judged(self.task):
            raise self._reads_none()
        item = self._item(text)
        answer = without_thoughts(text.response, tags=self.tags)
        response = Response(text.response, 0, len(text.response.split()), "stop")

        def refuse(error: BaseException) -> None:
            own = "" if text.target is None else f" and the target {text.target!r}"
            raise ConfigError(
                f"task {self.task.name!r} cannot read {text.name} with {_described(item)}{own}: {described(error)}."
                f" {'Check the target' if own else 'Name an item of the task with --item'}."
            ) from error

        with recorded(refuse, passing=(UserError, KeyboardInterrupt)):
            score = score_answer(self.task, item, response, answer)
            filters = filtered(self.task, item, Response(answer.text, 0, 0, "stop"))
        if score.reading is None and not filters:
            raise self._reads_none()
        target = item.target if text.item is not None else text.target
        right = None if target is None else score.value == 1
        return ReadAnswer(text.name, text.response, answer, score.reading, filters, target, right)

    def _item(self, text: GivenText) -> Item:
        """The item that the text answers: a named one, one made up of options and target, or the task's first."""
        if text.item is not None:
            return self._named(text.item)
        if isinstance(self.task, ExternalTask):
            return next(iter(self._items.values()))
        if self.task.suite == "personalized" and not text.options:
            first = next(iter(self._items.values()))
            if not first.options:
                return first
        if self.needs_item and not text.options:
            raise ConfigError(
                f"{text.name}: task {self.task.name!r} chooses among options, and none are given. Give each with"
                ' --option, or in the field "options" of the row; or name an item of the task with --item.'
            )
        return Item("text", "", text.target or _NO_TARGET[self.task.suite], options=text.options)

    def _named(self, name: str) -> Item:
        item = self._items.get(name)
        if item is None:
            known = f"it has {len(self._items)}, such as {', '.join(list(self._items)[:3])}"
            raise ConfigError(f"task {self.task.name!r} has no evaluation item {name!r}; {known}.")
        return item

    @cached_property
    def _items(self) -> dict[str, Item]:
        return {item.id: item for item in self.task.items("eval")}

    def _reads_none(self) -> ConfigError:
        return ConfigError(
            f"task {self.task.name!r} reads no answer: it scores responses as a whole. Name a task of the suite math or"
            " choice, such as arithmetic, gsm8k or mmlu."
        )


def _described(item: Item) -> str:
    return f"the item {item.id!r}" if item.prompt else "an item that is made up for it"
