"""Preference pairs from the base model alone (MIPO, arXiv 2603.19294)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mipo_bench.harness.errors import PairsError
from mipo_bench.harness.prompts import framed
from mipo_bench.harness.provenance import digest
from mipo_bench.harness.types import (
    Baseline,
    Decoding,
    Generator,
    Item,
    Pair,
    Prompt,
    Recipe,
    Request,
    Response,
    Task,
)

MIN_PAIRS = 2


@dataclass(frozen=True, slots=True)
class PairSet:
    """The pairs of one training. `discarded` counts what was left out by reason; `digest` is over the content."""

    pairs: tuple[Pair, ...]
    discarded: Mapping[str, int]
    digest: str


@dataclass(frozen=True, slots=True)
class PairSource:
    """What pairs are made of: training items of a task, prompted by its reference baseline."""

    task: Task
    items: Sequence[Item]
    baseline: Baseline
    recipe: Recipe
    decoding: Decoding
    seed: int


def seed_of(*parts: object) -> int:
    """A sampling seed below 2**63 that depends on the parts alone."""
    return int(digest(parts)[:16], 16) >> 1


def prompt_of(baseline: Baseline, item: Item, generator: Generator) -> Prompt:
    """The item as the baseline asks it. Raises ContextLostError where the model would not see the context."""
    return generator.render(framed(baseline.messages(item), item), item.context if baseline.uses_context else None)


def make_pairs(
    source: PairSource, generator: Generator, answer: Callable[[Sequence[Request]], list[Response]]
) -> PairSet:
    """Sample chosen and rejected responses and pair them.

    A pair is left out where both sides come from the same rendered prompt (nothing is contrasted), where they are
    identical, where one is empty, or where one was cut at the token limit (DPO would teach the model to stop there).
    Raises PairsError where fewer than two pairs are left.
    """
    rng = random.Random(seed_of("contrasts", source.task.name, source.recipe.name, source.seed))
    contrasts = source.recipe.contrasts(source.items, rng)
    right, wrong = (_sample(source, items, generator, answer) for items in (source.items, contrasts))
    pairs, discarded = [], Counter[str]()
    for item, contrast, chosen, rejected in zip(source.items, contrasts, right, wrong, strict=True):
        reason = _useless(chosen, rejected)
        if reason:
            discarded[reason] += 1
        else:
            name = f"{contrast.id}/{contrast.user_id if contrast.context else None}"
            pairs.append(Pair(item.id, chosen.prompt.messages, chosen.response.text, rejected.response.text, name))
    if len(pairs) < MIN_PAIRS:
        raise PairsError(f"{len(pairs)} usable preference pairs of {len(source.items)}; left out: {dict(discarded)}")
    content = digest(part for p in pairs for part in (p.prompt, p.chosen, p.rejected))
    return PairSet(tuple(pairs), dict(sorted(discarded.items())), content)


@dataclass(frozen=True, slots=True)
class _Side:
    """A response with the prompt it was sampled under."""

    prompt: Prompt
    response: Response


def _sample(
    source: PairSource,
    items: Sequence[Item],
    generator: Generator,
    answer: Callable[[Sequence[Request]], list[Response]],
) -> list[_Side]:
    """One side of all pairs, asked by itself: recipes with the same chosen side then form the same batches for it."""
    prompts = [prompt_of(source.baseline, item, generator) for item in items]
    responses = answer([_request(source, item, prompt) for item, prompt in zip(items, prompts, strict=True)])
    return [_Side(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]


def _request(source: PairSource, item: Item, prompt: Prompt) -> Request:
    """The seed names the item and context, not the side: one item's chosen can serve as another's rejected."""
    seed = seed_of("pairs", source.task.name, item.id, item.context, source.seed)
    return Request(prompt.text, seed, source.decoding)


def _useless(chosen: _Side, rejected: _Side) -> str | None:
    """Why a pair cannot be used; None where it can."""
    finishes = {chosen.response.finish, rejected.response.finish}
    texts = (chosen.response.text, rejected.response.text)
    if chosen.prompt.text == rejected.prompt.text:
        return "same prompt"
    if "overflow" in finishes:
        return "prompt too long"
    if "failed" in finishes:
        return "not answered"
    if not all(texts):
        return "empty"
    if "length" in finishes:
        return "cut at the token limit"
    return "identical" if texts[0] == texts[1] else None
