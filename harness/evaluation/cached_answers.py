"""Responses and likelihoods through the store: stored ones are read, the rest is computed and stored as it comes."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.pace import Kind, Work
from mipo_bench.harness.core.progress import Meter
from mipo_bench.harness.errors import StageError
from mipo_bench.harness.protocols import Generator, Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.work_sharing import shares
from mipo_bench.harness.types import Response

T = TypeVar("T")
FLUSH = 64
"""Answers per transaction, and so the most that are lost when the process is killed."""
_FLUSH_SECONDS = 10.0
"""No answer waits longer for its transaction, however slow the model: other processes and later runs look for it."""
_LOOK_SHARE = 1 / 50
"""The most of the time that looks for the results of other processes may take."""
_ROUNDING = 1e-4
"""How far above 0 a log-probability may be: those of some engines are rounded."""


def response_key(generator: Generator, request: Request) -> str:
    """The content key of a response; the seed is part of it only for a temperature above 0."""
    d = request.decoding
    sampling = (
        d.max_new_tokens,
        d.temperature,
        d.top_p,
        "|",
        *d.stop,
        "|",
        request.seed if d.temperature > 0 else None,
        *(["verbatim"] if d.verbatim else []),
    )
    contrast = () if request.contrast is None else ("contrast", request.contrast, request.contrast_weight)
    return digest(("response", generator.digest, request.prompt, *request.options, "|", *sampling, *contrast))


def likelihood_key(generator: Generator, prompt: str, text: str) -> str:
    """The content key of a likelihood."""
    return digest(("likelihood", generator.digest, prompt, text))


def answer(generator: Generator, requests: Sequence[Request], store: Store, meter: Meter) -> list[Response]:
    """Responses to all requests, in order. Equal requests are computed once, here or by another process on the store.

    Failed responses are not stored. A response whose log-probabilities of options are none is a failed response.
    """
    keys = [response_key(generator, r) for r in requests]
    by_key = dict(sorted(zip(keys, requests, strict=True), key=lambda pair: -len(pair[1].prompt)))

    def compute(names: Sequence[str]) -> Iterator[tuple[str, Response, int]]:
        for position, response in generator.generate([by_key[name] for name in names]):
            yield names[position], _checked(response, by_key[names[position]]), response.n_tokens

    def put(rows: Sequence[tuple[str, Response]]) -> None:
        _keep_notes(generator, store)
        store.put_responses(row for row in rows if not row[1].failed)

    times = Counter(keys)
    cached = CachedComputation(store.responses, compute, put, lambda name: response_work(by_key[name], times[name]))
    known = _complete({key: times[key] for key in by_key}, cached, store, meter)
    return [known[key] for key in keys]


def response_work(request: Request, times: int = 1) -> Work:
    """The work for a response that was requested so many times. Options are read after the prompt, once more."""
    limit = request.decoding.max_new_tokens
    texts = [request.prompt] * bool(limit) + [request.prompt, *request.options] * bool(request.options)
    return Work(times, sum(map(len, texts)), {Kind.of(request): 1} if limit else {})


def likelihood_work(request: LikelihoodRequest, times: int = 1) -> Work:
    """The work for the likelihoods of all texts of a prompt, which was requested so many times."""
    return Work(times, request.characters)


def _checked(response: Response, request: Request) -> Response:
    """The response, or a failed one where its log-probabilities of the options cannot be right."""
    values = response.option_logprobs
    if values is None:
        return response
    reason = _wrong(values)
    if request.options and len(values) != len(request.options):  # given answers come to a request without options
        reason = f"{len(values)} log-probabilities of {len(request.options)} options"
    return Response(f"the model gave {reason}", 0, 0, "failed") if reason else response


def _wrong(logprobs: Sequence[float]) -> str | None:
    """Why these cannot be log-probabilities of texts: the first that is NaN, infinite or above 0; None if none is."""
    wrong = (x for x in logprobs if not math.isfinite(x) or x > _ROUNDING)
    return next((f"the log-probability {x}, which is no finite number of at most 0" for x in wrong), None)


@dataclass(slots=True)
class Expected:
    """A meter for a part of the work that the `meter` expects already, with its total."""

    meter: Meter
    total: int = 0

    def expect(self, work: Work, processes: int = 1) -> None:
        """Do nothing."""

    def find(self, done: int, spared: Work | None = None) -> None:
        """See `Meter`."""
        self.meter.find(done, spared)

    def tick(self, done: int, tokens: int = 0) -> None:
        """See `Meter`."""
        self.meter.tick(done, tokens)


Found = dict[str, Likelihood]
"""Key -> likelihood."""


def likelihoods(
    generator: Generator, requests: Sequence[LikelihoodRequest], store: Store, meter: Meter
) -> list[tuple[Likelihood, ...]]:
    """The likelihood of every text after its prompt, in order; `meter` counts prompts.

    Raises StageError if a figure of the model is no log-probability.
    """
    rows = likelihoods_or_reasons(generator, requests, store, meter)
    for row in rows:
        if isinstance(row, str):
            raise StageError(row)
    return [row for row in rows if not isinstance(row, str)]


def likelihoods_or_reasons(
    generator: Generator, requests: Sequence[LikelihoodRequest], store: Store, meter: Meter
) -> list[tuple[Likelihood, ...] | str]:
    """As `likelihoods`, with a reason in place of a row that has a figure which is no log-probability.

    All texts of one prompt are computed together, so that it is prefilled once, and each text once, whichever requests
    have it. Texts that the store has are not computed again, and a figure that is no log-probability is not stored.
    """
    keys: dict[str, dict[str, str]] = {}
    for request in sorted(requests, key=lambda request: -len(request.prompt)):
        of_prompt = keys.setdefault(request.prompt, {})
        of_prompt |= {text: likelihood_key(generator, request.prompt, text) for text in request.texts}
    prompts = {digest(["prompt", *of_prompt.values()]): prompt for prompt, of_prompt in keys.items()}
    found: dict[str, Likelihood] = {}

    def stored(names: Sequence[str]) -> dict[str, Found]:
        found.update(store.likelihoods([key for name in names for key in keys[prompts[name]].values()]))
        return {name: {} for name in names if all(key in found for key in keys[prompts[name]].values())}

    def compute(names: Sequence[str]) -> Iterator[tuple[str, Found, int]]:
        missing = [{t: key for t, key in keys[prompts[name]].items() if key not in found} for name in names]
        asked = [LikelihoodRequest(prompts[name], tuple(row)) for name, row in zip(names, missing, strict=True)]
        for position, row in generator.likelihoods(asked):
            new = dict(zip(missing[position].values(), row, strict=True))
            found.update(new)
            yield names[position], new, sum(x.n_tokens for x in row)

    def put(rows: Sequence[tuple[str, Found]]) -> None:
        _keep_notes(generator, store)
        store.put_likelihoods(pair for _, new in rows for pair in new.items() if not _wrong([pair[1].logprob]))

    def work(name: str) -> Work:
        prompt = prompts[name]
        return likelihood_work(LikelihoodRequest(prompt, tuple(keys[prompt])), times[prompt])

    times = Counter(request.prompt for request in requests)
    cached = CachedComputation(stored, compute, put, work)
    _complete({name: times[prompt] for name, prompt in prompts.items()}, cached, store, meter)
    rows = [tuple(found[keys[request.prompt][text]] for text in request.texts) for request in requests]
    reasons = [_wrong([x.logprob for x in row]) for row in rows]
    return [f"the model gave {reason}" if reason else row for row, reason in zip(rows, reasons, strict=True)]


def _keep_notes(generator: Generator, store: Store) -> None:
    """Store the notes with the answers, because a later run that finds the answers in the store must show them too."""
    store.put_notes(generator.digest, generator.notes)


@dataclass(frozen=True, slots=True)
class CachedComputation(Generic[T]):
    """How to read, compute and store named values. `compute` yields (name, value, number of tokens).

    `work` is the work for one value, which counts as often as it was requested.
    """

    stored: Callable[[Sequence[str]], dict[str, T]]
    compute: Callable[[Sequence[str]], Iterator[tuple[str, T, int]]]
    put: Callable[[Sequence[tuple[str, T]]], None]
    work: Callable[[str], Work]


def _complete(times: Mapping[str, int], cached: CachedComputation[T], store: Store, meter: Meter) -> dict[str, T]:
    """The values of all names: from the store, computed here, or computed by other processes in the meantime.

    `times` counts the requests for each name. Its order is long prompts first: the parts that processes share then
    have prompts of about the same length, which make the fullest batches.
    """
    known = cached.stored(list(times))
    lacking = [name for name in times if name not in known]
    store.claims.need_help(len(lacking))
    meter.total += sum(times.values())
    meter.expect(Work.sum(map(cached.work, times)), store.claims.processes)
    meter.find(sum(times[name] for name in known), Work.sum(map(cached.work, known)))
    others = _Others(times, cached, meter, known)
    with closing(shares(store.claims, lacking, cached.stored)) as shared:
        for part in shared:
            others.find(part.found)
            rows: list[tuple[str, T]] = []
            flushed = time.monotonic()
            for name, value, tokens in cached.compute(part.mine) if part.mine else ():
                rows.append((name, value))
                if len(rows) == FLUSH or time.monotonic() - flushed > _FLUSH_SECONDS:
                    cached.put(rows)
                    known.update(rows)
                    rows, flushed = [], time.monotonic()
                    if store.claims.processes > 1:
                        others.look(lacking)
                meter.tick(times[name], tokens)
            cached.put(rows)
            known.update(rows)
    return known


@dataclass(slots=True)
class _Others(Generic[T]):
    """Finds the results of other processes, also before they are needed: they are no work that is left."""

    times: Mapping[str, int]
    cached: CachedComputation[T]
    meter: Meter
    known: dict[str, T]
    """All values so far, to which those of the others are added."""
    _not_before: float = 0.0

    def look(self, names: Sequence[str]) -> None:
        """Find those that are stored by now, unless the last look is too short a time ago."""
        if (began := time.monotonic()) >= self._not_before:
            self.find(self.cached.stored([name for name in names if name not in self.known]))
            ended = time.monotonic()
            self._not_before = ended + (ended - began) / _LOOK_SHARE

    def find(self, found: Mapping[str, T]) -> None:
        """Count these, unless they were counted before."""
        new = [name for name in found if name not in self.known]
        self.known.update(found)
        self.meter.find(sum(self.times[name] for name in new), Work.sum(map(self.cached.work, new)))
