"""Responses and likelihoods through the store: stored ones are read, the rest is computed and stored as it comes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.pace import Work
from mipo_bench.harness.core.progress import Meter
from mipo_bench.harness.errors import StageError
from mipo_bench.harness.protocols import Generator, Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.work_sharing import shares
from mipo_bench.harness.types import Response

T = TypeVar("T")
FLUSH = 64
"""Answers per transaction, and so the most that are lost when the process is killed."""


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
    cached = CachedComputation(store.responses, compute, put, lambda name: _work(by_key[name], times[name]))
    known = _complete({key: times[key] for key in by_key}, cached, store, meter)
    return [known[key] for key in keys]


def _work(request: Request, times: int) -> Work:
    """The work for a response that was requested so many times. Options are read after the prompt, once more."""
    limit = request.decoding.max_new_tokens
    texts = [request.prompt] * bool(limit) + [request.prompt, *request.options] * bool(request.options)
    return Work(times, int(limit > 0), sum(map(len, texts)), limit)


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
        return Work(times[prompt], characters=LikelihoodRequest(prompt, tuple(keys[prompt])).characters)

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
    meter.find(sum(times[name] for name in known))
    meter.expect(Work.sum(map(cached.work, lacking)), store.claims.processes)
    with closing(shares(store.claims, lacking, cached.stored)) as shared:
        for part in shared:
            meter.find(sum(times[name] for name in part.found), Work.sum(map(cached.work, part.found)))
            known.update(part.found)
            rows: list[tuple[str, T]] = []
            for name, value, tokens in cached.compute(part.mine) if part.mine else ():
                rows.append((name, value))
                if len(rows) == FLUSH:
                    cached.put(rows)
                    known.update(rows)
                    rows = []
                meter.tick(times[name], tokens)
            cached.put(rows)
            known.update(rows)
    return known
