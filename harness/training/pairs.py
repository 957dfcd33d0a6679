"""Preference pairs from the base model alone (MIPO, arXiv 2603.19294), and the prompts of objectives that sample anew.

`make_pairs` samples and filters the pairs of one training. Nothing here needs torch.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.errors import PairsError
from mipo_bench.harness.generators.chat_template import prompts_of
from mipo_bench.harness.plugins.optional import objective_of, several_contrasts, shares_pairs_of
from mipo_bench.harness.protocols import Generator, Pair, Prompt, Request
from mipo_bench.harness.types import Baseline, Decoding, Item, Message, Objective, Recipe, Response, Similarity, Task
from mipo_bench.tasks.reading.thoughts import THOUGHT_TAGS, ThoughtTag

MIN_PAIRS = 2
_CUT = "cut at the token limit"


@dataclass(frozen=True, slots=True)
class PairSet:
    """The pairs of one training, and its objective.

    `discarded` counts the pairs that were left out by reason; `digest` covers the content that the objective reads.
    """

    pairs: tuple[Pair, ...]
    discarded: Mapping[str, int]
    digest: str
    objective: Objective = "dpo"


@dataclass(frozen=True, slots=True)
class Ratings:
    """The rewards of some responses, in their order. `counts` is for the lineage, which sums it over a training."""

    values: tuple[float, ...]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reward:
    """A reward for responses to training items. `rate` takes items and their responses; `digest` identifies it.

    The responses that it takes have no thoughts, which stand between `thought_tags`.
    """

    name: str
    digest: str
    rate: Callable[[Sequence[Item], Sequence[str]], Ratings]
    thought_tags: Sequence[ThoughtTag] = THOUGHT_TAGS


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Training items with their prompts, to be answered and rewarded while the model trains."""

    prompts: tuple[tuple[Item, tuple[Message, ...]], ...]
    decoding: Decoding
    reward: Reward
    digest: str
    objective: Objective = "grpo"


@dataclass(frozen=True, slots=True)
class PairSource:
    """The source of training examples: training items of a task, prompted by its reference baseline.

    An item is contrasted with `negatives` others that are `similarity` to it (see `RunConfig.pairs`).
    """

    task: Task
    items: Sequence[Item]
    baseline: Baseline
    recipe: Recipe
    decoding: Decoding
    seed: int
    negatives: int = 1
    similarity: Similarity = "random"


def make_pairs(
    source: PairSource, generator: Generator, answer: Callable[[Sequence[Request]], list[Response]]
) -> PairSet:
    """Sample chosen and rejected responses and pair them: the pairs of one item stand together.

    A pair is left out where both sides come from the same rendered prompt (nothing is contrasted), where they are
    identical, where one is empty, or where one was cut at the token limit (DPO would teach the model to stop there).
    Raises PairsError where fewer than two pairs are left.
    """
    contrasts = _contrasts(source)
    right = _sample(source, source.items, generator, answer)
    wrong = iter(_sample(source, [c for row in contrasts for c in row], generator, answer))
    pairs, discarded = [], Counter[str]()
    for item, row, chosen in zip(source.items, contrasts, right, strict=True):
        for _ in row:
            rejected = next(wrong)
            reason = _useless(chosen, rejected)
            if reason:
                discarded[reason] += 1
            else:
                pairs.append(_pair(item, chosen, rejected))
    if len(pairs) < MIN_PAIRS:
        remedy = ". Raise decoding.max_new_tokens, or lower pairs.temperature" if discarded[_CUT] else ""
        raise PairsError(
            f"{len(pairs)} usable preference pairs of {len(source.items)}; left out: {dict(discarded)}{remedy}"
        )
    objective = objective_of(source.recipe)
    return PairSet(tuple(pairs), dict(sorted(discarded.items())), _digest(pairs, objective), objective)


def pair_requests(source: PairSource, generator: Generator) -> Iterator[Request]:
    """The requests of `make_pairs`: the chosen sides, then the rejected ones."""
    for items in (source.items, [contrast for row in _contrasts(source) for contrast in row]):
        for item, prompt in zip(items, prompts_of(source.baseline, items, generator), strict=True):
            yield _request(source, item, prompt)


def make_prompts(source: PairSource, generator: Generator, reward: Reward) -> PromptSet:
    """The training items' prompts, for an objective that samples its own responses."""
    rendered = prompts_of(source.baseline, source.items, generator)
    prompts = tuple((item, prompt.messages) for item, prompt in zip(source.items, rendered, strict=True))
    content = digest([reward.digest, source.decoding, *((item.id, item.target, m) for item, m in prompts)])
    return PromptSet(prompts, source.decoding, reward, content, objective_of(source.recipe))


def example_count(data: PairSet | PromptSet) -> int:
    """How many examples there are to train on: pairs for DPO, else items."""
    if isinstance(data, PromptSet):
        return len(data.prompts)
    return len(data.pairs) if data.objective == "dpo" else len({pair.item_id for pair in data.pairs})


def contrast_rng(source: PairSource) -> random.Random:
    """The random numbers of the recipe's draws.

    A recipe may name another one whose draws it repeats, so that both train on the same pairs.
    """
    return random.Random(seed_of("contrasts", source.task.name, shares_pairs_of(source.recipe), source.seed))


def _contrasts(source: PairSource) -> list[list[Item]]:
    """For each item, the items under whose prompts its rejected responses are sampled."""
    recipe, rng = source.recipe, contrast_rng(source)
    several = several_contrasts(recipe)
    if several is None or (source.negatives, source.similarity) == (1, "random"):
        return [[contrast] for contrast in recipe.contrasts(source.items, rng)]
    found: list[list[Item]] = several(source.items, rng, source.negatives, source.similarity)
    return found


def _pair(item: Item, chosen: _Side, rejected: _Side) -> Pair:
    return Pair(
        item.id,
        chosen.prompt.messages,
        chosen.response.text,
        rejected.response.text,
        contrast=rejected.prompt.messages,
    )


def _digest(pairs: Sequence[Pair], objective: Objective) -> str:
    """The content that the objective reads: only the contrastive ones read the prompt of the rejected response."""
    contrastive = objective in ("sami", "infonce")
    return digest(
        part
        for p in pairs
        for part in (p.prompt, p.chosen, p.rejected, *([p.item_id, p.contrast] if contrastive else []))
    )


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
    prompts = prompts_of(source.baseline, items, generator)
    responses = answer([_request(source, item, prompt) for item, prompt in zip(items, prompts, strict=True)])
    return [_Side(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]


def _request(source: PairSource, item: Item, prompt: Prompt) -> Request:
    """The seed names the item and context, not the side: one item's chosen can serve as another's rejected."""
    seed = seed_of("pairs", source.task.name, item.id, item.context, source.seed)
    return Request(prompt.text, seed, source.decoding, source=f"{source.task.name} pairs")


def _useless(chosen: _Side, rejected: _Side) -> str | None:
    """Why a pair cannot be used; None where it can."""
    finishes = {chosen.response.finish, rejected.response.finish}
    texts = (chosen.response.text, rejected.response.text)
    if chosen.prompt.text == rejected.prompt.text:
        return "same prompt"
    if "overflow" in finishes:
        return "prompt too long"
    if chosen.response.failed or rejected.response.failed:
        return "not answered"
    if not all(texts):
        return "empty"
    if "length" in finishes:
        return _CUT
    return "identical" if texts[0] == texts[1] else None
