"""Continuous batching: as soon as a response ends, its slot takes the next request.

`ContinuousBatch.run` is the loop: admit requests to the free slots, compute one decoding step of all slots, append a
token to each running sequence. `RequestQueue` prefills the prompts of the next requests together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from mipo_bench.harness.core.pace import Kind, Length
from mipo_bench.harness.core.progress import current_stage
from mipo_bench.harness.inference.forward import Forward, PrefilledPrompt
from mipo_bench.harness.inference.memory import on_device
from mipo_bench.harness.inference.sampling import Draws, sample_tokens
from mipo_bench.harness.inference.slots import SlotBatch
from mipo_bench.harness.inference.tokens import FinishReason, TokenizedRequest
from mipo_bench.harness.protocols import Request

StopCheck = Callable[[Request, Sequence[int]], FinishReason | None]
"""Looks at the newest token of a response: how it ends there, or None."""


@dataclass(slots=True)
class RunningSequence:
    """A response while it is generated. `rows` are its slots: the prompt's, and the contrast's after it."""

    tokenized: TokenizedRequest
    rows: list[int]
    draws: Draws
    tokens: list[int] = field(default_factory=list)
    finish: FinishReason | None = None
    kind: Kind = field(init=False)

    def __post_init__(self) -> None:
        """The kind is asked for in every step."""
        self.kind = Kind.of(self.tokenized.request)

    @property
    def length(self) -> Length:
        """Its kind and its number of tokens."""
        return self.kind, len(self.tokens)

    @property
    def columns(self) -> list[int]:
        """The column of its newest token in each of its slots."""
        return [len(prompt) + len(self.tokens) - 1 for prompt in self.tokenized.prompts]


class RequestQueue:
    """Requests that wait for a slot. As many as a batch holds are prefilled together, just before the first of them."""

    def __init__(self, forward: Forward, requests: Iterable[TokenizedRequest]) -> None:
        """Requests whose longest prompts have the same width should follow one another."""
        self.forward = forward
        self._requests = iter(requests)
        self._next = next(self._requests, None)
        self._prefilled = deque[tuple[TokenizedRequest, list[PrefilledPrompt]]]()

    def __bool__(self) -> bool:
        """Whether any is left."""
        return bool(self._prefilled or self._next)

    @property
    def slots(self) -> int:
        """Slots that the next request takes; 0 where none is left."""
        request = self._prefilled[0][0] if self._prefilled else self._next
        return len(request.prompts) if request else 0

    def take(self) -> tuple[TokenizedRequest, list[PrefilledPrompt]]:
        """The next request, with its prompts in the order of `TokenizedRequest.prompts`."""
        if not self._prefilled:
            batch = self._next_batch()
            prompts = {done.ids: done for done in self.forward.prefill(p for request in batch for p in request.prompts)}
            current_stage().read(sum(len(request.request.prompt) for request in batch))
            self._prefilled.extend((request, [prompts[ids] for ids in request.prompts]) for request in batch)
        return self._prefilled.popleft()

    def _width(self, request: TokenizedRequest) -> int:
        return self.forward.width(request.longest)

    def _next_batch(self) -> list[TokenizedRequest]:
        """The next requests of one width, as many as have prompts for one batch."""
        batch: list[TokenizedRequest] = []
        different: set[tuple[int, ...]] = set()
        while self._next and (not batch or self._width(self._next) == self._width(batch[0])):
            different.add(self._next.prompt)
            if len(different) > self.forward.prompt_rows(self._width(self._next)):
                break
            batch.append(self._next)
            self._next = next(self._requests, None)
        return batch


class ContinuousBatch:
    """Requests of one width, answered together in the slots of one model."""

    def __init__(self, slots: SlotBatch, requests: Iterable[TokenizedRequest], stop_check: StopCheck) -> None:
        """Every one of the `requests`, which are taken as slots become free, must fit into the slots' columns."""
        self.slots, self.stop_check = slots, stop_check
        self.queue = RequestQueue(slots.forward, requests)
        self.free = list(range(slots.rows - 1, -1, -1))
        self.running: list[RunningSequence] = []

    def run(self) -> Iterator[RunningSequence]:
        """Finished responses, each as soon as it ends."""
        while self.queue or self.running:
            yield from self._round()

    @torch.inference_mode()
    def _round(self) -> list[RunningSequence]:
        """Admit requests to the free slots, then one step of all slots; the responses that ended."""
        ended = self._admit()
        if self.running:
            ended += self._step()
        current_stage().decode([s.length for s in self.running], [s.length for s in ended])
        return ended

    def _admit(self) -> list[RunningSequence]:
        new, logits, contrast = list[RunningSequence](), list[torch.Tensor](), list[torch.Tensor]()
        rows, placed = list[int](), list[PrefilledPrompt]()
        while 0 < self.queue.slots <= len(self.free):
            tokenized, prompts = self.queue.take()
            if placed and placed[-1].cache is not prompts[0].cache:  # so that no batch before it stays in memory
                self.slots.insert(rows, placed)
                rows, placed = [], []
            draws = Draws(tokenized.request.seed, tokenized.request.decoding)
            sequence = RunningSequence(tokenized, [self.free.pop() for _ in prompts], draws)
            rows += sequence.rows
            placed += prompts
            new.append(sequence)
            logits.append(prompts[0].logits)
            contrast += [prompt.logits for prompt in prompts[1:]]
        if not new:
            return []
        self.slots.insert(rows, placed)
        self.running += new
        own = torch.stack(logits)
        return self._append_tokens(new, contrastive_logits(new, own, torch.stack(contrast) if contrast else own[:0]))

    def _step(self) -> list[RunningSequence]:
        count = self._compacted()
        tokens, columns = [0] * count, [0] * count
        for sequence in self.running:
            for row, column in zip(sequence.rows, sequence.columns, strict=True):
                tokens[row], columns[row] = sequence.tokens[-1], column
        logits = self.slots.step(tokens, columns)
        own, contrast = (
            logits[self.slots.forward.tensor([row for s in self.running for row in s.rows[part]])]
            for part in (slice(1), slice(1, None))
        )
        return self._append_tokens(self.running, contrastive_logits(self.running, own, contrast))

    def _compacted(self) -> int:
        """Move responses into the first slots; the number of slots that the next step computes."""
        count = self.slots.count_for(self.slots.rows - len(self.free))
        self.free.sort(reverse=True)
        for rows in [s.rows for s in self.running]:
            for i, row in enumerate(rows):
                if row >= count:
                    rows[i] = self.free.pop()
                    self.slots.move(row, rows[i])
                    self.free.insert(0, row)
        return count

    def _append_tokens(self, sequences: Sequence[RunningSequence], logits: torch.Tensor) -> list[RunningSequence]:
        """Append a token to each of these responses; those that end there leave their slots."""
        decodings = [s.tokenized.request.decoding for s in sequences]
        draws = [s.draws.at(len(s.tokens)) for s in sequences]
        for sequence, token in zip(sequences, sample_tokens(logits, decodings, draws), strict=True):
            sequence.tokens.append(token)
            sequence.finish = self.stop_check(sequence.tokenized.request, sequence.tokens)
        ended = [s for s in sequences if s.finish]
        if ended:
            self.running = [s for s in self.running if not s.finish]
            self.free += [row for s in ended for row in s.rows]
        return ended


def contrastive_logits(
    sequences: Sequence[RunningSequence], logits: torch.Tensor, contrast: torch.Tensor
) -> torch.Tensor:
    """Context-aware decoding (arXiv 2305.14739): (1 + a) logits - a contrast, in the rows that have a contrast.

    `logits` is (responses, vocabulary), `contrast` (responses with a contrast, vocabulary).
    """
    rows = [i for i, s in enumerate(sequences) if s.tokenized.contrast is not None]
    if rows:
        weights = [sequences[i].tokenized.request.contrast_weight for i in rows]
        a = on_device(weights, logits.device, logits.dtype).unsqueeze(1)
        at = on_device(rows, logits.device, torch.long)
        logits[at] = (1 + a) * logits[at] - a * contrast
    return logits
