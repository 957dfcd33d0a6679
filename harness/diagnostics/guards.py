"""Guards: figures that can speak against a run's own result. `reports/analysis/guard_rules.py` has the thresholds."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import chain, islice
from typing import Literal, TypeVar

from mipo_bench.harness.core.progress import Display, Stage
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.diagnostics.diversity import DIVERSITY_VERSION, Diversity, diversity
from mipo_bench.harness.diagnostics.overlap import OVERLAP_VERSION, overlap
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.evaluation.cached_answers import likelihoods
from mipo_bench.harness.evaluation.failures import failure_line, failure_record, recorded
from mipo_bench.harness.generators.chat_template import kept_prompts, with_end_of_turn
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.protocols import Chat, Generator, Likelihood, LikelihoodRequest
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.types import Item, Response
from mipo_bench.reports.records.guards import GuardRecord, MarginRecord, NearRecord, OverlapRecord, WordingRecord
from mipo_bench.reports.records.report import FailureRecord

T = TypeVar("T")
K = TypeVar("K")
SAMPLE = 100
"""Most responses of an arm, and most pairs of a recipe, whose likelihoods are computed."""


@dataclass
class GuardResult:
    """The guards of each task, and the tasks whose guards failed."""

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
        """Compute the guards of every task, for a recipe from its first training seed and without the A/A twin.

        Raises UserError. A model without probabilities raises none: the figures that need them are left out.
        """
        result = GuardResult()
        for task in tasks:
            arms = _first(e for e in evaluated if e.arm.task == task.task.name)
            with recorded(partial(self._record, result, task)):
                result.records.append(self._task(task, arms))
        return result

    def _record(self, result: GuardResult, task: TaskPlan, error: BaseException) -> None:
        result.failures.append(failure_record(task.task.name, task.reference, None, "guards", error))
        self.display.say(failure_line(result.failures[-1]))

    def _task(self, task: TaskPlan, arms: Sequence[ArmAnswers]) -> GuardRecord:
        name = task.task.name
        responses = {arm.arm.method: arm.responses(self.store) for arm in arms}
        diverse = self._diversity({method: [r.text for r in by_item.values()] for method, by_item in responses.items()})
        with self.display.stage(f"{name}: guards", "prompts") as stage:
            requests = {
                ("wording", arm.arm.method): self._response_sample(arm, responses[arm.arm.method]) for arm in arms
            }
            recipes = [recipe for owner, recipe in self.pairs if owner == name]
            requests |= {("pairs", recipe): self._pair_sample(name, recipe) for recipe in recipes}
            likely = self._likelihoods(requests, stage)
        wording = [
            _wording(method, by_item, diverse.get(method), [x for [x] in likely["wording", method]])
            for method, by_item in responses.items()
        ]
        margins = [margin for recipe in recipes if (margin := _margin(recipe, likely["pairs", recipe]))]
        return GuardRecord(task=name, overlap=self._overlaps(task), wording=wording, margins=margins)

    def _diversity(self, texts: Mapping[str, Sequence[str]]) -> dict[str, Diversity]:
        """`diversity`, from the store where it has been computed of the same texts."""
        parts = [part for method, row in texts.items() for part in (method, len(row), *row)]
        key = ["diversity", DIVERSITY_VERSION, version("sacrebleu"), *parts]
        found = self.store.remembered(key, lambda: {name: asdict(row) for name, row in diversity(texts).items()})
        return {name: Diversity(**row) for name, row in found.items()}

    def _overlaps(self, task: TaskPlan) -> list[OverlapRecord]:
        """`overlaps`, from the store where they have been computed of the same items."""
        splits = (task.items, task.training_items)
        texts = ((len(items), *((i.id, i.prompt, i.context, i.user_id) for i in items)) for items in splits)
        key = ["overlap", OVERLAP_VERSION, *chain.from_iterable(texts)]
        rows = self.store.remembered(key, lambda: [row.model_dump(mode="json") for row in overlaps(task)])
        return [OverlapRecord.model_validate(row) for row in rows]

    def _response_sample(self, arm: ArmAnswers, responses: Mapping[str, Response]) -> list[LikelihoodRequest]:
        """A sample of the arm's responses, each after its own prompt."""
        end = self.base.end_of_turn_token
        texts = {item: with_end_of_turn(r, end) for item, r in responses.items() if r.finish != "overflow"}
        requests = [LikelihoodRequest(arm.requests[item].prompt, (text,)) for item, text in texts.items() if text]
        return _sample(requests, arm.arm.task)

    def _pair_sample(self, task: str, recipe: str) -> list[LikelihoodRequest]:
        """The chosen and the rejected response of a sample of a recipe's preference pairs."""
        end = self.base.end_of_turn_token
        pairs = _sample(self.pairs[task, recipe].pairs, task)
        chats = [Chat(p.prompt, None) for p in pairs]
        prompts = [
            prompt or self.base.render(*chat)
            for prompt, chat in zip(kept_prompts(self.base, chats), chats, strict=True)
        ]
        return [
            LikelihoodRequest(prompt.text, (p.chosen + end, p.rejected + end))
            for prompt, p in zip(prompts, pairs, strict=True)
        ]

    def _likelihoods(
        self, requests: Mapping[K, Sequence[LikelihoodRequest]], stage: Stage
    ) -> dict[K, list[tuple[Likelihood, ...]]]:
        """Likelihoods under the base model, computed in one stream; empty for a model without probabilities."""
        try:
            rows = iter(likelihoods(self.base, [q for row in requests.values() for q in row], self.store, stage))
        except ModelError:
            rows = iter(())
        return {name: list(islice(rows, len(row))) for name, row in requests.items()}


