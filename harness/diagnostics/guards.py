"""What a run holds against its own result: the figures. `reports.guards` has their thresholds and what they mean."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Literal, TypeVar

from mipo_bench.harness.core.progress import Display, Stage
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.diagnostics.diversity import Diversity, diversity
from mipo_bench.harness.diagnostics.overlap import overlap
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.evaluation.cached_answers import likelihoods
from mipo_bench.harness.evaluation.failures import failure_line, failure_record, recorded
from mipo_bench.harness.generators.chat_template import with_end_of_turn
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.protocols import Generator, Likelihood, LikelihoodRequest
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.types import Item, Response
from mipo_bench.reports.records.guards import GuardRecord, MarginRecord, NearRecord, OverlapRecord, WordingRecord
from mipo_bench.reports.records.report import FailureRecord

T = TypeVar("T")
K = TypeVar("K")
SAMPLE = 100
"""Responses of an arm, and pairs of a recipe, whose probabilities are asked for."""


@dataclass
class GuardResult:
    """What was found, and the tasks that could not be looked at."""

    records: list[GuardRecord] = field(default_factory=list)
    failures: list[FailureRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Guards:
    """Computes the guards of a run's tasks. `pairs` are by task and recipe."""

    store: Store
    display: Display
    base: Generator
    pairs: Mapping[tuple[str, str], PairSet]

    def compute(self, tasks: Sequence[TaskPlan], evaluated: Sequence[ArmAnswers]) -> GuardResult:
        """Look at every task: of a recipe at the first training seed, of an A/A pair at the first.

        Raises UserError, but not for a model that tells no probabilities: those figures are left out.
        """
        found = GuardResult()
        for task in tasks:
            arms = _first(e for e in evaluated if e.arm.task == task.task.name)
            with recorded(partial(self._record, found, task)):
                found.records.append(self._task(task, arms))
        return found

    def _record(self, found: GuardResult, task: TaskPlan, error: BaseException) -> None:
        found.failures.append(failure_record(task.task.name, task.reference, None, "guards", error))
        self.display.say(failure_line(found.failures[-1]))

    def _task(self, task: TaskPlan, arms: Sequence[ArmAnswers]) -> GuardRecord:
        name = task.task.name
        responses = {arm.arm.method: arm.responses(self.store) for arm in arms}
        diverse = diversity({method: [r.text for r in found.values()] for method, found in responses.items()})
        with self.display.stage(f"{name}: guards", "prompts") as stage:
            asked = {("wording", arm.arm.method): self._response_sample(arm, responses[arm.arm.method]) for arm in arms}
            recipes = [recipe for owner, recipe in self.pairs if owner == name]
            asked |= {("pairs", recipe): self._pair_sample(name, recipe) for recipe in recipes}
            likely = self._likelihoods(asked, stage)
        wording = [
            _wording(method, found, diverse.get(method), [x for [x] in likely["wording", method]])
            for method, found in responses.items()
        ]
        margins = [margin for recipe in recipes if (margin := _margin(recipe, likely["pairs", recipe]))]
        return GuardRecord(task=name, overlap=list(overlaps(task)), wording=wording, margins=margins)

    def _response_sample(self, arm: ArmAnswers, responses: Mapping[str, Response]) -> list[LikelihoodRequest]:
        """A sample of the arm's responses, each after the arm's own prompt."""
        end = self.base.end_of_turn_token
        texts = {item: with_end_of_turn(r, end) for item, r in responses.items() if r.finish != "overflow"}
        asked = [LikelihoodRequest(arm.requests[item].prompt, (text,)) for item, text in texts.items() if text]
        return _sample(asked, arm.arm.task)

    def _pair_sample(self, task: str, recipe: str) -> list[LikelihoodRequest]:
        """Both sides of a sample of a recipe's pairs."""
        end = self.base.end_of_turn_token
        pairs = _sample(self.pairs[task, recipe].pairs, task)
        return [
            LikelihoodRequest(self.base.render(p.prompt, None).text, (p.chosen + end, p.rejected + end)) for p in pairs
        ]

    def _likelihoods(
        self, asked: Mapping[K, Sequence[LikelihoodRequest]], stage: Stage
    ) -> dict[K, list[tuple[Likelihood, ...]]]:
        """Likelihoods under the base model, all asked at once; none where it tells no probabilities."""
        try:
            found = iter(likelihoods(self.base, [q for row in asked.values() for q in row], self.store, stage))
        except ModelError:
            found = iter(())
        return {name: list(islice(found, len(row))) for name, row in asked.items()}


