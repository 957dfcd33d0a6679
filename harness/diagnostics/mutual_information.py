"""How much a response tells about the context it was written for: mutual information, estimated on evaluation items.

For a prompt x, a context c, a response y and K other contexts c'_1 .. c'_K (other users'; for tasks without users the
same over prompts, x in place of c), the pointwise figure of a response, in nats, is

    pmi = log p(y|x,c) - log m,    m = 1/K sum_k p(y|x,c'_k)

Its mean brackets the mutual information I(c; y | x) together with InfoNCE, made from the same probabilities:

    upper   E[log p - log m] >= I
            The leave-one-out bound (Poole et al. 2019, arXiv 1905.06922, for a known density). With K = 1 it is the
            mean KL divergence between the responses of two users. It has no ceiling, and falls as K grows.
    lower   E[log p - log((p + K m) / (K + 1))] <= I
            InfoNCE (van den Oord et al. 2018, arXiv 1807.03748) with the model's own density as critic (Poole et al.).
            No term exceeds log(K + 1), so neither does the mean. It grows with K.

The ceiling belongs to the second alone: with the response's own context in the denominator K + 1 contexts are told
apart, hence log(K + 1) for K others, which is the log N of the literature for N contexts in all. Contexts are drawn
without replacement among the other users of the evaluation split. Both bounds hold for this too: with S the set of
K + 1 contexts, InfoNCE is I(c; y | S) <= I(c; y), and it is I itself where S holds everybody.

The bounds are about responses drawn from p as it is. Evaluated responses are sampled colder, nearer to the mode of p:
their mean says how much users are told, and is no bound. `information.temperature: 1` measures responses that are
sampled for the purpose instead.

Before and after training, each model's own responses are scored by the model itself: I before, I after. The responses
of a trained model are scored by the base model too: a model that is merely surer of its words gains under its own
probabilities and not under those. p(y|x,c) is that of the whole response with the end of the turn, where it ended by
itself and the end-of-turn token of the model is known (`Generator.end_of_turn_token`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mipo_bench.harness.config.schema import InformationConfig
from mipo_bench.harness.core.progress import Meter
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.evaluation.arm_answers import ArmAnswers
from mipo_bench.harness.evaluation.cached_answers import answer, likelihoods
from mipo_bench.harness.generators.chat_template import prompt_of, with_end_of_turn
from mipo_bench.harness.planning.plan import TaskPlan
from mipo_bench.harness.protocols import Generator, LikelihoodRequest, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Baseline, Response
from mipo_bench.reports.records.information import MeasuredRecord, Weights

DIGITS = 4
"""Decimals of a nat that a report keeps."""


@dataclass(frozen=True, slots=True)
class ContrastPrompts:
    """The prompts of the items that are measured, and for each the same number of other prompts in a fixed order.

    Another prompt is the item as another user would ask it (`over` contexts), or another item (`over` prompts).
    """

    over: Literal["contexts", "prompts"]
    prompts: Mapping[str, str]
    others: Mapping[str, tuple[str, ...]]

    @property
    def contexts(self) -> tuple[int, ...]:
        """The numbers of other prompts that figures are given for: 1, 4, 16, ... and all."""
        count = min(map(len, self.others.values()), default=0)
        return (*(4**n for n in range(count.bit_length()) if 4**n < count), count)


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of several arms on the items that all of them answered. `end` says whether the end counts."""

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
    """The items to measure and their other prompts; None where every user's prompt is the same, or nobody else's is.

    An item keeps its others whatever else is measured, and a smaller K takes the first of them.
    """
    name, by_context = task.task.name, any(item.context is not None for item in task.items)
    count = min(settings.items, len(task.items))
    chosen = random.Random(seed_of("information", name)).sample(range(len(task.items)), count)
    items = [task.items[i] for i in sorted(chosen)]
    prompts = {item.id: prompt_of(baseline, item, generator).text for item in items}
    users = list({(item.user_id, item.context): item for item in task.items}.values())
    others = {}
    for item in items:
        order = random.Random(seed_of("information", name, item.id))
        if by_context:
            asked = (item.asked_by(other) for other in order.sample(users, len(users)))
            texts = (prompt_of(baseline, variant, generator).text for variant in asked)
        else:
            texts = (prompts[other.id] for other in order.sample(items, len(items)))
        others[item.id] = _distinct(texts, prompts[item.id], settings.contexts)
    found = ContrastPrompts("contexts" if by_context else "prompts", prompts, others)
    return found if found.contexts[-1] else None


