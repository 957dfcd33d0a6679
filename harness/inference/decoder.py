"""Answers requests with a model of transformers: in slots, or one by one where its architecture allows no slots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.inference.continuous_batching import Batch, FinishReason, Job
from mipo_bench.harness.inference.forward import Forward, PrefilledPrompt, chunked, likelihood, width_for
from mipo_bench.harness.inference.memory import MOST_SLOTS, Budget, free_memory, is_out_of_memory
from mipo_bench.harness.inference.probe import SlotSupport
from mipo_bench.harness.inference.sampling import Draws, sample_tokens
from mipo_bench.harness.inference.slots import SlotBatch
from mipo_bench.harness.inference.tokens import encode_pair, finished_text
from mipo_bench.harness.protocols import Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.types import Response

if TYPE_CHECKING:
    import torch

_PROBE = 12
"""Tokens of the prompt on which an architecture is tried."""
_PROBE_STEPS = 3
_PROBE_COLUMNS = 384
_PROBE_ROWS = 32
_TOLERANCE = {"float32": 1e-3, "float64": 1e-3}
_LOW_PRECISION_TOLERANCE = 5e-2
"""Share of the range of the scores by which slots may differ from a plain call, by number format."""
_OPTION_CHUNK = 64
"""Responses that wait for each other, so that the likelihoods of their options are computed together."""
_LIKELIHOOD_CHUNK = 1024
"""Prompts that are ordered by length, and held in tokens, at once."""
_NEUTRAL_GENERATION_CONFIG: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
}
"""transformers fills unset values from the model's generation_config.json (Qwen2.5: repetition penalty, top-k)."""


@dataclass(frozen=True, slots=True)
class Size:
    """Tokens of a request's longest prompt, and columns of its slots: 0 where nothing is sampled."""

    longest: int
    columns: int


