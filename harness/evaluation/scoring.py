"""Scores of one arm's responses. Scoring generates nothing, so a changed scorer costs no generation."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.redaction import redact
from mipo_bench.harness.errors import described
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.evaluation.failures import MAX_FAILURE_TEXT, recorded
from mipo_bench.harness.evaluation.scorer_source import code_of, scorer_code
from mipo_bench.harness.plugins.optional import corpus_parts, data_used, group_average
from mipo_bench.harness.plugins.protocol_checks import checked_score
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import WAYS, ExternalTask, Item, Response, Score, Task
from mipo_bench.reports.records.report import ArmRecord, ReadingRecord, TaskRecord
from mipo_bench.tasks.reading import thoughts
from mipo_bench.tasks.reading.thoughts import THOUGHT_TAGS, Answer, ThoughtTag

_NO_RESPONSE, _NO_ANSWER = Response("", 0, 0, "stop"), Answer("")


@dataclass(frozen=True, slots=True)
class ArmResponses:
    """The responses of one arm, their answers after the thoughts, and the reasons why items have none; by item id."""

    arm: Arm
    responses: Mapping[str, Response]
    answers: Mapping[str, Answer]
    failed: Mapping[str, str]
    model_digest: str


def stored_responses(answers: ArmAnswers, store: Store) -> ArmResponses:
    """Read the responses of one arm from the store. Raises StorageError where one is gone."""
    responses = answers.responses(store)
    read = answers.without_thoughts(responses)
    return ArmResponses(answers.arm, responses, read, answers.failed, answers.model.digest)


def score_arm(task: Task, items: Sequence[Item], answered: ArmResponses) -> ArmRecord:
    """Score every item; each has a response or a failure. The scorer sees the answer without its thoughts.

    A failed item scores 0 and stays in the denominator. The record names its stage and the reason.
    """
    arm, failures = answered.arm, dict(answered.failed)
    answers = [answered.responses.get(item.id, _NO_RESPONSE) for item in items]
    read = [answered.answers.get(item.id, _NO_ANSWER) for item in items]
    scores = [_score(task, *each, failures) for each in zip(items, answers, read, strict=True)]
    names = sorted({name for score in scores for name in score.parts})
    parts = {name: [_part(name, i, s, failures) for i, s in zip(items, scores, strict=True)] for name in names}
    parts |= {name: list(values) for name, values in corpus_parts(task, items, scores).items()}
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
        parts=parts,
        n_tokens=[answer.n_tokens for answer in answers],
        truncated=[i.id for i, answer in zip(items, answers, strict=True) if answer.finish == "length"],
        finish_unknown=sum(answer.finish == "unknown" for answer in answers),
        unparsed=[i.id for i, score in zip(items, scores, strict=True) if not score.parsed],
        failed={item: redact(reason)[:MAX_FAILURE_TEXT] for item, reason in failures.items()},
        reading=_reading([item.id for item in items], read, scores),
    )


def _part(name: str, item: Item, score: Score, failures: Mapping[str, str]) -> float | None:
    """A part of a score; None where it does not apply to the item. Of a failed item every part is 0."""
    return 0.0 if item.id in failures else score.parts.get(name)


def _reading(items: Sequence[str], answers: Sequence[Answer], scores: Sequence[Score]) -> ReadingRecord:
    """How the answers of an arm were found."""
    found = [score.reading for score in scores if score.reading]
    ways = Counter(reading.way for reading in found)
    return ReadingRecord(
        ways={way: ways[way] for way in WAYS if ways[way]},
        invented_turns=sum(reading.invented_turn for reading in found),
        thoughts=sum(answer.thoughts == "closed" for answer in answers),
        thoughts_cut=[item for item, answer in zip(items, answers, strict=True) if answer.thoughts == "cut"],
    )


def _score(task: Task, item: Item, response: Response, answer: Answer, failures: dict[str, str]) -> Score:
    if response.finish == "overflow":
        failures[item.id] = "generate: the prompt leaves no room in the model's window"
    if item.id in failures:
        return Score(0.0)

    def record(error: BaseException) -> None:
        failures[item.id] = f"score: {described(error)}"

    with recorded(record, passing=(KeyboardInterrupt,)):
        return score_answer(task, item, response, answer)
    return Score(0.0)


def score_answer(task: Task, item: Item, response: Response, answer: Answer) -> Score:
    """Score a response by its `answer`, the part after its thoughts. Raises the errors of the task.

    Where the thoughts were cut, the score is that of an empty text, and no answer was parsed.
    """
    score = checked_score(task.score(item, replace(response, text=answer.text)))
    return replace(score, parsed=False) if answer.thoughts == "cut" else score


def describe_task(
    task: Task, reference: str, items: Sequence[Item], tags: Sequence[ThoughtTag] = THOUGHT_TAGS
) -> TaskRecord:
    """The report's record of a task, with the hashes that match items of two reports."""
    users = [item.user_id for item in items]
    return TaskRecord(
        name=task.name,
        suite=task.suite,
        version=task.version,
        description=task.description,
        binary=task.binary,
        reference=reference,
        scorer_hash=scorer_hash(task, tags),
        items=[item.id for item in items],
        users=[str(user) for user in users] if all(user is not None for user in users) else None,
        prompt_hashes=[_prompt_hash(item) for item in items],
        target_hashes=[digest([i.target])[:16] for i in items],
        data=data_used(task),
        group_average=group_average(task),
    )


class Turn(NamedTuple):
    """A demonstration under the name that it had in version 0.1: the text of the record enters the hash of a prompt."""

    prompt: str
    response: str


def _prompt_hash(item: Item) -> str:
    framed = [item.system, item.prefix] if item.system or item.prefix else []
    shots = tuple(Turn(shot.prompt, shot.response) for shot in item.demonstrations)
    return digest([item.prompt, item.context, shots, item.options, *framed, *item.continuations])[:16]


def scorer_hash(task: Task, tags: Sequence[ThoughtTag] = THOUGHT_TAGS) -> str:
    """Hash of the task's version and code, of the definition of a task from another harness, and of how thoughts end.

    Thoughts end by the code that leaves them out, and by its tags in any order.
    """
    definition = [task.definition] if isinstance(task, ExternalTask) else []
    ends = [code_of(inspect.getsource(thoughts)), *sorted(map(str, tags))]
    return digest([task.name, task.version, *definition, *scorer_code(task), *ends])[:16]