def _distinct(texts: Iterable[str], own: str, count: int) -> tuple[str, ...]:
    """The first `count` different prompts other than the item's own."""
    found: dict[str, None] = {}
    for text in texts:
        if text != own:
            found.setdefault(text)
        if len(found) == count:
            break
    return tuple(found)


def measure(
    arms: Sequence[ArmAnswers], found: ContrastPrompts, settings: InformationConfig, store: Store, meter: Meter
) -> Measured:
    """Measure arms that share their prompts. The first is on the base model, under which all are scored too.

    Raises what `Generator.likelihoods` raises.
    """
    base = arms[0].model.generator
    end = base.end_of_turn_token
    texts = [_texts(arm, found, settings, store, meter) for arm in arms]
    items = tuple(name for name in found.prompts if all(name in row for row in texts))
    said = [[with_end_of_turn(row[name], end) for name in items] for row in texts]
    under_base = _figures(base, found, items, said, store, meter)
    cells = [_cell(arms[0], "own", under_base[0])]
    for arm, row, figures in zip(arms[1:], said[1:], under_base[1:], strict=True):
        [own] = _figures(arm.model.generator, found, items, [row], store, meter)
        cells += [_cell(arm, "own", own), _cell(arm, "base", figures)]
    return Measured(items, len(found.prompts) - len(items), bool(end), tuple(cells))


def _texts(
    arm: ArmAnswers, found: ContrastPrompts, settings: InformationConfig, store: Store, meter: Meter
) -> dict[str, Response]:
    """Item -> response, where the model had room for one."""
    names = [name for name in found.prompts if name in arm.requests]
    if settings.temperature is None:
        stored = arm.responses(store)
        responses = [stored[name] for name in names]
    else:
        requests = [_resampled(arm.requests[name], settings.temperature) for name in names]
        responses = answer(arm.model.generator, requests, store, meter)
    return {name: r for name, r in zip(names, responses, strict=True) if r.finish != "overflow"}


def _resampled(request: Request, temperature: float) -> Request:
    """The same asked at another temperature from the whole distribution; options are of no interest."""
    decoding = replace(request.decoding, temperature=temperature, top_p=1.0)
    return replace(request, decoding=decoding, options=(), seed=seed_of("information", request.seed))


def _cell(arm: ArmAnswers, weights: Weights, figures: Sequence[Sequence[float]]) -> MeasuredRecord:
    by_contexts = [[round(value, DIGITS) for value in column] for column in zip(*figures, strict=True)]
    return MeasuredRecord(method=arm.arm.method, train_seed=arm.arm.train_seed, weights=weights, pmi=by_contexts)


def _figures(
    generator: Generator,
    found: ContrastPrompts,
    items: Sequence[str],
    said: Sequence[Sequence[str]],
    store: Store,
    meter: Meter,
) -> list[list[list[float]]]:
    """For each arm, each item and each number of contexts the figure of what the arm said, under one model.

    All texts are asked for prompt by prompt, so that a model reads each prompt once.
    """
    count = found.contexts[-1]
    prompts = {name: (found.prompts[name], *found.others[name][:count]) for name in items}
    wanted: dict[str, dict[str, None]] = {}
    for row in said:
        for name, text in zip(items, row, strict=True):
            for prompt in prompts[name] if text else ():  # nothing said is certain under every prompt
                wanted.setdefault(prompt, {})[text] = None
    asked = [LikelihoodRequest(prompt, tuple(texts)) for prompt, texts in wanted.items()]
    known = {
        (question.prompt, text): likelihood.logprob
        for question, row in zip(asked, likelihoods(generator, asked, store, meter), strict=True)
        for text, likelihood in zip(question.texts, row, strict=True)
    }

    def figure(name: str, text: str) -> list[float]:
        own, *others = (known[prompt, text] if text else 0.0 for prompt in prompts[name])
        return pointwise(own, others, found.contexts)

    return [[figure(name, text) for name, text in zip(items, row, strict=True)] for row in said]
