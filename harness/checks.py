"""Tasks with checks: questions about one response that a judge answers with yes or no. Part of the plugin API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mipo_bench.harness.types import Item, JudgedTask, Score


@dataclass(frozen=True, slots=True)
class Check:
    """A question about one response that a judge answers with yes or no.

    `statement` says the same as a statement, for judges that are entailment models: yes if the response entails it.
    """

    name: str
    question: str
    statement: str


@runtime_checkable
class CheckedTask(JudgedTask, Protocol):
    """A judged task with checks: a judge answers them for each response by itself, in place of comparing two."""

    def checks(self, item: Item) -> Sequence[Check]:
        """The checks of a response to the item, the same names for every item."""
        ...

    def checked(self, answers: Mapping[str, bool]) -> Score:
        """The score of a response, given the answer to each check by its name."""
        ...
