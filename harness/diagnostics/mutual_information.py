"""Mutual information between responses and the contexts they were sampled under, estimated on evaluation items.

For a prompt x, a context c, a response y and K other contexts c'_1 .. c'_K (of other users; tasks without users have
other prompts instead of other contexts), the pointwise figure of a response, in nats, is

    pmi = log p(y|x,c) - log m,    m = 1/K sum_k p(y|x,c'_k)

Its mean and InfoNCE, which has the same probabilities, bracket the mutual information I(c; y | x):

    upper   E[log p - log m] >= I
            The leave-one-out bound (Poole et al. 2019, arXiv 1905.06922, for a known density). With K = 1 it is the
            mean KL divergence between the responses of two users. It has no ceiling, and falls as K grows.
    lower   E[log p - log((p + K m) / (K + 1))] <= I
            InfoNCE (van den Oord et al. 2018, arXiv 1807.03748) with the model's own density as critic (Poole et al.).
            No term exceeds log(K + 1), so neither does the mean. It grows with K.

Only the lower bound has a ceiling: its denominator includes the response's own context, so it distinguishes K + 1
contexts and cannot exceed log(K + 1). The literature calls this log N, for N contexts in all. Contexts are drawn
without replacement from the other users of the evaluation split. Both bounds hold for such draws too: for a set S of
K + 1 contexts, InfoNCE is I(c; y | S) <= I(c; y), with equality where S contains all users.

The bounds hold for responses sampled from p, at temperature 1. Evaluated responses have a lower temperature and lie
nearer to the mode of p: the mean over them describes the evaluated responses, and is no bound. With
`information.temperature: 1`, responses are sampled for the measurement.

Each model, base and trained, scores its own responses: this gives I before and after training. The base model scores
the responses of a trained model too: a trained model that is only more confident gains under its own probabilities, and
not under the base model's. p(y|x,c) is the probability of the whole response. It includes the end-of-turn token where
the finish reason is a stop and the token is known (`Generator.end_of_turn_token`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mipo_bench.harness.config.schema import InformationConfig
from mipo_bench.harness.core.pace import Work
from mipo_bench.harness.core.progress import Meter
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.evaluation.cached_answers import Expected, answer, likelihood_work, likelihoods
from mipo_bench.harness.generators.chat_template import prompts_of, with_end_of_turn
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.protocols import Generator, LikelihoodRequest, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Baseline, Item, Response
from mipo_bench.reports.records.information import MeasuredRecord, Weights

DIGITS = 4
"""Decimals of a figure in a report, in nats."""


@dataclass(frozen=True, slots=True)
class ContrastPrompts:
    """The prompts of the measured items, and the other prompts of each in a fixed order.

    An other prompt is the item with another user's context (`over` contexts), or another item (`over` prompts).
    """

    over: Literal["contexts", "prompts"]
    prompts: Mapping[str, str]
    others: Mapping[str, tuple[str, ...]]

    @property
    def contexts(self) -> tuple[int, ...]:
        """The values of K, the number of other prompts: 1, 4, 16, ... and all."""
        count = min(map(len, self.others.values()), default=0)
        return (*(4**n for n in range(count.bit_length()) if 4**n < count), count)


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of several arms on the items that all of them answered.

    `end`: whether the end-of-turn token is part of the probability.
    """

    items: tuple[str, ...]
    left_out: int
    end: bool
    cells: tuple[MeasuredRecord, ...]


def pointwise(own: float, others: Sequence[float], contexts: Sequence[int]) -> list[float]:
    """Log p - log m for the first K of the others, for each K of `contexts`; in nats, in double precision."""
    rest = np.asarray(others, dtype=np.float64)
    return [float(own - (np.logaddexp.reduce(rest[:k]) - np.log(k))) for k in contexts]


def contrast_prompts(
    task: TaskPlan, baseline: Baseline, generator: Generator, settings: InformationConfig
) -> ContrastPrompts | None:
    """The items to measure and their other prompts; None where an item has no other prompt.

    The other prompts of an item do not depend on the rest of the measurement, and a smaller K takes the first of them.
    """
    name, by_context = task.task.name, any(item.context is not None for item in task.items)
    count = min(settings.items, len(task.items))
    chosen = random.Random(seed_of("information", name)).sample(range(len(task.items)), count)
    items = [task.items[i] for i in sorted(chosen)]
    prompts = {item.id: p.text for item, p in zip(items, prompts_of(baseline, items, generator), strict=True)}
    users = list({(item.user_id, item.context): item for item in task.items}.values())
    others = {}
    for item in items:
        order = random.Random(seed_of("information", name, item.id))
        if by_context:
            variants = [item.asked_by(other) for other in order.sample(users, len(users))]
            texts = _texts(baseline, variants, generator, settings.contexts + 1)
        else:
            texts = (prompts[other.id] for other in order.sample(items, len(items)))
        others[item.id] = _distinct(texts, prompts[item.id], settings.contexts)
    contrasts = ContrastPrompts("contexts" if by_context else "prompts", prompts, others)
    return contrasts if contrasts.contexts[-1] else None


def _texts(baseline: Baseline, variants: Sequence[Item], generator: Generator, part: int) -> Iterator[str]:
    """The texts of the variants' prompts, which are rendered in parts: one is enough for nearly every item."""
    for start in range(0, len(variants), part):
        yield from (prompt.text for prompt in prompts_of(baseline, variants[start : start + part], generator))


