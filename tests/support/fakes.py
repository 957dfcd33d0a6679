"""Fakes: classes that implement the harness's protocols without a model. All fast tests use them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mipo_bench.harness.backends.base import TrainedCheckpoint
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.protocols import Arm, Generator, Likelihood, LikelihoodRequest, Prompt, Request
from mipo_bench.harness.training.pairs import PairSet, PromptSet
from mipo_bench.harness.types import Message, Response

Answerer = Callable[[Request], str]


class PanicError(BaseException):
    """An error like a Rust library's panic, which is not an `Exception`."""


class FakeGenerator:
    """A generator whose response is a function of the request. It records requests; `window` is in characters."""

    notes: Sequence[str] = ()
    end_of_turn_token = ""
    control_tokens: Sequence[str] = ()

    def __init__(self, digest: str, answer: Answerer, window: int | None = None) -> None:
        self.digest, self.answer, self.window = digest, answer, window
        self.asked: list[Request] = []

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:
        text = "".join(f"<{m.role}>{m.content}" for m in messages) + "<assistant>"
        if context and context not in text:
            raise ValueError("context lost")
        return Prompt(tuple(messages), text)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        for position, request in reversed(list(enumerate(requests))):
            self.asked.append(request)
            yield position, self._one(request)

    def answers(self, requests: Sequence[Request]) -> list[Response]:
        """The responses in the order of the requests."""
        return [response for _, response in sorted(self.generate(requests), key=lambda found: found[0])]

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """Log-probabilities that grow with the share of a text's words that are in the prompt."""
        for position, question in enumerate(asked):
            yield position, tuple(_likelihood(question.prompt, text) for text in question.texts)

    def _one(self, request: Request) -> Response:
        if self.window is not None and len(request.prompt) > self.window:
            return Response("", len(request.prompt), 0, "overflow")
        text = self.answer(request)
        logprobs = tuple(-float(i) for i in range(len(request.options))) if request.options else None
        return Response(text, len(request.prompt), len(text.split()) or 1, "stop", logprobs)


def _likelihood(prompt: str, text: str) -> Likelihood:
    words = text.split()
    return Likelihood(-sum(0.1 if word in prompt else 1.0 for word in words), len(words), greedy=False)


@dataclass
class FakeEngine:
    """A backend whose models are functions. `fail` is the set of (task, recipe, seed) whose training diverges."""

    answer: Answerer
    trained_answer: Answerer
    fail: set[tuple[str, str, int]] = field(default_factory=set)
    model_digest: str = "base"
    device: str = "cpu"
    dtype: str = "float32"
    name: str = "fake"
    failure: str = "the loss is nan at step 1; lower train.lr"
    window: int | None = None
    trainings: list[tuple[str, PairSet | PromptSet]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._base = FakeGenerator(self.model_digest, self.answer, self.window)

    @property
    def base(self) -> Generator:
        return self._base

    @property
    def base_generator(self) -> FakeGenerator:
        return self._base

    def trained(self, arm: Arm, data: PairSet | PromptSet, on_step: Callable[[int, int], None]) -> TrainedCheckpoint:
        key = (arm.task, str(arm.recipe), int(arm.train_seed or 0))
        if key in self.fail:
            raise TrainingError(self.failure)
        self.trainings.append((json.dumps(key), data))
        on_step(1, 1)
        name = "/".join(map(str, key))
        used = len(data.pairs if isinstance(data, PairSet) else data.prompts)
        discarded = dict(data.discarded) if isinstance(data, PairSet) else {}
        lineage = {"pairs": {"used": used, "discarded": discarded}, "curve": []}
        return TrainedCheckpoint(FakeGenerator(name, self.trained_answer), name, lineage)

    def unload(self) -> None:
        pass


class SilentDisplay:
    """A display that records its calls."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.lines: list[str] = []

    @contextmanager
    def stage(self, name: str, unit: str) -> Iterator[Stage]:
        stage = Stage(name, unit)
        self.stages.append(stage)
        yield stage

    def say(self, line: str) -> None:
        self.lines.append(line)
