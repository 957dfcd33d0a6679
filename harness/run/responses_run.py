"""Runs on responses that were produced elsewhere (`--model RESPONSES.jsonl`): scored and compared, nothing is loaded.

The arms are the file's. Those with a training seed are trained: they form the primary family against the task's
reference, which must be one of the file's arms; all others are prompting arms.
"""

from __future__ import annotations

from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, ArmRequests
from mipo_bench.harness.evaluation.cached_answers import answer
from mipo_bench.harness.planning.from_responses import response_id
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.protocols import Arm, Generator, Request
from mipo_bench.harness.run.run import Run


class ResponsesFileRun(Run):
    """A run whose arms, trained ones too, are answered by the file."""

    def _prefetch(self) -> None:
        """Nothing: a file answers each arm at once."""

    def _trained(self, task: TaskPlan, arm: Arm) -> None:
        self._evaluate(task, arm, self.backend.base, self.backend.model_digest)

    def _evaluate(self, task: TaskPlan, arm: Arm, generator: Generator, weights: str) -> None:
        with self._stage(arm, "evaluation", "responses") as stage:
            requests = {item.id: Request(response_id(arm, item.id), 0, task.decoding) for item in task.items}
            asked = ArmRequests(task, arm, AnsweringModel(generator, weights), requests)
            asked.record_unanswered(answer(generator, list(requests.values()), self.store, stage))
            self.evaluated.append(asked.answers())