class Decoder:
    """A loaded model with its tokenizer. `rows` is the number of slots, which running out of memory halves."""

    def __init__(self, model: Any, tokenizer: Any, rows: int | Budget, max_total_tokens: int, notes: list[str]) -> None:
        """`rows` may be left to a memory budget: then it follows from the columns.

        `max_total_tokens` is the most tokens of prompt and response together; what a report should say goes to `notes`.
        """
        self.model, self.tokenizer = model, tokenizer
        self.budget = rows if isinstance(rows, Budget) else None
        self.rows = min(_PROBE_ROWS, rows.slots(_PROBE_COLUMNS)) if isinstance(rows, Budget) else rows
        self.max_slots = MOST_SLOTS if self.budget else self.rows
        """Slots that running out of memory has left."""
        self.max_total_tokens, self.notes = max_total_tokens, notes
        self.forward = Forward(model, self.max_slots, notes)
        self.eos_ids = _end_tokens(model, tokenizer)
        bos = tokenizer.bos_token_id
        self.bos_id = int(tokenizer.eos_token_id if bos is None else bos)
        """What stands for an empty prompt."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`. Longest prompts first, and equal ones one after the other, which computes them once."""
        for part in chunked(self._texts(requests), _OPTION_CHUNK):
            yield from self._with_options(part, requests)

    def _texts(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """The responses without the likelihoods of their options."""
        sizes = [self._size(request) for request in requests]
        for position, size in enumerate(sizes):
            if not size.columns:
                yield position, self._unsampled(requests[position])
        order = [i for i, size in enumerate(sizes) if size.columns]
        if not order:
            return
        order.sort(key=lambda i: (-sizes[i].longest, requests[i].prompt, i))
        if self.slot_support.resizable and self.budget is None:
            yield from self._sampled([(i, requests[i]) for i in order], max(sizes[i].columns for i in order))
            return
        order.sort(key=lambda i: -sizes[i].columns)
        for columns, group in groupby(order, key=lambda i: sizes[i].columns):
            yield from self._sampled([(i, requests[i]) for i in group], columns)

    def _with_options(
        self, found: Sequence[tuple[int, Response]], requests: Sequence[Request]
    ) -> Iterator[tuple[int, Response]]:
        """The same with the log-probability of each option in nats, where there are options and room for them."""
        asked = {
            i: LikelihoodRequest(requests[i].prompt, requests[i].options)
            for i, response in found
            if requests[i].options and response.finish != "overflow"
        }
        different = list(dict.fromkeys(asked.values()))
        likely = {different[n]: row for n, row in self.likelihoods(different)}
        for i, response in found:
            options = tuple(x.logprob for x in likely[asked[i]]) if i in asked else None
            yield i, replace(response, option_logprobs=options)

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """See `Generator`. Raises ModelError where a single prompt takes more memory than there is."""
        import torch

        for part in chunked(range(len(asked)), _LIKELIHOOD_CHUNK):
            try:
                with torch.inference_mode():
                    found = self._likelihoods([asked[i] for i in part])
            except Exception as error:
                if is_out_of_memory(error):
                    raise _out_of_memory(_said(error)) from error
                raise
            yield from zip(part, found, strict=True)

    def _likelihoods(self, questions: Sequence[LikelihoodRequest]) -> list[tuple[Likelihood, ...]]:
        pairs = [[encode_pair(self.tokenizer, q.prompt, text) for text in q.texts] for q in questions]
        prompts = [tuple(row[0][0] if row else ()) or (self.bos_id,) for row in pairs]
        tails = [[tuple(tail) for _, tail in row] for row in pairs]
        if not self.slot_support.supported:
            alone = self.forward.single_likelihood
            return [tuple(alone(p, tail) for tail in row) for p, row in zip(prompts, tails, strict=True)]
        return [tuple(row) for row in self.forward.likelihoods(list(zip(prompts, tails, strict=True)))]

    def encode(self, text: str) -> tuple[int, ...]:
        """Tokens of a rendered text, which has its special tokens already."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _size(self, request: Request) -> Size:
        job = self._job(0, request)
        longest = max(map(len, job.prompts))
        sampled = request.decoding.max_new_tokens and longest + request.decoding.max_new_tokens <= self.max_total_tokens
        return Size(longest, job.columns if sampled else 0)

    def _job(self, position: int, request: Request) -> Job:
        contrast = None if request.contrast is None else self.encode(request.contrast) or (self.bos_id,)
        coarse = self.forward.device.type != "cpu"
        return Job(position, request, self.encode(request.prompt) or (self.bos_id,), contrast, coarse)

    def _unsampled(self, request: Request) -> Response:
        prompt = self.encode(request.prompt)
        if request.decoding.max_new_tokens or len(prompt) > self.max_total_tokens:
            return Response("", len(prompt), 0, "overflow")
        return Response("", len(prompt), 0, "stop")

    def _sampled(self, asked: Iterable[tuple[int, Request]], columns: int) -> Iterator[tuple[int, Response]]:
        """Responses to requests of one width."""
        if self.budget is not None:
            self.rows = min(self.max_slots, self.budget.slots(columns))
        left = dict(asked)
        while left:
            try:
                for position, response in self._attempt(dict(left), columns):
                    del left[position]
                    yield position, response
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                failed = _said(error)
            else:
                return
            self._shrink(failed)

    def _attempt(self, asked: Mapping[int, Request], columns: int) -> Iterator[tuple[int, Response]]:
        jobs = (self._job(position, request) for position, request in asked.items())
        if not self.slot_support.supported:
            yield from ((job.position, self._generate_single(job)) for job in jobs)
            return
        contrasted = any(request.contrast is not None for request in asked.values())
        rows = max(self.rows, 1 + contrasted)
        slots = SlotBatch(
            self.forward, rows, columns, resizable=self.slot_support.resizable, cuda_graph=self.slot_support.cuda_graph
        )
        for grown in Batch(slots, jobs, self._finish_reason).run():
            job = grown.job
            yield job.position, self._response(job, grown.tokens, grown.finish or "length")

    def _shrink(self, failed: str) -> None:
        """Go on with half the slots. Raises ModelError where one is too many.

        It is called when the error is gone: that held the frames which held the memory.
        """
        if self.rows == 1:
            raise _out_of_memory(failed)
        free_memory()
        self.rows = self.max_slots = self.rows // 2
        self.notes.append(f"out of memory: prompts were answered {self.rows} at a time from there on")

    def _response(self, job: Job, tokens: Sequence[int], finish: FinishReason) -> Response:
        kept = tokens[:-1] if tokens[-1] in self.eos_ids else tokens
        whole = str(self.tokenizer.decode(kept, skip_special_tokens=True))
        text = finished_text(whole, job.request.decoding)
        return Response(text, len(job.prompt), len(kept), finish)

    def _finish_reason(self, request: Request, tokens: Sequence[int]) -> FinishReason | None:
        if tokens[-1] in self.eos_ids or self._stopped(tokens, request.decoding.stop):
            return "stop"
        return "length" if len(tokens) >= request.decoding.max_new_tokens else None

    def _stopped(self, tokens: Sequence[int], stops: Sequence[str]) -> bool:
        """Whether a stop string is among the last tokens. Few are looked at: each is a byte of text at least."""
        if not stops:
            return False
        reach = max(len(stop.encode()) for stop in stops) + 4
        tail = str(self.tokenizer.decode(tokens[-reach:], skip_special_tokens=True))
        return any(stop and stop in tail for stop in stops)

    @cached_property
    def slot_support(self) -> SlotSupport:
        """Try the model in slots once: against a plain call, and row against row.

        Raises ModelError where it does not compute numbers.
        """
        import torch

        while True:
            try:
                with torch.inference_mode():
                    found = self._probe()
                break
            except ModelError:
                raise
            except Exception as error:  # noqa: BLE001 - an architecture may refuse slots in any way
                if not is_out_of_memory(error):
                    found = SlotSupport(supported=False, reason=f"{type(error).__name__}: {error}")
                    break
                failed = _said(error)
            self._shrink(failed)
        if not found.supported:
            self.rows = 1
            self.notes.append(f"prompts were answered one by one: the architecture allows no slots ({found.reason})")
        elif not found.rows_round_alike:
            self.notes.append("rows of a batch are rounded differently here: near ties depend on what is in the batch")
        return found

    def _probe(self) -> SlotSupport:
        size = self.model.config.get_text_config().vocab_size
        ids = tuple((7 * i + 11) % size for i in range(_PROBE + _PROBE_STEPS))
        prompt, tail = ids[:_PROBE], ids[_PROBE:]
        plain = self.model(input_ids=self.forward.tensor([ids]), use_cache=False).logits[0, _PROBE - 1 :].float()
        if bool((plain.isnan() | plain.isposinf()).any()):  # a token that must not come may have minus infinity
            raise ModelError(
                "the model's scores are no numbers (NaN or infinite): its weights are damaged, or have grown too large"
                " in training (lower train.lr)."
            )
        width = width_for(_PROBE)
        rows = self.forward.prefill_batch([prompt] * self.forward.prompt_rows(width), width)
        graphed = self._probe_cuda_graph(rows[0], ids)
        full = graphed or self._probe_steps(rows[0], ids)
        short = None if graphed else self._probe_steps(rows[0], ids, resizable=True)
        said = [row[0] for row in self.forward.likelihoods([(prompt, [tail])] * len(rows))]
        mine = [rows[0].scores, *(scores[0] for scores in full)]
        apart = max(float((a - b).abs().max()) for a, b in zip(mine, plain, strict=True))
        apart = max(apart, abs(said[0].logprob - likelihood(plain, self.forward.tensor(tail)).logprob) / len(tail))
        share = apart / max(float(plain.max() - plain.min()), 1e-9)
        if not share <= _TOLERANCE.get(str(self.model.dtype).removeprefix("torch."), _LOW_PRECISION_TOLERANCE):
            return SlotSupport(supported=False, reason=f"scores differ by {share:.0%} of their range")
        rows_round_alike = all(bool((scores == scores[0]).all()) for scores in full) and len(set(said)) == 1
        return SlotSupport(
            supported=True,
            rows_round_alike=rows_round_alike and all(bool((row.scores == rows[0].scores).all()) for row in rows),
            resizable=short is not None and all(bool((a == b).all()) for a, b in zip(full, short, strict=True)),
            cuda_graph=graphed is not None,
        )

    def _probe_cuda_graph(self, prefix: PrefilledPrompt, ids: Sequence[int]) -> list[torch.Tensor] | None:
        """As `_probe_steps`, from recorded steps; None where they cannot be recorded."""
        devices = {weights.device for weights in self.model.parameters()}
        if len(devices) > 1 or self.model.device.type != "cuda":
            return None
        try:
            return self._probe_steps(prefix, ids, cuda_graph=True)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self.notes.append(f"steps were not recorded on the GPU, which is slower ({_said(error)})")
            return None

    def _probe_steps(
        self, prefix: PrefilledPrompt, ids: Sequence[int], *, resizable: bool = False, cuda_graph: bool = False
    ) -> list[torch.Tensor]:
        """Scores after each token beyond the prefix, which is in every slot."""
        slots = SlotBatch(self.forward, self.rows, _PROBE_COLUMNS, resizable=resizable, cuda_graph=cuda_graph)
        for row in range(self.rows):
            slots.insert(row, prefix)
        return [slots.step([ids[at]] * self.rows, [at] * self.rows) for at in range(len(prefix.ids), len(ids))]

    def _generate_single(self, job: Job) -> Response:
        """Answer one request with transformers' own loop."""
        import torch
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        if job.contrast is not None:
            raise ModelError("context-aware decoding needs a model that can be computed in slots; this one cannot")
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=job.request.decoding.max_new_tokens,
            eos_token_id=sorted(self.eos_ids),
            pad_token_id=self.tokenizer.pad_token_id,
            **_NEUTRAL_GENERATION_CONFIG,
        )
        ids = self.forward.tensor([job.prompt])
        watch = _SingleSequence(job.request, len(job.prompt), self._finish_reason)
        with torch.inference_mode():
            out = self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=settings,
                logits_processor=LogitsProcessorList([watch.choose]),
                stopping_criteria=StoppingCriteriaList([watch.ended]),
            )
        tokens = out[0, len(job.prompt) :].tolist()
        return self._response(job, tokens, self._finish_reason(job.request, tokens) or "length")


