"""Generation through the engines of lm-eval (`--backend hf`, `vllm`, `local-completions` ...), as a `Generator`.

lm-eval's request cache is never used: it keys on the prompt alone and would serve one model's answers as another's.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.core.redaction import without_keys
from mipo_bench.harness.errors import ModelError, StageError
from mipo_bench.harness.generators.chat_template import render
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
from mipo_bench.harness.inference.memory import free_memory
from mipo_bench.harness.inference.tokens import encode_pair, finished_text
from mipo_bench.harness.protocols import Continuations, Likelihood, Prompt, Request
from mipo_bench.harness.types import Message, Response

Seeding = Literal["torch", "request", "none"]
_CHUNK = 64
"""Requests that a local engine is given at once: answers are stored, and progress is shown, that often."""
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Traits:
    """What an engine can do.

    `served`: it is a server, asked by `workers` at a time; what it does not answer is a failed response. `chats`: it
    takes messages and renders them itself. `seeding`: how sampling is made repeatable: by torch's global generator, a
    seed in each request, or not at all.
    """

    name: str
    seeding: Seeding
    served: bool = False
    chats: bool = False
    workers: int = 1
    attempts: int = 1
    pause: float = 1.0
    """Seconds before the second attempt; each further pause is twice as long."""


class LMEvalGenerator:
    """An lm-eval model, built at the first use. `notes` gathers what a reader must know about its answers."""

    def __init__(
        self,
        build: Callable[[], Any],
        digest: str,
        traits: Traits,
        chat: ChatConfig,
        notes: list[str],
        folder: Path | None = None,
    ) -> None:
        """`build` makes the lm-eval model; `digest` covers the model's identity and the engine's settings.

        `folder` is that of a model that is loaded here.
        """
        self._build, self.digest, self.traits, self.chat, self.notes = build, digest, traits, chat, notes
        self.folder = folder

    @cached_property
    def model(self) -> Any:
        """The lm-eval `LM`. Raises ModelError where it cannot be built."""
        try:
            return self._build()
        except Exception as error:
            reason = f"{type(error).__name__}: {without_keys(str(error))}"
            raise ModelError(f"backend {self.traits.name!r} cannot be started: {reason}") from error

    def unload(self) -> None:
        """Give the model's memory back; it is built again when it is needed."""
        if [self.__dict__.pop(name) for name in ("_tokenizer", "model") if name in self.__dict__]:
            free_memory()

    @cached_property
    def _tokenizer(self) -> Any:
        """The tokenizer, None where the server renders chats. Raises ModelError where nobody can."""
        found = getattr(self.model, "tokenizer", None)
        if self.traits.chats:
            return None
        if not hasattr(found, "apply_chat_template"):
            raise ModelError(
                f"backend {self.traits.name!r} has no chat template: name a tokenizer that has one with"
                " --set backend_args.tokenizer=FOLDER_OR_ID."
            )
        return found

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:
        """See `prompts.render`. A chat that the server renders itself is written as JSON."""
        if self._tokenizer is not None:
            return render(self._tokenizer, messages, context, self.chat)
        self._note(template_note())
        return unrendered(messages, context, self.chat)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`; a server that does not answer gives a failed response.

        Raises StageError for context-aware decoding.
        """
        if any(r.contrast is not None for r in requests):
            raise StageError(f"context-aware decoding mixes logits, which backend {self.traits.name!r} does not give")
        if any(r.decoding.temperature > 0 for r in requests) and self.traits.seeding == "none":
            self._note(f"the backend {self.traits.name} takes no seed: sampled answers differ from run to run")
        if self.traits.served:
            _ = self.model  # built before the threads ask for it
            yield from in_threads(self._ask_server, requests, self.traits.workers)
            return
        for chunk in self._chunks(requests):
            yield from zip(chunk, self._answers([requests[i] for i in chunk]), strict=True)

    def likelihoods(self, asked: Sequence[Continuations]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """See `Generator`. Raises ModelError where the engine gives no log-probabilities."""
        for position, question in enumerate(asked):
            found = self._likelihoods(question)
            if found is None:
                raise ModelError(f"backend {self.traits.name!r} gives no log-probabilities of a text.")
            yield position, found

    def _chunks(self, requests: Sequence[Request]) -> Iterator[list[int]]:
        """Positions to answer together: the same decoding, and one alone where torch's generator makes the sample."""
        order = sorted(range(len(requests)), key=lambda i: (repr(requests[i].decoding), -len(requests[i].prompt), i))
        for decoding, group in groupby(order, key=lambda i: requests[i].decoding):
            members = list(group)
            alone = decoding.temperature > 0 and self.traits.seeding == "torch"
            size = 1 if alone else _CHUNK
            yield from (members[i : i + size] for i in range(0, len(members), size))

    def _ask_server(self, request: Request) -> Response:
        """One answer; what may pass by itself is tried again, with growing pauses of random length."""
        for attempt in range(self.traits.attempts):
            try:
                return self._answers([request])[0]
            except ModelError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a server sends; it becomes a counted row
                answer = failed(f"{type(error).__name__}: {error}")
                if not _passes(error):
                    break
            if attempt + 1 < self.traits.attempts:
                time.sleep(min(self.traits.pause * 2**attempt, _LONGEST_PAUSE) * random.uniform(0.5, 1.5))
        return answer

    def _answers(self, requests: Sequence[Request]) -> list[Response]:
        """Answers to requests of one decoding, in order."""
        fits = [r for r in requests if not self._overflows(r)]
        texts = iter(self._texts(fits) if fits else [])
        return [
            Response("", self._count(r.prompt), 0, "overflow") if self._overflows(r) else self._response(r, next(texts))
            for r in requests
        ]

    def _response(self, request: Request, text: str) -> Response:
        options = self._options(request)
        if request.decoding.max_new_tokens == 0 and options is None:
            text = self._generated([self._spoken(request)])[0]
        n_tokens = self._count(text)
        cut = 0 < request.decoding.max_new_tokens <= n_tokens
        kept = finished_text(text, request.decoding)
        return Response(kept, self._count(request.prompt), n_tokens, "length" if cut else "stop", options)

    def _texts(self, requests: Sequence[Request]) -> list[str]:
        """What the engine generates; nothing where only options are compared."""
        return [""] * len(requests) if requests[0].decoding.max_new_tokens == 0 else self._generated(requests)

    def _generated(self, requests: Sequence[Request]) -> list[str]:
        self._seed(requests)
        found = self.model.generate_until(
            [self._instance(r.prompt, self._settings(r)) for r in requests], disable_tqdm=True
        )
        if len(found) != len(requests) or any(not isinstance(text, str) for text in found):
            raise ValueError("the reply holds no answer")
        return list(found)

    def _seed(self, requests: Sequence[Request]) -> None:
        if self.traits.seeding == "torch" and requests[0].decoding.temperature > 0:
            import torch

            torch.manual_seed(requests[0].seed)

    def _settings(self, request: Request) -> dict[str, Any]:
        """The decoding in lm-eval's words. `until` must be there: its default cuts answers at a blank line."""
        d = request.decoding
        settings: dict[str, Any] = {"until": list(d.stop), "max_gen_toks": d.max_new_tokens}
        settings |= {"do_sample": d.temperature > 0, "temperature": d.temperature}
        if self.traits.seeding == "torch":  # transformers fills unset values from the model's generation_config.json
            settings |= {"top_k": 0, "repetition_penalty": 1.0}
        if d.temperature > 0:
            settings["top_p"] = d.top_p
            if self.traits.seeding == "request":
                settings["seed"] = request.seed % (1 << 31)
        return settings

    def _spoken(self, request: Request) -> Request:
        """The request with some tokens for an answer in words, in place of log-probabilities."""
        self._note(spoken_note(self.traits.name))
        return replace(request, decoding=replace(request.decoding, max_new_tokens=CHOICE_TOKENS))

    def _options(self, request: Request) -> tuple[float, ...] | None:
        found = self._likelihoods(Continuations(request.prompt, request.options)) if request.options else None
        return None if found is None else tuple(x.logprob for x in found)

    def _likelihoods(self, question: Continuations) -> tuple[Likelihood, ...] | None:
        """None where the engine gives no log-probabilities."""
        if self._tokenizer is None:
            return None
        asked = [self._instance(question.prompt, text, "loglikelihood") for text in question.texts]
        try:
            found = self.model.loglikelihood(asked, disable_tqdm=True)
        except NotImplementedError:
            return None
        except KeyError as error:  # an OpenAI-compatible server that knows no `echo` sends none
            if error.args != ("logprobs",):
                raise
            return None
        counts = [len(encode_pair(self._tokenizer, question.prompt, text)[1]) for text in question.texts]
        return tuple(Likelihood(float(p), n, bool(greedy)) for (p, greedy), n in zip(found, counts, strict=True))

    def _instance(self, prompt: str, argument: Any, kind: str = "generate_until") -> Any:
        from lm_eval.api.instance import Instance
        from lm_eval.models.api_models import JsonChatStr

        shown = prompt if self._tokenizer is not None else JsonChatStr(prompt)
        return Instance(kind, {}, (shown, argument), 0)

    def _overflows(self, request: Request) -> bool:
        """lm-eval would cut the beginning of the prompt away."""
        window = getattr(self.model, "max_length", None)
        if self._tokenizer is None or not isinstance(window, int):
            return False
        return self._count(request.prompt) + request.decoding.max_new_tokens > window

    def _count(self, text: str) -> int:
        """Tokens of a text, estimated where only the server has the tokenizer."""
        if self._tokenizer is not None:
            return len(self._tokenizer.encode(text, add_special_tokens=False))
        self._note(estimate_note())
        return estimated_tokens(text)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _passes(error: Exception) -> bool:
    """Whether another attempt makes sense: no answer, half an answer, or a status that says so."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status is None or status in _AGAIN
