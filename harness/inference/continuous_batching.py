"""Continuous batching: a slot that ends takes the next request at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mipo_bench.harness.inference.forward import Forward, PrefilledPrompt, width_for
from mipo_bench.harness.inference.sampling import Draws, sample_tokens
from mipo_bench.harness.inference.slots import SlotBatch, columns_for
from mipo_bench.harness.protocols import Request

if TYPE_CHECKING:
    import torch


FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Job:
    """A request in tokens. `contrast` are those of its contrast prompt, None without one.

    `coarse` is as in `columns_for`.
    """

    position: int
    request: Request
    prompt: tuple[int, ...]
    contrast: tuple[int, ...] | None = None
    coarse: bool = False

    @property
    def prompts(self) -> list[tuple[int, ...]]:
        """One for each slot that it takes."""
        return [self.prompt] if self.contrast is None else [self.prompt, self.contrast]

    @property
    def width(self) -> int:
        """Columns that its longest prompt is computed in."""
        return width_for(max(map(len, self.prompts)))

    @property
    def columns(self) -> int:
        """Columns of its slots."""
        tokens = max(map(len, self.prompts)) + self.request.decoding.max_new_tokens
        return columns_for(tokens, coarse=self.coarse)


@dataclass(slots=True)
class RunningSequence:
    """A response while it is generated. `rows` are its slots: the prompt's, and the contrast's after it."""

    job: Job
    rows: list[int]
    draws: Draws
    tokens: list[int] = field(default_factory=list)
    finish: FinishReason | None = None

    @property
    def columns(self) -> list[int]:
        """Where its newest token goes in each of its slots."""
        return [len(prompt) + len(self.tokens) - 1 for prompt in self.job.prompts]


StopCheck = Callable[[Request, Sequence[int]], FinishReason | None]
"""Looks at the newest token of a response: how it ends there, or None."""


class RequestQueue:
    """Jobs that wait for a slot, the next ones with their prompts computed: as many together as a batch holds."""

    def __init__(self, forward: Forward, jobs: Iterable[Job]) -> None:
        """Jobs whose longest prompts have the same width should follow one another."""
        self.forward = forward
        self._jobs = iter(jobs)
        self._next_job = next(self._jobs, None)
        self._prefilled = deque[tuple[Job, list[PrefilledPrompt]]]()

    def __bool__(self) -> bool:
        """Whether any is left."""
        return bool(self._prefilled or self._next_job)

    @property
    def slots(self) -> int:
        """Slots that the next job takes; 0 where none is left."""
        job = self._prefilled[0][0] if self._prefilled else self._next_job
        return len(job.prompts) if job else 0

    def take(self) -> tuple[Job, list[PrefilledPrompt]]:
        """The next job, with its prompts in the order of `Job.prompts`."""
        if not self._prefilled:
            jobs = self._take_same_width()
            found = {prefix.ids: prefix for prefix in self.forward.prefill(p for job in jobs for p in job.prompts)}
            self._prefilled.extend((job, [found[prompt] for prompt in job.prompts]) for job in jobs)
        return self._prefilled.popleft()

    def _take_same_width(self) -> list[Job]:
        """The next jobs of one width, as many as have prompts for one batch."""
        jobs: list[Job] = []
        different: set[tuple[int, ...]] = set()
        while self._next_job and (not jobs or self._next_job.width == jobs[0].width):
            different.add(self._next_job.prompt)
            if len(different) > self.forward.prompt_rows(self._next_job.width):
                break
            jobs.append(self._next_job)
            self._next_job = next(self._jobs, None)
        return jobs


class Batch:
    """Requests of one width, answered together in the slots of one model."""

    def __init__(self, slots: SlotBatch, jobs: Iterable[Job], stop_check: StopCheck) -> None:
        """Every one of the `jobs`, which are taken as slots become free, must fit into the slots' columns."""
        self.slots, self.stop_check = slots, stop_check
        self.queue = RequestQueue(slots.forward, jobs)
        self.free = list(range(slots.rows - 1, -1, -1))
        self.running: list[RunningSequence] = []

    def run(self) -> Iterator[RunningSequence]:
        """Finished responses, each as soon as it ends."""
        while self.queue or self.running:
            yield from self._round()

    def _round(self) -> list[RunningSequence]:
        """Fill what is free, then one step of all slots; the responses that ended."""
        import torch

        with torch.inference_mode():
            ended = self._fill()
            return ended + self._step() if self.running else ended

    def _fill(self) -> list[RunningSequence]:
        import torch

        new, scores = list[RunningSequence](), list[list[torch.Tensor]]()
        while 0 < self.queue.slots <= len(self.free):
            job, prefixes = self.queue.take()
            grown = RunningSequence(
                job, [self.free.pop() for _ in prefixes], Draws(job.request.seed, job.request.decoding)
            )
            for row, prefix in zip(grown.rows, prefixes, strict=True):
                self.slots.insert(row, prefix)
            new.append(grown)
            scores.append([prefix.scores for prefix in prefixes])
        if not new:
            return []
        self.running += new
        first, last = (torch.stack([each[i] for each in scores]) for i in (0, -1))
        return self._append_tokens(new, contrastive_logits(new, first, last))

    def _step(self) -> list[RunningSequence]:
        tokens, columns = [0] * self.slots.rows, [0] * self.slots.rows
        for grown in self.running:
            for row, column in zip(grown.rows, grown.columns, strict=True):
                tokens[row], columns[row] = grown.tokens[-1], column
        scores = self.slots.step(tokens, columns)
        first, last = ([g.rows[i] for g in self.running] for i in (0, -1))
        return self._append_tokens(self.running, contrastive_logits(self.running, scores[first], scores[last]))

    def _append_tokens(self, grown: Sequence[RunningSequence], scores: torch.Tensor) -> list[RunningSequence]:
        """Append a token to each of these responses; those that end there leave their slots."""
        decodings = [g.job.request.decoding for g in grown]
        draws = [g.draws.at(len(g.tokens)) for g in grown]
        for one, token in zip(grown, sample_tokens(scores, decodings, draws), strict=True):
            one.tokens.append(token)
            one.finish = self.stop_check(one.job.request, one.tokens)
        ended = [g for g in grown if g.finish]
        if ended:
            self.running = [g for g in self.running if not g.finish]
            self.free += [row for g in ended for row in g.rows]
        return ended


def contrastive_logits(
    sequences: Sequence[RunningSequence], scores: torch.Tensor, contrast: torch.Tensor
) -> torch.Tensor:
    """Context-aware decoding (arXiv 2305.14739): (1 + a) scores - a contrast, in the rows that have a contrast.

    Both are (responses, vocabulary).
    """
    rows = [i for i, g in enumerate(sequences) if g.job.contrast is not None]
    if rows:
        a = scores.new_tensor([sequences[i].job.request.contrast_weight for i in rows]).unsqueeze(1)
        scores[rows] = (1 + a) * scores[rows] - a * contrast[rows]
    return scores
