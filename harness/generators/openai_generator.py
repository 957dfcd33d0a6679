"""The `Generator` for OpenAI-compatible chat servers (`--backend openai`).

Unlike lm-eval's chat engine, it reads token counts and the finish reason from the reply. A reply without a message is
a failure, not an empty response.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.errors import ModelError, ServerError, StageError
from mipo_bench.harness.generators.remote import (
    CHOICE_TOKENS,
    TRIAL,
    TRIAL_DECODING,
    RequestSender,
    add_note,
    chat_as_json,
    estimate_note,
    estimated_tokens,
    failed,
    generated_choice_note,
    refused,
    template_note,
)
from mipo_bench.harness.protocols import Likelihood, LikelihoodRequest, Prompt, Request
from mipo_bench.harness.servers.chat_server import Chat, ChatServer
from mipo_bench.harness.servers.replies import Refused
from mipo_bench.harness.types import Message, Response

CHAT_REQUEST_VERSION = "openai-1"
"""Part of content keys. Increase it when a change alters the HTTP request that is sent for the same `Request`."""


class OpenAIGenerator:
    """A model on a chat server, which gives neither log-probabilities nor a tokenizer."""

    end_of_turn_token = ""
    control_tokens: Sequence[str] = ()

    def __init__(self, server: ChatServer, digest: str, chat: ChatConfig, workers: int, notes: list[str]) -> None:
        """`digest` identifies the model; `workers` limits concurrent requests; `notes` collects the report's notes."""
        self.server, self.digest, self.chat, self.notes = server, digest, chat, notes
        self._sender = RequestSender(self._ask, workers, self._trial)

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:
        """See `remote.chat_as_json`."""
        add_note(self.notes, template_note())
        return chat_as_json(messages, context, self.chat)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`. A request that the server does not answer is a failed response.

        Raises StageError for context-aware decoding, ModelError for a server that refuses everything.
        """
        if any(request.contrast is not None for request in requests):
            raise StageError("context-aware decoding mixes logits, which a chat server does not give")
        if any(request.options for request in requests):
            add_note(self.notes, generated_choice_note("openai"))
        yield from self._sender.send(requests)

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """Raise ModelError, because a chat server gives no log-probability of a text."""
        raise ModelError(f"backend 'openai' gives no log-probabilities of a text; {len(asked)} are needed.")

    def _ask(self, request: Request) -> Response:
        """The response of the server to one request, also if it failed or was refused."""
        decoding = request.decoding
        if decoding.max_new_tokens == 0:
            decoding = replace(decoding, max_new_tokens=CHOICE_TOKENS)
        turns: list[dict[str, Any]] = json.loads(request.prompt)
        chat = Chat(tuple(Message(turn["role"], turn["content"]) for turn in turns), request.seed)
        try:
            answer = self.server.complete(chat, decoding)
        except ServerError as error:
            return failed(str(error))
        for note in self.server.taken.notes:
            add_note(self.notes, note)
        return refused(answer.reason) if isinstance(answer, Refused) else self._counted(request, answer)

    def _trial(self) -> str | None:
        """See `RequestSender`."""
        answer = self._ask(Request(chat_as_json(TRIAL, None, self.chat).text, 0, TRIAL_DECODING))
        return f"{answer.text.rstrip('.')}. {self.server.advice()}" if answer.failed else None

    def _counted(self, request: Request, answer: Response) -> Response:
        """The response with token counts. They are estimated if the server gives none."""
        if answer.n_prompt and (answer.n_tokens or not answer.text):
            return answer
        add_note(self.notes, estimate_note())
        return replace(answer, n_prompt=estimated_tokens(request.prompt), n_tokens=estimated_tokens(answer.text))
