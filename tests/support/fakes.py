"""Fakes: classes that implement the harness's protocols without a model. All fast tests use them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mipo_bench.harness.backends.base import TrainedCheckpoint
from mipo_bench.harness.cluster.pool import HostLostError
from mipo_bench.harness.cluster.wire import Answers, Failed, Part, Trained, Unknown, pieces_of, shared
from mipo_bench.harness.core.hashing import folder_digest, model_digest
from mipo_bench.harness.core.progress import Stage
from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.generators.model_folder import embedded_folder
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


class FakeHost:
    """A host of a cluster without a cluster. `lose` says at which of its calls, counted from 1, it is lost for good.

    Its answers and weights are functions of what it is asked, so that every host gives the same.
    """

    def __init__(self, name: str, base: str = "base", lose: Callable[[int, str], bool] = lambda *_: False) -> None:
        self.name, self.lose = name, lose
        self.holds: set[str] = set()
        self.models = {base}
        self.calls: list[str] = []
        self.shared: Path | None = None
        """A folder that all see, for checkpoints."""
        self.diverging: tuple[str, int] | None = None
        """Recipe and seed of a training that fails."""

    def answer(self, weights: str, requests: Sequence[Request]) -> Answers[Response] | Failed | Unknown:
        self._call("answer")
        if weights not in self.models:
            return Unknown()
        generator = FakeGenerator(weights, lambda request: f"{weights[:4]} {request.seed} {request.prompt[-9:]}")
        return Answers(list(generator.generate(requests)), [f"a note on {weights[:4]}"])

    def likelihoods(
        self, weights: str, asked: Sequence[LikelihoodRequest]
    ) -> Answers[tuple[Likelihood, ...]] | Failed | Unknown:
        self._call("likelihoods")
        if weights not in self.models:
            return Unknown()
        return Answers(list(FakeGenerator(weights, str).likelihoods(asked)), [])

    def train(self, arm: Arm, data: PairSet) -> Iterator[Part | Trained | Failed]:
        self._call("train")
        if (arm.recipe, arm.train_seed) == self.diverging:
            yield Failed("TrainingError", "the loss is nan at step 1")
            return
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
                shutil.copy(embedded_folder() / name, folder)
            (folder / "model.safetensors").write_text(f"{arm} {data.digest}")
            (folder / "lineage.json").write_text('{"pairs": {"used": 2, "discarded": {}}, "curve": []}')
            content = folder_digest(folder)
            for piece in pieces_of(folder) if self.shared is None else shared(folder, self.shared, content):
                yield piece
                self._call("piece")
            weights = model_digest(folder)
            self.models.add(weights)
            yield Trained(content, weights, 8)

    def take(self, weights: str, piece: Part | None) -> Failed | None:
        self._call("take")
        if piece is None:
            self.models.add(weights)
        return None

    def _call(self, kind: str) -> None:
        self.calls.append(kind)
        if self.lose(len(self.calls), kind):
            raise HostLostError("its process was killed")