class _SingleSequence:
    """What transformers' loop asks while it generates a single response."""

    def __init__(self, request: Request, prompt_length: int, stop_check: Any) -> None:
        self.request, self.prompt_length, self.stop_check = request, prompt_length, stop_check
        self.draws = Draws(request.seed, request.decoding)

    def choose(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Leave only the token that our sampling picks."""
        import torch

        step = input_ids.shape[1] - self.prompt_length
        token = sample_tokens(scores.float(), [self.request.decoding], [self.draws.at(step)])
        return torch.full_like(scores, -torch.inf).index_fill(1, torch.tensor(token, device=scores.device), 0.0)

    def ended(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - the interface
        """Whether the response is finished, (1)."""
        import torch

        finish = self.stop_check(self.request, input_ids[0, self.prompt_length :].tolist())
        return torch.tensor([finish is not None], device=input_ids.device)


def _said(error: Exception) -> str:
    """The first line of its message."""
    return str(error).partition("\n")[0] or type(error).__name__


def _out_of_memory(failed: str) -> ModelError:
    return ModelError(
        f"out of memory with a single prompt at a time ({failed}). Use a smaller model, a shorter"
        " max_length, or --set dtype=bfloat16."
    )


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    found = set(ends) if isinstance(ends, list) else {ends}
    return {int(e) for e in found | {tokenizer.eos_token_id} if e is not None}
