"""Any OpenAI-compatible chat server as a `Generator` (`--backend openai`).

Unlike lm-eval's chat engine it reads the number of tokens and the end of each answer from the reply, and takes a reply
that holds no answer for a failure and not for an empty text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import ModelError, ServerError, StageError
from mipo_bench.harness.generators.chat_client import Chat, ChatServer, Refused
from mipo_bench.harness.generators.remote import (
    CHOICE_TOKENS,
    estimate_note,
    estimated_tokens,
    failed,
    in_threads,
    spoken_note,
    template_note,
    unrendered,
)
from mipo_bench.harness.protocols import Continuations, Likelihood, Prompt, Request
from mipo_bench.harness.types import Message, Response

CODE = "openai-1"
"""Goes up whenever the same request can be asked differently."""


class OpenAIGenerator:
    """A model behind a chat server. `notes` gathers what a reader must know about its answers."""

    def __init__(self, server: ChatServer, chat: ChatConfig, workers: int, notes: list[str]) -> None:
        """The model is known by its name and address: its weights cannot be seen."""
        self.server, self.chat, self.workers, self.notes = server, chat, workers, notes
        self.digest = digest([CODE, server.model, server.url, chat.model_dump_json()])

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:
        """See `served.unrendered`."""
        self._note(template_note())
        return unrendered(messages, context, self.chat)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`; what the server does not answer is a failed response. Raises StageError for a contrast."""
        if any(request.contrast is not None for request in requests):
            raise StageError("context-aware decoding mixes logits, which a chat server does not give")
        if any(request.options for request in requests):
            self._note(spoken_note("openai"))
        yield from in_threads(self._ask, requests, self.workers)

    def likelihoods(self, asked: Sequence[Continuations]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """Raise ModelError: a chat server gives no log-probability of a text."""
        raise ModelError(f"{len(asked)} log-probabilities are wanted, which backend 'openai' does not give.")

    def _ask(self, request: Request) -> Response:
        decoding = request.decoding
        if decoding.max_new_tokens == 0:
            decoding = replace(decoding, max_new_tokens=CHOICE_TOKENS)
        turns: list[dict[str, Any]] = json.loads(request.prompt)
        chat = Chat(tuple(Message(turn["role"], turn["content"]) for turn in turns), request.seed)
        try:
            answer = self.server.one(chat, decoding)
        except ServerError as error:
            return failed(str(error))
        if isinstance(answer, Refused):
            return failed(f"refused: {answer.reason}")
        if answer.n_prompt and (answer.n_tokens or not answer.text):
            return answer
        self._note(estimate_note())
        return replace(answer, n_prompt=estimated_tokens(request.prompt), n_tokens=estimated_tokens(answer.text))

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
