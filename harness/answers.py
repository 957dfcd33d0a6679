"""Ask a model, each thing only once: what the store has is taken from it, the rest is asked and stored as it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from mipo_bench.harness.provenance import digest
from mipo_bench.harness.store import Store
from mipo_bench.harness.types import Continuations, Generator, Likelihood, Request, Response

FLUSH = 64
"""Answers that are stored in one transaction: as many are lost at most when the process is killed."""


class Meter(Protocol):
    """Counts answers and newly generated tokens."""

    total: int

    def tick(self, done: int, tokens: int = 0) -> None:
        """Count more of them."""
        ...


def response_key(generator: Generator, request: Request) -> str:
    """The content key of a response; the seed counts only where something is sampled."""
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
    """Responses to all requests, in order; equal requests are asked once. What failed is not stored."""
    keys = [response_key(generator, r) for r in requests]
    known = store.responses(list(dict.fromkeys(keys)))
    missing = {key: r for key, r in zip(keys, requests, strict=True) if key not in known}
    meter.total += len(requests)
    meter.tick(len(requests) - sum(key in missing for key in keys))  # shows the total before the first answer too
    times = Counter(keys)
    names, rows = list(missing), list[tuple[str, Response]]()
    for position, response in generator.generate(list(missing.values())) if missing else ():
        if response.finish == "failed":
            known[names[position]] = response
        else:
            rows.append((names[position], response))
        if len(rows) >= FLUSH:
            store.put_responses(rows)
            known.update(rows)
            rows = []
        meter.tick(times[names[position]], response.n_tokens)
    store.put_responses(rows)
    known.update(rows)
    return [known[key] for key in keys]


def likelihoods(
    generator: Generator, asked: Sequence[Continuations], store: Store, meter: Meter
) -> list[tuple[Likelihood, ...]]:
    """The likelihood of every text after its prompt, in order; `meter` counts prompts.

    The texts of one prompt are asked together, all or none.
    """
    keys = [[likelihood_key(generator, a.prompt, text) for text in a.texts] for a in asked]
    known = store.likelihoods(list(dict.fromkeys(key for row in keys for key in row)))
    missing = [i for i, row in enumerate(keys) if any(key not in known for key in row)]
    meter.total += len(asked)
    meter.tick(len(asked) - len(missing))
    rows: list[tuple[str, Likelihood]] = []
    for position, found in generator.likelihoods([asked[i] for i in missing]) if missing else ():
        rows += zip(keys[missing[position]], found, strict=True)
        if len(rows) >= FLUSH:
            store.put_likelihoods(rows)
            known.update(rows)
            rows = []
        meter.tick(1, sum(x.n_tokens for x in found))
    store.put_likelihoods(rows)
    known.update(rows)
    return [tuple(known[key] for key in row) for row in keys]
