"""Answer requests, each only once: what the store has is taken from it, the rest is generated batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mipo_bench.harness.provenance import digest
from mipo_bench.harness.store import Store
from mipo_bench.harness.types import Generator, Request, Response


class Meter(Protocol):
    """Counts answers and newly generated tokens."""

    total: int

    def tick(self, done: int, tokens: int = 0) -> None:
        """Count more of them."""
        ...


def response_key(generator: Generator, request: Request) -> str:
    """The content key of a response; the seed counts only where something is sampled."""
    d = request.decoding
    sampling = (d.max_new_tokens, d.temperature, d.top_p, request.seed if d.temperature > 0 else None)
    return digest(("response", generator.digest, request.prompt, *request.options, "|", *sampling))


def answer(generator: Generator, requests: Sequence[Request], store: Store, meter: Meter) -> list[Response]:
    """Responses to all requests, in order.

    Batches are laid out over all requests, known or not, and a batch that lacks an answer is generated whole: rounding
    depends on a batch's shape, so an answer must not depend on what the store had. An answer that is stored stands.
    """
    keys = [response_key(generator, r) for r in requests]
    unique = dict(zip(keys, requests, strict=True))
    names, distinct = list(unique), list(unique.values())
    known = store.responses(names)
    meter.total += len(names)
    meter.tick(0)  # shows the total before the first batch is done
    for batch in generator.batches(distinct):
        fresh = any(names[i] not in known for i in batch)
        if fresh:
            new = generator.generate([distinct[i] for i in batch])
            rows = [(names[i], r) for i, r in zip(batch, new, strict=True) if names[i] not in known]
            store.put_responses(rows)
            known.update(rows)
        meter.tick(len(batch), sum(known[names[i]].n_tokens for i in batch) if fresh else 0)
    return [known[key] for key in keys]
