"""How long a stage still takes, by the work that it has done so far: `Pace` counts the work, `left` is the estimate.

Two kinds of work are timed apart, because their shares change during a stage: reading (a prompt goes through the model
once, in characters) and decoding (a step appends a token to every response that is in a slot of the batch). Steps that
are left follow from the lengths of responses so far. The finished ones alone would be too short a sample, for long
responses finish last; so their survival curve is estimated with those that still run as censored ones (Kaplan and Meier
1958). Each kind has its own curve, for the answers to one prompt may be letters, and those to another one essays. Work
without tokens, such as a step of a training or a reply of a server, is taken to be even.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import mul
from typing import NamedTuple

from mipo_bench.harness.protocols import Request

Clock = Callable[[], float]
"""Seconds since any fixed moment."""
_LATEST = 100
"""The seconds of a decoding step are a mean over about so many of the latest ones."""
_KNOWN_SHARE = 1 / 3
"""No estimate is made from less than this share of the responses of one full batch."""
_EVEN_SHARE, _EVEN_ENOUGH = 0.1, 100
"""No estimate is made from less than this share of results that are taken to be even, unless they are so many."""
_KNOWN_KIND = 8
"""With so many finished responses of a kind, its lengths are estimated from them alone."""
_EVEN_LENGTHS = 1 / 4
"""The share of unknown responses that may have any length up to their limit; the others are like those of all kinds."""
_SIMULATED = 2000
"""Waiting responses whose way through the slots is simulated. Those beyond them count by their mean length."""
_GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, spread evenly from the first few on."""


class Kind(NamedTuple):
    """Responses that are expected to be about equally long: those of one source under one token limit."""

    source: str
    limit: int

    @staticmethod
    def of(request: Request) -> Kind:
        """The kind of the response to a request."""
        return Kind(request.source, request.decoding.max_new_tokens)


Length = tuple[Kind, int]
"""The kind of a response, and its tokens so far."""


@dataclass(frozen=True, slots=True)
class Work:
    """Work that the store lacks: `results` are all results, `characters` are to be read, `responses` to be decoded."""

    results: int = 0
    characters: int = 0
    responses: Mapping[Kind, int] = field(default_factory=dict)

    @staticmethod
    def sum(parts: Iterable[Work]) -> Work:
        """All of these parts."""
        results, characters, responses = 0, 0, Counter[Kind]()
        for part in parts:
            results, characters = results + part.results, characters + part.characters
            responses.update(part.responses)
        return Work(results, characters, responses)

    def without(self, part: Work) -> Work:
        """The rest, once another process has done a part."""
        responses = Counter(self.responses)
        responses.subtract(part.responses)
        return Work(self.results - part.results, self.characters - part.characters, responses)


