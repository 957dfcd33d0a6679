"""The `Generator` for lm-eval's engines (`--backend hf`, `vllm`, `local-completions` ...).

`LMEvalGenerator` batches requests and retries failed ones. `_ResponseReader` turns lm-eval's texts into responses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import groupby

from mipo_bench.harness.errors import ModelError, StageError
from mipo_bench.harness.generators.chat_template import end_of_turn_token, render
from mipo_bench.harness.generators.lm_eval_model import LMEvalModel, ModelSpec
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
from mipo_bench.harness.inference.tokens import finished_text
from mipo_bench.harness.protocols import Likelihood, LikelihoodRequest, Prompt, Request
from mipo_bench.harness.servers.retry import is_refusal
from mipo_bench.harness.types import Message, Response

_CHUNK = 64
"""Requests that a local engine gets in one call. Answers are stored, and progress is shown, after each call."""


class LMEvalGenerator:
    """A model that an engine of lm-eval runs."""

    def __init__(self, spec: ModelSpec, notes: list[str]) -> None:
        """The model is built at its first use. Notes for the report are added to `notes`."""
        self.spec, self.traits, self.notes = spec, spec.traits, notes
        self.digest, self.folder = spec.digest, spec.folder
        self._model = LMEvalModel(spec)
        self._reader = _ResponseReader(self._model, notes)
        self._sender = RequestSender(self._ask_server, spec.traits.workers, self._trial)

    @cached_property
    def end_of_turn_token(self) -> str:
        """See `Generator`."""
        tokenizer = self._model.tokenizer
        return "" if tokenizer is None else end_of_turn_token(tokenizer, self.spec.chat)

    @property
    def control_tokens(self) -> list[str]:
        """See `Generator`."""
        tokenizer = self._model.tokenizer
        return [] if tokenizer is None else [str(token) for token in tokenizer.all_special_tokens]

    def unload(self) -> None:
        """Free the model's memory. It is built again at the next use."""
        self._model.unload()

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:
        """See `chat_template.render`. A chat for a server that applies the chat template itself is written as JSON."""
        if self._model.tokenizer is not None:
            return render(self._model.tokenizer, messages, context, self.spec.chat)
        add_note(self.notes, template_note())
        return chat_as_json(messages, context, self.spec.chat)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`. A request that a server does not answer is a failed response.

        Raises StageError for context-aware decoding, ModelError for a server that refuses everything.
        """
        if any(r.contrast is not None for r in requests):
            raise StageError(f"context-aware decoding mixes logits, which backend {self.traits.name!r} does not give")
        if any(r.decoding.temperature > 0 for r in requests) and self.traits.seeding == "none":
            note = f"the backend {self.traits.name} takes no seed: sampled answers differ from run to run"
            add_note(self.notes, note)
        if self.traits.served:
            _ = self._model.lm  # built here, because the threads would build it several times
            yield from self._sender.send(requests)
            return
        for chunk in self._chunks(requests):
            yield from zip(chunk, self._reader.responses([requests[i] for i in chunk]), strict=True)

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """See `Generator`. Raises ModelError if the engine gives no log-probabilities."""
        for position, question in enumerate(asked):
            found = self._model.likelihoods(question)
            if found is None:
                raise ModelError(f"backend {self.traits.name!r} gives no log-probabilities of a text.")
            yield position, found

    def _chunks(self, requests: Sequence[Request]) -> Iterator[list[int]]:
        """Positions of requests for one call: equal decoding, and only one request if torch's generator is seeded."""
        order = sorted(range(len(requests)), key=lambda i: (repr(requests[i].decoding), -len(requests[i].prompt), i))
        for decoding, group in groupby(order, key=lambda i: requests[i].decoding):
            members = list(group)
            alone = decoding.temperature > 0 and self.traits.seeding == "torch"
            size = 1 if alone else _CHUNK
            yield from (members[i : i + size] for i in range(0, len(members), size))

    def _ask_server(self, request: Request) -> Response:
        """The response of a server to one request. Transient failures are retried."""
        try:
            return self.traits.retry.call(partial(self._reader.responses, [request]))[0]
        except ModelError:
            raise
        except Exception as error:  # noqa: BLE001 - lm-eval may raise anything for a bad reply; it becomes a counted row
            reason = f"{type(error).__name__}: {error}"
            return refused(reason) if is_refusal(error) else failed(reason)

    def _trial(self) -> str | None:
        """See `RequestSender`."""
        answer = self._ask_server(Request(self.render(TRIAL, None).text, 0, TRIAL_DECODING))
        return f"{answer.text.rstrip('.')}." if answer.failed else None


class _ResponseReader:
    """Turns the texts of a model into responses with token counts, finish reasons and log-probabilities of options."""

    def __init__(self, model: LMEvalModel, notes: list[str]) -> None:
        self._model, self._notes = model, notes

    def responses(self, requests: Sequence[Request]) -> list[Response]:
        """The responses to requests with equal decoding, in order."""
        fits = [r for r in requests if not self._overflows(r)]
        texts = iter(self._texts(fits) if fits else [])
        return [
            Response("", self._count(r.prompt), 0, "overflow") if self._overflows(r) else self._response(r, next(texts))
            for r in requests
        ]

    def _texts(self, requests: Sequence[Request]) -> list[str]:
        """The generated texts, in order. They are empty if the token limit is 0: then only options are compared."""
        options_only = requests[0].decoding.max_new_tokens == 0
        return [""] * len(requests) if options_only else self._model.generate(requests)

    def _response(self, request: Request, text: str) -> Response:
        options = self._options(request)
        if request.decoding.max_new_tokens == 0 and request.options and options is None:
            text = self._model.generate([self._with_token_limit(request)])[0]
        n_tokens = self._count(text)
        cut = 0 < request.decoding.max_new_tokens <= n_tokens
        kept = finished_text(text, request.decoding)
        return Response(kept, self._count(request.prompt), n_tokens, "length" if cut else "stop", options)

    def _options(self, request: Request) -> tuple[float, ...] | None:
        """The log-probability of each option; None without options or if the engine gives no log-probabilities."""
        found = self._model.likelihoods(LikelihoodRequest(request.prompt, request.options)) if request.options else None
        return None if found is None else tuple(x.logprob for x in found)

    def _with_token_limit(self, request: Request) -> Request:
        """The request with a token limit for a generated answer, which replaces log-probabilities."""
        add_note(self._notes, generated_choice_note(self._model.traits.name))
        return replace(request, decoding=replace(request.decoding, max_new_tokens=CHOICE_TOKENS))

    def _overflows(self, request: Request) -> bool:
        """Whether the prompt is too long for the context window. lm-eval would cut off its beginning."""
        window = getattr(self._model.lm, "max_length", None)
        if self._model.tokenizer is None or not isinstance(window, int):
            return False
        return self._count(request.prompt) + request.decoding.max_new_tokens > window

    def _count(self, text: str) -> int:
        """The number of tokens of a text. It is estimated if only the server has the tokenizer."""
        if self._model.tokenizer is not None:
            return len(self._model.tokenizer.encode(text, add_special_tokens=False))
        add_note(self._notes, estimate_note())
        return estimated_tokens(text)
