"""Scores of one arm's responses. Scoring generates nothing, so a changed scorer costs no generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.redaction import redact
from mipo_bench.harness.errors import described
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.evaluation.failures import MAX_FAILURE_TEXT, recorded
from mipo_bench.harness.evaluation.scorer_source import scorer_code
from mipo_bench.harness.plugins.optional import data_used
from mipo_bench.harness.plugins.protocol_checks import checked_score
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import ExternalTask, Item, Response, Score, Task
from mipo_bench.reports.records.report import ArmRecord, TaskRecord

_NO_RESPONSE = Response("", 0, 0, "stop")


@dataclass(frozen=True, slots=True)
class ArmResponses:
    """The responses of one arm, and the reasons why items have none; both by item id."""

    arm: Arm
    responses: Mapping[str, Response]
    failed: Mapping[str, str]
    model_digest: str


def stored_responses(answers: ArmAnswers, store: Store) -> ArmResponses:
    """Read the responses of one arm from the store. Raises StorageError where one is gone."""
    return ArmResponses(answers.arm, answers.responses(store), answers.failed, answers.model.digest)


def score_arm(task: Task, items: Sequence[Item], answered: ArmResponses) -> ArmRecord:
    """Score every item; each has a response or a failure.

    A failed item scores 0 and stays in the denominator. The record names its stage and the reason.
    """
    arm, failures = answered.arm, dict(answered.failed)
    answers = [answered.responses.get(item.id, _NO_RESPONSE) for item in items]
    scores = [_score(task, item, answer, failures) for item, answer in zip(items, answers, strict=True)]
    names = sorted({name for score in scores for name in score.parts})
    return ArmRecord(
        task=arm.task,
        method=arm.method,
        baseline=arm.baseline,
        recipe=arm.recipe,
        train_seed=arm.train_seed,
        sample_seed=arm.sample_seed,
        noise=arm.aa_twin,
        model_digest=answered.model_digest,
        scores=[score.value for score in scores],
        parts={name: [score.parts.get(name, 0.0) for score in scores] for name in names},
        n_tokens=[answer.n_tokens for answer in answers],
        truncated=[i.id for i, answer in zip(items, answers, strict=True) if answer.finish == "length"],
        unparsed=[i.id for i, score in zip(items, scores, strict=True) if not score.parsed],
        failed={item: redact(reason)[:MAX_FAILURE_TEXT] for item, reason in failures.items()},
    )


def _score(task: Task, item: Item, response: Response, failures: dict[str, str]) -> Score:
    if response.finish == "overflow":
        failures[item.id] = "generate: the prompt leaves no room in the model's window"
    if item.id in failures:
        return Score(0.0)

    def record(error: BaseException) -> None:
        failures[item.id] = f"score: {described(error)}"

    with recorded(record, passing=(KeyboardInterrupt,)):
        return checked_score(task.score(item, response))
    return Score(0.0)


def describe_task(task: Task, reference: str, items: Sequence[Item]) -> TaskRecord:
    """The report's record of a task, with the hashes that match items of two reports."""
    users = [item.user_id for item in items]
    return TaskRecord(
        name=task.name,
        suite=task.suite,
        version=task.version,
        description=task.description,
        binary=task.binary,
        reference=reference,
        scorer_hash=scorer_hash(task),
        items=[item.id for item in items],
        users=[str(user) for user in users] if all(user is not None for user in users) else None,
        prompt_hashes=[_prompt_hash(item) for item in items],
        target_hashes=[digest([i.target])[:16] for i in items],
        data=data_used(task),
    )


class Turn(NamedTuple):
    """A demonstration under the name that it had in version 0.1: the text of the record enters the hash of a prompt."""

    prompt: str
    response: str


def _prompt_hash(item: Item) -> str:
    framed = [item.system, item.prefix] if item.system or item.prefix else []
    shots = tuple(Turn(shot.prompt, shot.response) for shot in item.demonstrations)
    return digest([item.prompt, item.context, shots, item.options, *framed])[:16]


def scorer_hash(task: Task) -> str:
    """Hash of the task's version and code, and of the definition of a task from another harness."""
    definition = [task.definition] if isinstance(task, ExternalTask) else []
    return digest([task.name, task.version, *definition, *scorer_code(task)])[:16]