class Pace:
    """Work that is done and left, and the seconds that it took. The time between two events counts for the later."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is expected yet."""
        self._clock = clock
        self.began = self._latest = self._latest_result = clock()
        self.work, self.processes = Work(), 1
        self.results = self.characters = self._steps = self._slots = self._ended_tokens = 0
        self._reading = self._step_seconds = 0.0
        self._running: Sequence[Length] = ()
        self._ended: defaultdict[Kind, Counter[int]] = defaultdict(Counter)
        self._estimate: tuple[float, float | None] | None = None

    def expect(self, work: Work, processes: int) -> None:
        """Add work that so many processes share. The clock starts at the first work."""
        if not self.work.results:
            self.began = self._latest = self._latest_result = self._clock()
        self.work, self.processes = Work.sum([self.work, work]), processes

    def spare(self, work: Work) -> None:
        """Take away work that another process has done. The time since the last event was spent on waiting for it."""
        self.work = self.work.without(work)
        self._latest = self._clock()

    def pause(self, seconds: float) -> None:
        """The last seconds were spent on something else, such as loading a model."""
        self.began += seconds
        self._latest = self._clock()

    def count_results(self, results: int) -> None:
        """Count results that were computed here."""
        self.results += results
        self._latest_result = self._clock()

    def count_read(self, characters: int) -> None:
        """Count prompts, or texts whose likelihoods are computed, by their characters."""
        self.characters += characters
        self._reading += self._since_latest()

    def count_step(self, running: Sequence[Length], ended: Sequence[Length]) -> None:
        """Count a decoding step, given the responses that run on, and those that it ended."""
        self._steps += 1
        self._step_seconds += (self._since_latest() - self._step_seconds) / min(self._steps, _LATEST)
        self._slots = max(self._slots, len(running) + len(ended))
        self._running = running
        for kind, tokens in ended:
            self._ended[kind][tokens] += 1
            self._ended_tokens += tokens

    def _since_latest(self) -> float:
        before, self._latest = self._latest, self._clock()
        return self._latest - before

    @property
    def tokens(self) -> int:
        """Tokens that were decoded."""
        return self._ended_tokens + sum(tokens for _, tokens in self._running)

    @property
    def share_read(self) -> float:
        """The share of the characters that is read."""
        return min(1.0, self.characters / max(1, self.work.characters))

    @property
    def reading_left(self) -> float:
        """Seconds left for the characters that are not read yet; 0 before the first."""
        unread = max(0, self.work.characters - self.characters)
        return self._reading * unread / self.characters / self.processes if self.characters else 0.0

    def left(self) -> float | None:
        """Seconds left; None while too little is done to know. It is estimated once a second."""
        now = self._clock()
        if self._estimate is None or now - self._estimate[0] >= 1:
            self._estimate = (now, self._measured_left() if self._steps or self.characters else self._even_left())
        return self._estimate[1]

    def _even_left(self) -> float | None:
        """Seconds left where one result takes as long as another."""
        if self.results < max(1, min(_EVEN_ENOUGH, _EVEN_SHARE * self.work.results)):
            return None
        each = (self._latest_result - self.began) / self.results
        begun = min(self._clock() - self._latest_result, each)
        return max(0.0, each * (self.work.results - self.results) - begun) / self.processes

    def _measured_left(self) -> float | None:
        ended, running = self._ended_so_far(), self._running
        waiting = self._waiting(ended, running)
        if not waiting and not running:
            return self.reading_left
        known = sum(lengths.total() for lengths in ended.values())
        if known < max(1, _KNOWN_SHARE * min(sum(self.work.responses.values()), self._slots)):
            return None
        return self.reading_left + self._step_seconds * Lengths(ended, running).steps_left(self._slots, waiting)

    def most_left(self) -> float | None:
        """Seconds left if each response became as long as it may; None before the first decoding step."""
        running = self._running
        if not self._steps:
            return None
        each = [kind.limit - tokens for kind, tokens in running]
        tokens = sum(each) + sum(kind.limit * n for kind, n in self._waiting(self._ended_so_far(), running).items())
        return self.reading_left + self._step_seconds * max(tokens / max(1, self._slots), *each, 0)

    def _ended_so_far(self) -> dict[Kind, Counter[int]]:
        """A copy, because the display reads it in a thread of its own."""
        return {kind: Counter(lengths) for kind, lengths in dict(self._ended).items()}

    def _waiting(self, ended: Mapping[Kind, Counter[int]], running: Sequence[Length]) -> dict[Kind, float]:
        """The responses that are not begun, as far as this process will begin them."""
        begun = Counter(kind for kind, _ in running)
        begun.update({kind: lengths.total() for kind, lengths in ended.items()})
        left = {kind: (n - begun[kind]) / self.processes for kind, n in self.work.responses.items()}
        return {kind: n for kind, n in left.items() if n > 0}


