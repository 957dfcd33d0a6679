"""One scripted model on both sides: as lm-eval's `LM`, and as the `Generator` of the harness."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fakes import FakeGenerator
from lm_eval.api.model import LM

from mipo_bench.harness.protocols import Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.types import Response


@dataclass(frozen=True)
class Script:
    """Answers that are a function of what is asked. `phrases` are the texts that it can generate."""

    phrases: Sequence[str]

    def text(self, prompt: str, n: int = 0) -> str:
        return self.phrases[(_hash(prompt) + n) % len(self.phrases)]

    def likelihood(self, prompt: str, text: str) -> Likelihood:
        drawn = _hash(prompt, text)
        return Likelihood(-(drawn % 997) / 100 - 0.01, 1, greedy=drawn % 3 == 0)


def _hash(*texts: str) -> int:
    return zlib.crc32("\x00".join(texts).encode())


def rendered(messages: Sequence[dict[str, str]]) -> str:
    """A chat as `FakeGenerator` renders it."""
    return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>"


class ScriptedLM(LM):  # type: ignore[misc]
    """The script as a model of lm-eval. A request that comes again gets the next phrase."""

    tokenizer_name = "scripted"

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.times: Counter[int] = Counter()

    def chat_template(self, chat_template: bool | str = False) -> str:
        return "scripted"

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return rendered(chat_history)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        found = [self.script.likelihood(*request.args[:2]) for request in requests]
        return [(x.logprob, x.greedy) for x in found]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        return [self.script.likelihood("", request.args[0]).logprob for request in requests]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        found = []
        for request in requests:
            found.append(self.script.text(request.args[0], self.times[id(request)]))
            self.times[id(request)] += 1
        return found


class ScriptedGenerator(FakeGenerator):
    """The script as a generator of the harness. `prompts` are those that it was asked to continue."""

    def __init__(self, script: Script) -> None:
        super().__init__("scripted", lambda request: script.text(request.prompt))
        self.script = script

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        for position, question in enumerate(asked):
            yield position, tuple(self.script.likelihood(question.prompt, text) for text in question.texts)

    def _one(self, request: Request) -> Response:
        logprobs = tuple(self.script.likelihood(request.prompt, option).logprob for option in request.options)
        text = self.answer(request) if request.decoding.max_new_tokens else ""
        return Response(text, len(request.prompt), len(text.split()), "stop", logprobs or None)
