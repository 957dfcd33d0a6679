"""Answers requests with one loaded model of transformers, by continuous batching in slots of a KV cache.

`Decoder.generate` samples responses, `Decoder.likelihoods` scores given texts. Both choose the order and the shape of
the computations, so that an answer depends on its own request alone, and go on with fewer slots where memory runs out.
An architecture that allows no slots (see `probe`) is answered one request at a time (see `one_by_one`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

import torch
from transformers import PreTrainedModel

from mipo_bench.harness.core.progress import current_stage
from mipo_bench.harness.errors import ModelError, first_line
from mipo_bench.harness.inference.continuous_batching import ContinuousBatch
from mipo_bench.harness.inference.forward import Forward
from mipo_bench.harness.inference.likelihoods import LikelihoodScorer, OnTokens, Question
from mipo_bench.harness.inference.memory import MAX_SLOTS, Budget, free_memory, is_out_of_memory
from mipo_bench.harness.inference.one_by_one import generate_single
from mipo_bench.harness.inference.probe import PROBE_COLUMNS, PROBE_ROWS, SlotProbe, SlotSupport
from mipo_bench.harness.inference.shapes import in_parts
from mipo_bench.harness.inference.slots import SlotBatch
from mipo_bench.harness.inference.tokens import TextCodec, TokenizedRequest
from mipo_bench.harness.protocols import Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.types import Response

_WITH_OPTIONS = 64
"""Responses that wait for each other, so that the likelihoods of their options are computed together."""
_LIKELIHOOD_CHUNK = 1024
"""Prompts that are ordered by length, and held in tokens, at once."""


@dataclass(frozen=True, slots=True)
class _Size:
    """Tokens of a request's longest prompt, and columns of its slots."""

    longest: int
    columns: int
    prefix: tuple[int, int]
    """Length, negative, and hash of the part of its prompt that others may share: those that do follow one another."""


