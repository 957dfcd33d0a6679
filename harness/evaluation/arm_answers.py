"""The requests of one arm, and the keys of its responses in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.progress import Meter
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.errors import StageError, StorageError, described
from mipo_bench.harness.evaluation.cached_answers import response_key
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.generators.chat_template import chat_of, kept_prompts
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.protocols import Arm, Chat, Generator, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Baseline, Item, Response
from mipo_bench.tasks.reading.thoughts import Answer, without_thoughts


@dataclass(frozen=True, slots=True)
class AnsweringModel:
    """A generator with the digest of its model's weights."""

    generator: Generator
    digest: str


@dataclass(frozen=True, slots=True)
class ArmAnswers:
    """One arm with its answered requests, and the items that failed without a response; both by item id.

    The responses stay in the store, so that memory does not grow with them.
    """

    task: TaskPlan
    arm: Arm
    model: AnsweringModel
    requests: Mapping[str, Request]
    failed: Mapping[str, str]
    derived: Mapping[str, str]
    """Item -> key of a response that was computed from other answers and replaces the answer to the request."""
    keys: Mapping[str, str]
    """Item -> key of its response in the store."""

    def check_overflow(self, store: Store, allowed: float) -> None:
        """Raise StageError where more than the `allowed` share of the prompts overflows the context window."""
        responses = self.responses(store).values()
        overflows = [response.n_prompt for response in responses if response.finish == "overflow"]
        if len(overflows) > allowed * len(responses):
            new = self.task.decoding.max_new_tokens
            raise StageError(
                f"{len(overflows)} of {len(responses)} prompts (the longest has {max(overflows)} tokens) leave no room"
                f" for {new} new tokens in the model's window. Lower --set decoding.max_new_tokens, take a model with a"
                " longer window, or accept a larger share with --set overflow."
            )

    def responses(self, store: Store) -> dict[str, Response]:
        """Item -> response. Raises StorageError where the store has lost one since it was computed."""
        keys = self.keys
        stored = store.responses(list(dict.fromkeys(keys.values())))
        if damaged := sum(key not in stored for key in keys.values()):
            raise StorageError(
                f"{damaged} responses of {self.arm.method} on {self.arm.task} were damaged in the store {store.folder}"
                " during the run. Run the same command again: it computes them again."
            )
        return {item: stored[key] for item, key in keys.items()}

    def without_thoughts(self, responses: Mapping[str, Response]) -> dict[str, Answer]:
        """Item -> the part of its response after its thoughts, which the prompt may have opened."""
        prompts = {item: request.prompt for item, request in self.requests.items() if item not in self.derived}
        tags = self.task.thought_tags
        return {item: without_thoughts(r.text, prompts.get(item, ""), tags) for item, r in responses.items()}


@dataclass(frozen=True, slots=True)
class ArmContext:
    """One arm with its baseline, its model, the store of its responses, and the settings."""

    task: TaskPlan
    baseline: Baseline
    arm: Arm
    model: AnsweringModel
    store: Store
    meter: Meter
    settings: RunConfig

    @property
    def items(self) -> dict[str, Item]:
        """The items by id."""
        return {item.id: item for item in self.task.items}


@dataclass(slots=True)
class ArmRequests:
    """The requests of one arm until all are answered; a failed item moves to `failed`. See `ArmAnswers`."""

    task: TaskPlan
    arm: Arm
    weights: AnsweringModel
    requests: dict[str, Request] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    derived: dict[str, str] = field(default_factory=dict)

    def record_failure(self, item: str, error: BaseException, stage: str = "prompt") -> None:
        """Record an error of an item, by default in its prompt, and remove its request."""
        self.failed[item] = f"{stage}: {described(error)}"
        self.requests.pop(item, None)

    def record_unanswered(self, answers: Sequence[Response]) -> None:
        """Record failed requests; `answers` are in the order of the requests. Raises StageError where all failed."""
        unanswered = {i: a.text for i, a in zip(self.requests, answers, strict=True) if a.failed}
        if unanswered and len(unanswered) == len(self.requests):
            raise StageError(f"the model answered none of {len(unanswered)} prompts: {next(iter(unanswered.values()))}")
        for item, reason in unanswered.items():
            self.failed[item] = f"generate: {reason}"
            del self.requests[item]

    def answers(self) -> ArmAnswers:
        """The answered arm, as a copy that later requests do not change."""
        requests, failed, derived = dict(self.requests), dict(self.failed), dict(self.derived)
        keys = {item: response_key(self.weights.generator, request) for item, request in requests.items()} | derived
        return ArmAnswers(self.task, self.arm, self.weights, requests, failed, derived, keys)


def render_arm(task: TaskPlan, baseline: Baseline, arm: Arm, model: AnsweringModel) -> ArmRequests:
    """Render the prompt of every item of the task. Raises StageError where every prompt fails."""
    rendered, chats = ArmRequests(task, arm, model), dict[str, Chat]()
    for item in task.items:
        with recorded(partial(rendered.record_failure, item.id)):
            chats[item.id] = chat_of(baseline, item)
    kept = dict(zip(chats, kept_prompts(model.generator, list(chats.values())), strict=True))
    for item in (item for item in task.items if item.id in chats):
        with recorded(partial(rendered.record_failure, item.id)):
            prompt = kept[item.id] or model.generator.render(*chats[item.id])
            seed = seed_of("evaluation", arm.task, item.id, arm.sample_seed)
            source = f"{arm.task} {arm.method}"
            rendered.requests[item.id] = Request(prompt.text, seed, task.decoding, item.options, source=source)
    if not rendered.requests:
        raise StageError(f"no prompt could be rendered: {next(iter(rendered.failed.values()))}")
    return rendered