def _wording(
    method: str, responses: Mapping[str, Response], words: Diversity | None, likely: Sequence[Likelihood]
) -> WordingRecord:
    """The wording of an arm's responses; `likely` are the likelihoods of a sample under the base model."""
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
    """The base model's margin log p(chosen) - log p(rejected) on a recipe's pairs, in nats, before training."""
    margins = [chosen.logprob - rejected.logprob for chosen, rejected in sides]
    if not margins:
        return None
    accuracy = sum(margin > 0 for margin in margins) / len(margins)
    return MarginRecord(recipe=recipe, pairs=len(margins), margin=sum(margins) / len(margins), accuracy=accuracy)


def overlaps(task: TaskPlan) -> Iterable[OverlapRecord]:
    """Overlap of evaluation and training items: of prompts, and for tasks with users of contexts and user ids."""
    if not task.training_items:
        return
    yield _overlap("prompts", _texts(task.items, "prompt"), _texts(task.training_items, "prompt"))
    if any(item.context for item in task.items):
        yield _overlap("contexts", _texts(task.items, "context"), _texts(task.training_items, "context"))
    evaluated, trained = (
        {i.user_id for i in items if i.user_id is not None} for items in (task.items, task.training_items)
    )
    if evaluated:
        same = len(evaluated & trained)
        yield OverlapRecord(of="users", evaluation=len(evaluated), training=len(trained), same=same, near=0)


def _texts(items: Sequence[Item], column: Literal["prompt", "context"]) -> dict[str, str]:
    """Each distinct text once, by the first item with it."""
    texts = {item.id: item.prompt if column == "prompt" else item.context or "" for item in items}
    first = {text: name for name, text in reversed(texts.items()) if text}
    return {name: text for text, name in reversed(first.items())}


def _overlap(of: Literal["prompts", "contexts"], evaluation: dict[str, str], training: dict[str, str]) -> OverlapRecord:
    shared = overlap(evaluation, training)
    examples = [
        NearRecord(evaluation=x.evaluation, training=x.training, similarity=round(x.similarity, 3))
        for x in shared.examples
    ]
    return OverlapRecord(
        of=of, evaluation=len(evaluation), training=len(training), same=shared.same, near=shared.near, examples=examples
    )


def _first(arms: Iterable[ArmAnswers]) -> list[ArmAnswers]:
    """The first arm of each method, without A/A twins."""
    first: dict[str, ArmAnswers] = {}
    for arm in arms:
        if not arm.arm.aa_twin:
            first.setdefault(arm.arm.method, arm)
    return list(first.values())


def _sample(population: Sequence[T], task: str) -> list[T]:
    """A seeded sample in a fixed order."""
    chosen = random.Random(seed_of("guards", task)).sample(range(len(population)), min(SAMPLE, len(population)))
    return [population[n] for n in sorted(chosen)]