class Decoder:
    """A loaded model with the codec of its tokenizer. Running out of memory halves `slots`, the number of its slots."""

    def __init__(
        self,
        model: PreTrainedModel,
        codec: TextCodec,
        slots: int | Budget,
        max_total_tokens: int,
        notes: list[str],
    ) -> None:
        """The number of slots may be left to a memory budget: then it follows from their columns.

        `max_total_tokens` limits prompt and response together; remarks for the report are added to `notes`.
        """
        self.model, self.codec, self.max_total_tokens, self.notes = model, codec, max_total_tokens, notes
        self.budget = slots if isinstance(slots, Budget) else None
        self.slots = min(PROBE_ROWS, slots.slots(PROBE_COLUMNS)) if isinstance(slots, Budget) else slots
        self.max_slots = MAX_SLOTS if self.budget else self.slots
        """The most slots that memory holds, as far as is known."""
        self.forward = Forward(model, self.max_slots, notes, codec.eos_ids)
        self.scorer = LikelihoodScorer(self.forward)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`. Longest prompts first, and equal ones one after the other, which computes them once."""
        waiting: list[tuple[int, Response]] = []
        for position, response in self._responses(requests):
            if not requests[position].options:
                yield position, response
                continue
            waiting.append((position, response))
            if len(waiting) == _WITH_OPTIONS:
                yield from self._with_options(waiting, requests)
                waiting = []
        yield from self._with_options(waiting, requests)

    def _responses(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """The responses without the likelihoods of their options."""
        sizes: dict[int, _Size] = {}
        for position, request in enumerate(requests):
            tokenized = self._tokenized(position, request)
            if self._is_sampled(tokenized):
                prefix = tokenized.prompt[: self.forward.prefix_length(tokenized.prompt)]
                sizes[position] = _Size(tokenized.longest, tokenized.columns, (-len(prefix), hash(prefix)))
            else:
                yield position, self._unsampled(request)
        order = sorted(sizes, key=lambda i: (sizes[i].prefix, -sizes[i].longest, requests[i].prompt, i))
        if not order:
            return
        if self.slot_support.resizable and self.budget is None:
            yield from self._sampled([(i, requests[i]) for i in order], max(sizes[i].columns for i in order))
            return
        order.sort(key=lambda i: -sizes[i].columns)
        for columns, group in groupby(order, key=lambda i: sizes[i].columns):
            yield from self._sampled([(i, requests[i]) for i in group], columns)

    def _with_options(
        self, responses: Sequence[tuple[int, Response]], requests: Sequence[Request]
    ) -> Iterator[tuple[int, Response]]:
        """The same with the log-probability of each option in nats, unless the prompt was too long."""
        questions = {
            i: LikelihoodRequest(requests[i].prompt, requests[i].options)
            for i, response in responses
            if response.finish != "overflow"
        }
        different = list(dict.fromkeys(questions.values()))
        found = {different[n]: row for n, row in self.likelihoods(different)}
        for i, response in responses:
            options = tuple(x.logprob for x in found[questions[i]]) if i in questions else None
            yield i, replace(response, option_logprobs=options)

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """See `Generator`. Raises ModelError where a single prompt takes more memory than there is."""
        for part in in_parts(range(len(asked)), _LIKELIHOOD_CHUNK):
            try:
                with torch.inference_mode():
                    found = self._likelihoods([asked[i] for i in part])
            except Exception as error:
                if is_out_of_memory(error):
                    raise _too_large(first_line(error)) from error
                raise
            yield from zip(part, found, strict=True)

    def _likelihoods(self, asked: Sequence[LikelihoodRequest]) -> list[tuple[Likelihood, ...]]:
        """A text after the empty prompt is scored in windows."""
        alone = {text for q in asked if not q.prompt for text in q.texts}
        windows = {text: self.codec.windows(text, self.max_total_tokens) for text in alone}
        questions: list[Question] = []
        for q in asked:
            if q.prompt:
                pairs = [self.codec.encode_pair(q.prompt, text) for text in q.texts]
                questions.append((pairs[0][0] if pairs else (self.codec.bos_id,), [text for _, text in pairs]))
            else:
                questions += [(before, [part]) for text in q.texts for before, part in windows[text]]
        rows = iter(self._figures(asked, questions))
        return [
            tuple(next(rows)) if q.prompt else tuple(_sum([next(rows)[0] for _ in windows[text]]) for text in q.texts)
            for q in asked
        ]

    def _figures(self, asked: Sequence[LikelihoodRequest], questions: Sequence[Question]) -> list[list[Likelihood]]:
        if not self.slot_support.supported:
            single = self.scorer.single_likelihood
            return [[single(prompt, text) for text in texts] for prompt, texts in questions]
        with _counted_on_stage(asked, questions) as on_tokens:
            return self.scorer.likelihoods(questions, on_tokens)

    def _tokenized(self, position: int, request: Request) -> TokenizedRequest:
        contrast = None if request.contrast is None else self.codec.encode_prompt(request.contrast)
        return TokenizedRequest(
            position, request, self.codec.encode_prompt(request.prompt), contrast, self.forward.shapes
        )

    def _is_sampled(self, tokenized: TokenizedRequest) -> bool:
        """Whether tokens are wanted, and prompt and response fit into the model's window."""
        wanted = tokenized.request.decoding.max_new_tokens
        return bool(wanted) and tokenized.longest + wanted <= self.max_total_tokens

    def _unsampled(self, request: Request) -> Response:
        prompt = self.codec.encode(request.prompt)
        overflow = request.decoding.max_new_tokens or len(prompt) > self.max_total_tokens
        return Response("", len(prompt), 0, "overflow" if overflow else "stop")

    def _sampled(self, asked: Iterable[tuple[int, Request]], columns: int) -> Iterator[tuple[int, Response]]:
        """Responses to requests of one width, with fewer slots for the rest where memory runs out."""
        if self.budget is not None:
            self.slots = min(self.max_slots, self.budget.slots(columns))
        left = dict(asked)
        while left:
            try:
                for position, response in self._attempt(dict(left), columns):
                    del left[position]
                    yield position, response
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = first_line(error)
            else:
                return
            self._halve_slots(reason)

    def _attempt(self, asked: Mapping[int, Request], columns: int) -> Iterator[tuple[int, Response]]:
        requests = (self._tokenized(position, request) for position, request in asked.items())
        support, finish_reason = self.slot_support, self.codec.finish_reason
        if not support.supported:
            for one in requests:
                tokens = generate_single(self.model, self.codec, one)
                finish = finish_reason(one.request, tokens) or "length"
                yield one.position, self.codec.response(one, tokens, finish)
            return
        contrasted = any(request.contrast is not None for request in asked.values())
        rows = max(self.slots, 1 + contrasted)
        slots = SlotBatch(
            self.forward,
            rows,
            columns,
            resizable=support.resizable,
            row_counts=[count for count in support.row_counts if count < rows],
            cuda_graph=support.cuda_graph,
        )
        for done in ContinuousBatch(slots, requests, finish_reason).run():
            yield done.tokenized.position, self.codec.response(done.tokenized, done.tokens, done.finish or "length")

    def _halve_slots(self, reason: str) -> None:
        """Go on with half the slots. Raises ModelError where one is too many.

        Call it after the exception is gone: its traceback keeps the frames alive, and these keep the memory in use.
        """
        if self.slots == 1:
            raise _too_large(reason)
        free_memory()
        self.slots = self.max_slots = self.slots // 2
        self.notes.append(f"out of memory: prompts were answered {self.slots} at a time from there on")

    @cached_property
    def slot_support(self) -> SlotSupport:
        """Probe the model in slots once. Raises ModelError where its logits are no numbers."""
        while True:
            try:
                with current_stage().doing("trying batches"):
                    found = SlotProbe(self.forward, self.slots).run()
                break
            except ModelError:
                raise
            except Exception as error:  # noqa: BLE001 - an architecture may refuse slots in any way
                if not is_out_of_memory(error):
                    found = SlotSupport(supported=False, reason=f"{type(error).__name__}: {error}")
                    break
                reason = first_line(error)
            self._halve_slots(reason)
        if not found.supported:
            self.slots = 1
            self.notes.append(f"prompts were answered one by one: the architecture allows no slots ({found.reason})")
        elif not found.rows_round_alike:
            self.notes.append("rows of a batch are rounded differently here: near ties depend on the rest of the batch")
        return found


@contextmanager
def _counted_on_stage(asked: Sequence[LikelihoodRequest], questions: Sequence[Question]) -> Iterator[OnTokens]:
    """Count the questions' tokens on the current stage as they come; at the end those that took no computation."""
    stage = current_stage()
    characters, scored = sum(q.characters for q in asked), sum(len(text) for _, texts in questions for text in texts)
    tokens = sum(len(prompt) for prompt, _ in questions) + scored

    def on_tokens(computed: int, of_texts: int) -> None:
        nonlocal characters, scored, tokens
        share = round(characters * computed / max(tokens, 1))
        stage.read(share, of_texts)
        characters, scored, tokens = characters - share, scored - of_texts, tokens - computed

    yield on_tokens
    stage.read(characters, scored)


def _sum(parts: Sequence[Likelihood]) -> Likelihood:
    """The likelihood of a text by those of its parts."""
    return Likelihood(sum(x.logprob for x in parts), sum(x.n_tokens for x in parts), all(x.greedy for x in parts))


def _too_large(reason: str) -> ModelError:
    return ModelError(
        f"out of memory with a single prompt at a time ({reason}). Use a smaller model, a shorter"
        " max_length, or --set dtype=bfloat16."
    )