class Lengths:
    """The lengths of responses in tokens, estimated from those of finished ones and of those that still run."""

    def __init__(self, ended: Mapping[Kind, Counter[int]], running: Sequence[Length]) -> None:
        """No response is longer than the limit of its kind."""
        self._ended = {kind: counts for kind, counts in ended.items() if counts}
        self._running = running
        self._curves: dict[Kind | int, list[float]] = {}
        limit = max((kind.limit for kind in [*self._ended, *(kind for kind, _ in running)]), default=1)
        every = sum(self._ended.values(), Counter[int]())
        self._of_all = _survival(every, Counter(tokens for _, tokens in running), limit)

    def steps_left(self, slots: int, waiting: Mapping[Kind, float]) -> float:
        """Decoding steps until all have ended, where a waiting response takes the slot of one that has ended."""
        shares = zip(_even_shares(len(self._running)), self._running, strict=True)
        free_after = [self._length(kind, share, tokens) - tokens for share, (kind, tokens) in shares]
        free_after += [0] * (max(slots, 1) - len(free_after))
        heapq.heapify(free_after)
        unseen, simulated = 0.0, min(1.0, _SIMULATED / max(1.0, sum(waiting.values())))
        for kind, count in waiting.items():
            seen = math.ceil(count * simulated)
            for share in _even_shares(seen):
                heapq.heappush(free_after, heapq.heappop(free_after) + self._length(kind, share))
            unseen += max(0.0, count - seen) * sum(self._curve(kind))
        return max(free_after) + unseen / max(slots, 1)

    def _length(self, kind: Kind, share: float, reached: int = 0) -> int:
        """The length that this share of the kind's responses with more than `reached` tokens exceeds."""
        curve, low = self._curve(kind), min(reached, kind.limit - 1)
        return bisect_left(curve, -share * curve[low], lo=low + 1, key=lambda alive: -alive)

    def _curve(self, kind: Kind) -> list[float]:
        """For each length from 0 to the limit, the share of the kind's responses that are longer."""
        ended = self._ended.get(kind)
        if ended is None:
            return self._guess(kind.limit)
        if kind not in self._curves:
            own = _survival(ended, Counter(tokens for of, tokens in self._running if of == kind), kind.limit)
            weight = max(0.0, 1 - ended.total() / _KNOWN_KIND)
            self._curves[kind] = _mixed(self._guess(kind.limit), own, weight)
        return self._curves[kind]

    def _guess(self, limit: int) -> list[float]:
        """The same of a kind of which none has ended."""
        if limit not in self._curves:
            even = [1 - n / limit for n in range(limit + 1)]
            of_all = [*self._of_all[:limit], *[0.0] * (limit + 1 - len(self._of_all)), 0.0]
            self._curves[limit] = _mixed(even, of_all, _EVEN_LENGTHS)
        return self._curves[limit]


def _mixed(one: Sequence[float], other: Sequence[float], weight: float) -> list[float]:
    return [weight * a + (1 - weight) * b for a, b in zip(one, other, strict=True)]


def _survival(ended: Mapping[int, int], running: Mapping[int, int], longest: int) -> list[float]:
    """For each length from 0 to `longest`, the share of responses that are longer.

    Beyond the longest response so far, responses end as often as they did in the second half of the lengths up to it.
    """
    longest = max(longest, *ended, *running)
    counts = [ended.get(n, 0) + running.get(n, 0) for n in range(longest, -1, -1)]
    at_risk = list(accumulate(counts))[::-1]
    seen = max((n for n, rows in enumerate(at_risk) if rows), default=0)
    half = range(seen // 2 + 1, seen + 1)
    beyond = sum(ended.get(n, 0) for n in half) / max(1, sum(at_risk[n] for n in half))
    hazards = [ended.get(n, 0) / at_risk[n] if at_risk[n] else beyond for n in range(longest)]
    return [*accumulate((1 - hazard for hazard in hazards), mul), 0.0]


def _even_shares(count: int) -> Iterator[float]:
    """So many numbers between 0 and 1 that are spread evenly, and in no order."""
    return ((0.5 + n * _GOLDEN) % 1 for n in range(count))
