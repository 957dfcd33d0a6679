"""What one arm is asked, and where its answers are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.errors import StageError, StorageError, described
from mipo_bench.harness.evaluation.cached_answers import response_key
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.generators.chat_template import prompt_of
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.protocols import Arm, Generator, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Baseline, Response


@dataclass(frozen=True, slots=True)
class AnsweringModel:
    """A model that answers, and the digest of its weights."""

    generator: Generator
    digest: str


@dataclass(frozen=True, slots=True)
class ArmAnswers:
    """One arm with its answered requests, and the items that failed before they had an answer; both by item id.

    The responses stay in the store, so that memory does not grow with them.
    """

    task: TaskPlan
    arm: Arm
    model: AnsweringModel
    requests: Mapping[str, Request]
    failed: Mapping[str, str]
    derived: Mapping[str, str]
    """Item -> key of a response that was put together from other answers, in place of an answer to the request."""

    @property
    def keys(self) -> dict[str, str]:
        """Item -> key of its response in the store."""
        asked = {item: response_key(self.model.generator, request) for item, request in self.requests.items()}
        return {**asked, **self.derived}

    def check_overflow(self, store: Store, allowed: float) -> None:
        """Raise StageError where more than the `allowed` share of the prompts leaves no room in the model's window."""
        answers = self.responses(store).values()
        long = [answer.n_prompt for answer in answers if answer.finish == "overflow"]
        if len(long) > allowed * len(answers):
            new = self.task.decoding.max_new_tokens
            raise StageError(
                f"{len(long)} of {len(answers)} prompts (the longest has {max(long)} tokens) leave no room for"
                f" {new} new tokens in the model's window. Lower --set decoding.max_new_tokens, take a model with a"
                " longer window, or accept a larger share with --set overflow."
            )

    def responses(self, store: Store) -> dict[str, Response]:
        """Item -> response."""
        keys = self.keys
        found = store.responses(list(dict.fromkeys(keys.values())))
        if lost := sum(key not in found for key in keys.values()):
            raise StorageError(
                f"{lost} responses of {self.arm.method} on {self.arm.task} were damaged in the store {store.folder}"
                " while the run was at work. The same command computes them again."
            )
        return {item: found[key] for item, key in keys.items()}


@dataclass(slots=True)
class ArmRequests:
    """The requests of one arm while it is being answered; an item that fails leaves them. See `ArmAnswers`."""

    task: TaskPlan
    arm: Arm
    weights: AnsweringModel
    requests: dict[str, Request] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    derived: dict[str, str] = field(default_factory=dict)

    def record_failure(self, item: str, error: BaseException) -> None:
        """Record that an item has no prompt."""
        self.failed[item] = f"prompt: {described(error)}"
        self.requests.pop(item, None)

    def record_unanswered(self, answers: Sequence[Response]) -> None:
        """Record the requests, in their order, that were not answered. Raises StageError where none was."""
        unanswered = {i: a.text for i, a in zip(self.requests, answers, strict=True) if a.failed}
        if unanswered and len(unanswered) == len(self.requests):
            raise StageError(f"none of {len(unanswered)} prompts was answered: {next(iter(unanswered.values()))}")
        for item, reason in unanswered.items():
            self.failed[item] = f"generate: {reason}"
            del self.requests[item]

    def answers(self) -> ArmAnswers:
        """The arm as it stands, once all requests are answered; what is asked later does not change it."""
        requests, failed, derived = dict(self.requests), dict(self.failed), dict(self.derived)
        return ArmAnswers(self.task, self.arm, self.weights, requests, failed, derived)


def render_arm(task: TaskPlan, baseline: Baseline, arm: Arm, model: AnsweringModel) -> ArmRequests:
    """Render every item of the task. Raises StageError where none can be."""
    asked = ArmRequests(task, arm, model)
    for item in task.items:
        with recorded(partial(asked.record_failure, item.id)):
            prompt = prompt_of(baseline, item, model.generator)
            seed = seed_of("evaluation", arm.task, item.id, arm.sample_seed)
            asked.requests[item.id] = Request(prompt.text, seed, task.decoding, item.options)
    if not asked.requests:
        raise StageError(f"no prompt could be rendered: {next(iter(asked.failed.values()))}")
    return asked