def _wording(
    method: str, responses: Mapping[str, Response], words: Diversity | None, likely: Sequence[Likelihood]
) -> WordingRecord:
    """How an arm writes; `likely` is what the base model thinks of a sample of it."""
    tokens = sum(x.n_tokens for x in likely)
    return WordingRecord(
        method=method,
        responses=len(responses),
        empty=sum(not r.text.strip() for r in responses.values()),
        matched=words.texts if words else 0,
        matched_words=words.words if words else 0,
        distinct_1=words.distinct_1 if words else None,
        distinct_2=words.distinct_2 if words else None,
        self_bleu=words.self_bleu if words else None,
        measured=len(likely),
        perplexity=math.exp(-sum(x.logprob for x in likely) / tokens) if tokens else None,
    )


def _margin(recipe: str, sides: Sequence[tuple[Likelihood, ...]]) -> MarginRecord | None:
    """How the base model tells the sides of a recipe's pairs apart before any training."""
    margins = [chosen.logprob - rejected.logprob for chosen, rejected in sides]
    if not margins:
        return None
    right = sum(margin > 0 for margin in margins) / len(margins)
    return MarginRecord(recipe=recipe, pairs=len(margins), margin=sum(margins) / len(margins), accuracy=right)


def overlaps(task: TaskPlan) -> Iterable[OverlapRecord]:
    """Prompts, and where there are users their contexts and names, of evaluation against training items."""
    if not task.training_items:
        return
    yield _overlap("prompts", _texts(task.items, "prompt"), _texts(task.training_items, "prompt"))
    if any(item.context for item in task.items):
        yield _overlap("contexts", _texts(task.items, "context"), _texts(task.training_items, "context"))
    held, trained = ({i.user_id for i in items if i.user_id is not None} for items in (task.items, task.training_items))
    if held:
        yield OverlapRecord(of="users", evaluation=len(held), training=len(trained), same=len(held & trained), near=0)


def _texts(items: Sequence[Item], column: Literal["prompt", "context"]) -> dict[str, str]:
    """Each different text once, by the first item that has it."""
    texts = {item.id: item.prompt if column == "prompt" else item.context or "" for item in items}
    first = {text: name for name, text in reversed(texts.items()) if text}
    return {name: text for text, name in reversed(first.items())}


def _overlap(of: Literal["prompts", "contexts"], evaluation: dict[str, str], training: dict[str, str]) -> OverlapRecord:
    found = overlap(evaluation, training)
    examples = [
        NearRecord(evaluation=x.evaluation, training=x.training, similarity=round(x.similarity, 3))
        for x in found.examples
    ]
    return OverlapRecord(
        of=of, evaluation=len(evaluation), training=len(training), same=found.same, near=found.near, examples=examples
    )


def _first(arms: Iterable[ArmAnswers]) -> list[ArmAnswers]:
    """The first arm of each method without the A/A twins."""
    found: dict[str, ArmAnswers] = {}
    for arm in arms:
        if not arm.arm.aa_twin:
            found.setdefault(arm.arm.method, arm)
    return list(found.values())


def _sample(asked: Sequence[T], task: str) -> list[T]:
    """A seeded sample in a fixed order."""
    chosen = random.Random(seed_of("guards", task)).sample(range(len(asked)), min(SAMPLE, len(asked)))
    return [asked[n] for n in sorted(chosen)]
