"""A generator without weights, by which checks run the steps of a baseline and the pairs of a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import ContextLostError
from mipo_bench.harness.protocols import Likelihood, LikelihoodRequest, Prompt, Request
from mipo_bench.harness.types import Decoding, Message, Response

RESPONSE_CHARACTERS = 200
"""The length of a scripted response."""


class ScriptedModel:
    """Its response is a text of words that depends on prompt and seed alone, or the `fixed` text."""

    digest = "scripted"
    notes: Sequence[str] = ()
    end_of_turn_token = ""
    control_tokens: Sequence[str] = ()

    def __init__(self, fixed: str | None = None) -> None:
        self.fixed = fixed

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:
        """The turns with their roles. Raises ContextLostError if they do not show the context."""
        text = "".join(f"<|{message.role}|>\n{message.content}\n" for message in messages) + "<|assistant|>\n"
        if context and context not in text:
            raise ContextLostError(f"the prompt leaves out the context {context!r}")
        return Prompt(tuple(messages), text)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """One response for each request, in order."""
        for position, request in enumerate(requests):
            text = self._text(request) if self.fixed is None else self.fixed
            yield position, Response(text, len(request.prompt), len(text.split()), "stop")

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """One nat for each word of a text."""
        for position, question in enumerate(asked):
            counts = [len(text.split()) for text in question.texts]
            yield position, tuple(Likelihood(-float(count), count, greedy=False) for count in counts)

    def answers(self, requests: Sequence[Request]) -> list[Response]:
        """The responses in the order of the requests."""
        return [response for _, response in self.generate(requests)]

    def reply(self, messages: Sequence[Message]) -> str:
        """The response to one chat."""
        prompt = self.render(messages, None).text
        return self.answers([Request(prompt, 0, Decoding(RESPONSE_CHARACTERS, 0.0))])[0].text

    @staticmethod
    def _text(request: Request) -> str:
        letters = digest([request.prompt, request.seed]) * (RESPONSE_CHARACTERS // 64 + 1)
        words = " ".join(letters[n : n + 8] for n in range(0, len(letters), 8))
        return f"A scripted response: {words}"[:RESPONSE_CHARACTERS]