def _distinct(texts: Iterable[str], own: str, count: int) -> tuple[str, ...]:
    """The first `count` distinct prompts other than the item's own."""
    distinct: dict[str, None] = {}
    for text in texts:
        if text != own:
            distinct.setdefault(text)
        if len(distinct) == count:
            break
    return tuple(distinct)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The prompts of a measurement with its settings, and the store of its likelihoods."""

    contrasts: ContrastPrompts
    settings: InformationConfig
    store: Store
    meter: Meter


def measure(
    arms: Sequence[ArmAnswers], contrasts: ContrastPrompts, settings: InformationConfig, store: Store, meter: Meter
) -> Measured:
    """Measure arms that share their prompts. The first arm is on the base model, which also scores all others.

    Raises ModelError where a model gives no probabilities (see `Generator.likelihoods`).
    """
    inputs, base = _Inputs(contrasts, settings, store, meter), arms[0].model.generator
    end = base.end_of_turn_token
    responses = [_responses(arm, inputs) for arm in arms]
    items = tuple(name for name in contrasts.prompts if all(name in row for row in responses))
    texts = [[with_end_of_turn(row[name], end) for name in items] for row in responses]
    inputs = _expecting(inputs, [_asked(inputs, items, texts), *(_asked(inputs, items, [row]) for row in texts[1:])])
    under_base = _figures(base, inputs, items, texts)
    cells = [_cell(arms[0], "own", under_base[0])]
    for arm, row, figures in zip(arms[1:], texts[1:], under_base[1:], strict=True):
        [own] = _figures(arm.model.generator, inputs, items, [row])
        cells += [_cell(arm, "own", own), _cell(arm, "base", figures)]
    return Measured(items, len(contrasts.prompts) - len(items), bool(end), tuple(cells))


def _responses(arm: ArmAnswers, inputs: _Inputs) -> dict[str, Response]:
    """Item -> response, without items whose prompt overflows the context window."""
    names, settings = [name for name in inputs.contrasts.prompts if name in arm.requests], inputs.settings
    if settings.temperature is None:
        stored = arm.responses(inputs.store)
        responses = [stored[name] for name in names]
    else:
        requests = [_resampled(arm.requests[name], settings.temperature) for name in names]
        responses = answer(arm.model.generator, requests, inputs.store, inputs.meter)
    return {name: r for name, r in zip(names, responses, strict=True) if r.finish != "overflow"}


def _resampled(request: Request, temperature: float) -> Request:
    """The request at another temperature without nucleus sampling. It has no options: only the text is measured."""
    decoding = replace(request.decoding, temperature=temperature, top_p=1.0)
    return replace(request, decoding=decoding, options=(), seed=seed_of("information", request.seed))


def _cell(arm: ArmAnswers, weights: Weights, figures: Sequence[Sequence[float]]) -> MeasuredRecord:
    by_contexts = [[round(value, DIGITS) for value in column] for column in zip(*figures, strict=True)]
    return MeasuredRecord(method=arm.arm.method, train_seed=arm.arm.train_seed, weights=weights, pmi=by_contexts)


def _expecting(inputs: _Inputs, asked: Sequence[Sequence[LikelihoodRequest]]) -> _Inputs:
    """The inputs with a meter that expects the work for all models, each of which is asked its own requests."""
    meter, requests = inputs.meter, [request for row in asked for request in row]
    meter.total += len(requests)
    meter.expect(Work.sum(map(likelihood_work, requests)), inputs.store.claims.processes)
    return replace(inputs, meter=Expected(meter))


def _figures(
    generator: Generator, inputs: _Inputs, items: Sequence[str], texts: Sequence[Sequence[str]]
) -> list[list[list[float]]]:
    """The pointwise figures under one model, by arm, item and number of contexts; `texts` are by arm and item."""
    requests = _asked(inputs, items, texts)
    rows = likelihoods(generator, requests, inputs.store, inputs.meter)
    known = {
        (request.prompt, text): likelihood.logprob
        for request, row in zip(requests, rows, strict=True)
        for text, likelihood in zip(request.texts, row, strict=True)
    }

    def figure(name: str, text: str) -> list[float]:
        own, *others = (known[prompt, text] if text else 0.0 for prompt in _prompts(inputs, name))
        return pointwise(own, others, inputs.contrasts.contexts)

    return [[figure(name, text) for name, text in zip(items, row, strict=True)] for row in texts]


def _prompts(inputs: _Inputs, item: str) -> tuple[str, ...]:
    """The item's own prompt, and its other prompts."""
    contrasts = inputs.contrasts
    return (contrasts.prompts[item], *contrasts.others[item][: contrasts.contexts[-1]])


def _asked(inputs: _Inputs, items: Sequence[str], texts: Sequence[Sequence[str]]) -> list[LikelihoodRequest]:
    """Each text after each prompt of its item; `texts` are by arm and item. Empty texts are left out.

    All texts of one prompt are in one request, so that a model prefills each prompt once.
    """
    texts_of: dict[str, dict[str, None]] = {}
    for row in texts:
        for name, text in zip(items, row, strict=True):
            for prompt in _prompts(inputs, name) if text else ():  # an empty text has probability 1 after every prompt
                texts_of.setdefault(prompt, {})[text] = None
    return [LikelihoodRequest(prompt, tuple(of_prompt)) for prompt, of_prompt in texts_of.items()]
