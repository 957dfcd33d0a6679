"""How long a stage still takes, by the work that it has done so far: `Pace` counts the work, `left` is the estimate.

Two kinds of work are timed apart, because their shares change during a stage: reading (a prompt goes through the model
once, in characters) and decoding (a step appends a token to every response that is in a slot of the batch). Steps that
are left follow from the lengths of responses so far. The finished ones alone would be too short a sample, for long
responses finish last; so their survival curve is estimated with those that still run as censored ones (Kaplan and Meier
1958). Work of another kind, such as a step of a training or a reply of a server, is taken to be even.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

Clock = Callable[[], float]
"""Seconds since any fixed moment."""
_LATEST = 100
"""The seconds of a decoding step are a mean over about so many of the latest ones."""
_KNOWN_SHARE = 1 / 3
"""No estimate is made from less than this share of the responses of one full batch."""
_EVEN_SHARE = 0.1
"""No estimate is made from less than this share of results that are taken to be even."""
_GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, spread evenly from the first few on."""


@dataclass(frozen=True, slots=True)
class Work:
    """Work that the store lacks.

    `results` is the number of all results, `responses` of those that are decoded, and `longest` the token limit of the
    longest. `characters` are to be read.
    """

    results: int = 0
    responses: int = 0
    characters: int = 0
    longest: int = 0

    @staticmethod
    def sum(parts: Iterable[Work]) -> Work:
        """All of these parts."""
        each = list(parts)
        return Work(
            sum(part.results for part in each),
            sum(part.responses for part in each),
            sum(part.characters for part in each),
            max((part.longest for part in each), default=0),
        )

    def without(self, part: Work) -> Work:
        """The rest, once another process has done a part."""
        less = (self.results - part.results, self.responses - part.responses, self.characters - part.characters)
        return Work(*less, self.longest)


class Pace:
    """Work that is done and left, and the seconds that it took. The time between two events counts for the later."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is expected yet."""
        self._clock = clock
        self.began = self._latest = self._latest_result = clock()
        self.work, self.processes = Work(), 1
        self.results = self.characters = self._steps = self._slots = 0
        self._reading = self._step_seconds = 0.0
        self._running: Sequence[int] = ()
        self._ended: list[int] = []
        self._estimate: tuple[float, float | None] | None = None

    def expect(self, work: Work, processes: int) -> None:
        """Add work that so many processes share. The clock starts at the first work."""
        if not self.work.results:
            self.began = self._latest = self._latest_result = self._clock()
        self.work, self.processes = Work.sum([self.work, work]), processes

    def spare(self, work: Work) -> None:
        """Take away work that another process has done."""
        self.work = self.work.without(work)

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

    def count_step(self, running: Sequence[int], ended: Sequence[int]) -> None:
        """Count a decoding step, given the tokens of each response that runs on, and of each that it ended."""
        self._steps += 1
        self._step_seconds += (self._since_latest() - self._step_seconds) / min(self._steps, _LATEST)
        self._slots = max(self._slots, len(running) + len(ended))
        self._running = running
        self._ended += ended

    def _since_latest(self) -> float:
        before, self._latest = self._latest, self._clock()
        return self._latest - before

    @property
    def tokens(self) -> int:
        """Tokens that were decoded."""
        return sum(self._ended) + sum(self._running)

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
        if self.results < max(1, _EVEN_SHARE * self.work.results):
            return None
        each = (self._latest_result - self.began) / self.results
        begun = min(self._clock() - self._latest_result, each)
        return max(0.0, each * (self.work.results - self.results) - begun) / self.processes

    def _measured_left(self) -> float | None:
        work, ended, running = self.work, list(self._ended), self._running
        reading = self.reading_left
        waiting = max(0, work.responses - len(ended) - len(running))
        if not waiting and not running:
            return reading
        if len(ended) < max(1, _KNOWN_SHARE * min(work.responses, self._slots)):
            return None
        lengths = Lengths(ended, running, work.longest)
        steps = lengths.steps_left(running, self._slots, round(waiting / self.processes))
        return reading + self._step_seconds * steps


class Lengths:
    """The lengths of responses in tokens, estimated from those of finished ones and of those that still run."""

    def __init__(self, ended: Sequence[int], running: Sequence[int], longest: int) -> None:
        """No response has more than `longest` tokens."""
        self.longest = max(longest, *ended, *running, 1)
        self._survival = _survival(Counter(ended), Counter(running), self.longest)

    def steps_left(self, running: Sequence[int], slots: int, waiting: int) -> int:
        """Decoding steps until all have ended, where a waiting response takes the slot of one that has ended."""
        shares = zip(_even_shares(len(running)), running, strict=True)
        free_after = [self._length(share, tokens) - tokens for share, tokens in shares]
        free_after += [0] * (max(slots, 1) - len(running))
        heapq.heapify(free_after)
        for share in _even_shares(waiting):
            heapq.heappush(free_after, heapq.heappop(free_after) + self._length(share))
        return max(free_after)

    def _length(self, share: float, reached: int = 0) -> int:
        """The length that this share of the responses with more than `reached` tokens exceeds."""
        surviving = share * self._survival[reached]
        return bisect_left(self._survival, -surviving, lo=reached + 1, key=lambda alive: -alive)


def _survival(ended: Mapping[int, int], running: Mapping[int, int], longest: int) -> list[float]:
    """For each length from 0 to `longest`, the share of responses that are longer.

    Beyond the longest response so far, responses end as often as they did in the second half of the lengths up to it.
    """
    counts = [ended.get(n, 0) + running.get(n, 0) for n in range(longest, -1, -1)]
    at_risk = list(accumulate(counts))[::-1]
    seen = max(n for n, rows in enumerate(at_risk) if rows)
    half = range(seen // 2 + 1, seen + 1)
    beyond = sum(ended.get(n, 0) for n in half) / max(1, sum(at_risk[n] for n in half))
    hazards = [ended.get(n, 0) / at_risk[n] if at_risk[n] else beyond for n in range(longest)]
    return [*accumulate((1 - hazard for hazard in hazards), mul), 0.0]


def _even_shares(count: int) -> Iterator[float]:
    """So many numbers between 0 and 1 that are spread evenly, and in no order."""
    return ((0.5 + n * _GOLDEN) % 1 for n in range(count))
