"""The stored verdicts on the responses to an item, with the words of the judge. Their keys are computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mipo_bench.harness.judging.bench import verdict_by_rule, verdict_key
from mipo_bench.harness.protocols import Question, Verdict
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item, JudgedTask, Task
from mipo_bench.reports.records.report import Report, TaskRecord

_Asked = tuple[str, Question]
"""How a response was shown (`first`, `second` or `alone`), and the question."""


class StoredVerdicts:
    """The verdicts of the judge of one task. Rules and files of verdicts have no words, and the store has none."""

    def __init__(self, report: Report, record: TaskRecord, task: Task | None) -> None:
        own = (judge for judge in report.judges if judge.task == record.name and judge.kind in ("model", "server"))
        self.judge = next(own, None) if isinstance(task, JudgedTask) else None
        self.task = task
        arms = enumerate(report.arms)
        self.reference = next(
            (n for n, a in arms if (a.task, a.method, a.recipe) == (record.name, record.reference, None)), None
        )

    @property
    def needed(self) -> Sequence[int]:
        """The numbers of the arms whose responses every verdict needs."""
        return [self.reference] if self.judge is not None and self.reference is not None else []

    def of(self, store: Store, item: Item | None, texts: Mapping[int, str]) -> dict[int, list[dict[str, Any]]]:
        """Number of an arm -> its verdicts. `texts` has the judged texts by the numbers of their arms.

        `value` is 1 if this response is better, 0 if the reference is, 1/2 for a tie, None if the store has no verdict.
        """
        if item is None or self.judge is None:
            return {}
        judge = self.judge.digest
        asked = {n: self._questions(item, n, texts) for n in texts}
        found = store.verdicts([verdict_key(judge, q) for questions in asked.values() for _, q in questions])
        return {
            n: [_said(how, q, found.get(verdict_key(judge, q))) for how, q in questions]
            for n, questions in asked.items()
        }

    def _questions(self, item: Item, n: int, texts: Mapping[int, str]) -> list[_Asked]:
        assert isinstance(self.task, JudgedTask)  # there is a judge
        assert self.judge is not None
        rubric = self.task.rubric(item)
        if self.judge.protocol == "pointwise":
            return [("alone", Question(item, rubric, texts[n]))]
        other = texts.get(self.reference) if self.reference is not None else None
        if other is None or n == self.reference:
            return []
        return [("first", Question(item, rubric, texts[n], other)), ("second", Question(item, rubric, other, texts[n]))]


def _said(how: str, question: Question, verdict: Verdict | None) -> dict[str, Any]:
    """A verdict from the side of the response: how it was shown, its value, and the words of the judge."""
    decided = verdict_by_rule(question)
    value = decided if decided is not None else verdict.value if verdict else None
    if how == "second" and value is not None:
        value = 1 - value
    words = verdict.text if verdict and decided is None else ""
    return {"asked": how if decided is None else "rule", "value": value, "text": words}
