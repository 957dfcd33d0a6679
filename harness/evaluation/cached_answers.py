"""Responses and likelihoods through the store: stored ones are read, the rest is computed and stored as it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.progress import Meter
from mipo_bench.harness.protocols import Generator, Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.work_sharing import shares
from mipo_bench.harness.types import Response

T = TypeVar("T")
FLUSH = 64
"""Answers per transaction, and so the most that are lost when the process is killed."""


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

    Failed responses are not stored.
    """
    keys = [response_key(generator, r) for r in requests]
    by_key = dict(sorted(zip(keys, requests, strict=True), key=lambda pair: -len(pair[1].prompt)))

    def compute(names: Sequence[str]) -> Iterator[tuple[str, Response, int]]:
        for position, response in generator.generate([by_key[name] for name in names]):
            yield names[position], response, response.n_tokens

    def put(rows: Sequence[tuple[str, Response]]) -> None:
        _keep_notes(generator, store)
        store.put_responses(row for row in rows if not row[1].failed)

    times = Counter(keys)
    known = _complete(
        {key: times[key] for key in by_key}, CachedComputation(store.responses, compute, put), store, meter
    )
    return [known[key] for key in keys]


def likelihoods(
    generator: Generator, requests: Sequence[LikelihoodRequest], store: Store, meter: Meter
) -> list[tuple[Likelihood, ...]]:
    """The likelihood of every text after its prompt, in order; `meter` counts prompts.

    The texts of one prompt are computed together: where the store lacks one, all are computed.
    """
    keys = [[likelihood_key(generator, a.prompt, text) for text in a.texts] for a in requests]
    names = [digest(row) for row in keys]
    times = Counter(names)
    places = {name: n for n, name in sorted(enumerate(names), key=lambda pair: -len(requests[pair[0]].prompt))}

    def stored(wanted: Sequence[str]) -> dict[str, tuple[Likelihood, ...]]:
        rows = {name: keys[places[name]] for name in wanted}
        known = store.likelihoods(list(dict.fromkeys(key for row in rows.values() for key in row)))
        return {name: tuple(known[k] for k in row) for name, row in rows.items() if all(k in known for k in row)}

    def compute(wanted: Sequence[str]) -> Iterator[tuple[str, tuple[Likelihood, ...], int]]:
        for position, row in generator.likelihoods([requests[places[name]] for name in wanted]):
            yield wanted[position], row, sum(x.n_tokens for x in row)

    def put(rows: Sequence[tuple[str, tuple[Likelihood, ...]]]) -> None:
        _keep_notes(generator, store)
        store.put_likelihoods(pair for name, row in rows for pair in zip(keys[places[name]], row, strict=True))

    known = _complete({name: times[name] for name in places}, CachedComputation(stored, compute, put), store, meter)
    return [known[name] for name in names]


def _keep_notes(generator: Generator, store: Store) -> None:
    """Store the notes with the answers, because a later run that finds the answers in the store must show them too."""
    store.put_notes(generator.digest, generator.notes)


@dataclass(frozen=True, slots=True)
class CachedComputation(Generic[T]):
    """How to read, compute and store named values. `compute` yields (name, value, number of tokens)."""

    stored: Callable[[Sequence[str]], dict[str, T]]
    compute: Callable[[Sequence[str]], Iterator[tuple[str, T, int]]]
    put: Callable[[Sequence[tuple[str, T]]], None]


def _complete(times: Mapping[str, int], work: CachedComputation[T], store: Store, meter: Meter) -> dict[str, T]:
    """The values of all names: from the store, computed here, or computed by other processes in the meantime.

    `times` counts the requests for each name. Its order is long prompts first: the parts that processes share then
    have prompts of about the same length, which make the fullest batches.
    """
    known = work.stored(list(times))
    meter.total += sum(times.values())
    meter.tick(sum(times[name] for name in known))  # shows the total before the first answer
    with closing(shares(store.claims, [name for name in times if name not in known], work.stored)) as shared:
        for part in shared:
            meter.tick(sum(times[name] for name in part.found))
            known.update(part.found)
            rows: list[tuple[str, T]] = []
            for name, value, tokens in work.compute(part.mine) if part.mine else ():
                rows.append((name, value))
                if len(rows) == FLUSH:
                    work.put(rows)
                    known.update(rows)
                    rows = []
                meter.tick(times[name], tokens)
            work.put(rows)
            known.update(rows)
    return known
