"""Thresholds of the guards with their reasons, and the warning for each figure that crosses its threshold.

No rule is a statistical test: a warning shows where to look. `pages.guards` prints the warnings as footnotes;
docs/guards.md lists the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from mipo_bench.reports.analysis.training_curve import Drift
from mipo_bench.reports.analysis.ways import Findings, distance, distance_by_chance
from mipo_bench.reports.numbers import unsigned
from mipo_bench.reports.records.guards import MarginRecord, OverlapRecord, WordingRecord
from mipo_bench.reports.records.report import ArmRecord

NEAR_SHARE = 0.01
"""Share of evaluation texts that are near duplicates of training texts: up to it, no score moves visibly."""
LENGTH = 1.2
"""Ratio of the lengths of a trained arm's and the reference's responses, or its inverse. Beyond it, judges reward
length itself (Dubois et al. 2024, arXiv 2404.04475)."""
CUT = 0.05
"""Share of responses cut at the token limit: the text beyond the limit cannot score."""
EMPTY = 0.01
"""Share of responses without text."""
UNPARSED = 0.05
"""Share of responses without a readable answer: above it, the score measures form as much as content."""
MARKED = 1 - UNPARSED
"""Share of answers behind a mark, the form that tasks ask for: where all arms reach it, the ways are not shown."""
WAYS = 0.05
"""Distance between the ways in which the answers of two arms were found, if chance does not explain it: the same share
as of answers that cannot be read. A smaller share of answers in another form can move a score by less."""
THOUGHTS_CUT = CUT
"""Share of responses that end inside their thoughts: they are cut too, and have no answer."""
INVENTED = 0.05
"""Share of responses that go on with a question of their own: the model does not end its turns."""
DISTINCT = 0.8
"""Ratio of distinct-2 to the reference's: below it, a fifth of the distinct word pairs is lost."""
SELF_BLEU = 0.1
"""Rise of self-BLEU-4 over the reference's. MIPO is claimed not to raise it (arXiv 2603.19294)."""
PERPLEXITY = 2.0
"""Ratio of the perplexity under the base model to the reference's: one bit more per token."""
TRIVIAL = 0.95
"""Share of pairs that the base model ranks correctly before training: above it, the pairs teach little."""
DRIFT = 0.1
"""Fall of the chosen responses' log-probability in training, as a share of its size before (likelihood displacement,
Razin et al. 2024, arXiv 2410.08847)."""
DRIFT_NATS = 1.0
"""A smaller fall, in nats, is not counted as displacement whatever its share: more than a third of the probability is
left."""


def response_warnings(wording: WordingRecord, arms: Sequence[ArmRecord]) -> Iterable[str]:
    """Cut, unreadable and empty responses of an arm, trained or not."""
    cut, unparsed = share_of(arms, "truncated"), share_of(arms, "unparsed")
    if cut > CUT:
        yield f"{cut:.0%} of the responses were cut at the token limit: raise decoding.max_new_tokens"
    if unparsed > UNPARSED:
        yield f"no answer could be read in {unparsed:.0%} of the responses: the score measures form as much as content"
    if wording.responses and wording.empty > EMPTY * wording.responses:
        yield f"{wording.empty} of {wording.responses} responses are empty"


def reading_warnings(found: Findings) -> Iterable[str]:
    """Thoughts that were cut, and invented turns."""
    if found.thoughts_cut > THOUGHTS_CUT * found.responses:
        yield (
            f"{found.thoughts_cut / found.responses:.0%} of the responses end inside their thoughts and have no answer:"
            " raise decoding.max_new_tokens, or switch thoughts off in chat.template"
        )
    if found.invented_turns > INVENTED * found.responses:
        yield (
            f"in {found.invented_turns / found.responses:.0%} of the responses the model goes on with a question of its"
            " own, which is left out: see the chat template and the end tokens"
        )


def way_warnings(found: Findings, bases: Mapping[str, Findings]) -> Iterable[str]:
    """Answers that were found in other ways than those of the arms that this one is compared with."""
    others = [name for name, base in bases.items() if ways_differ(found, base)]
    if others:
        yield (
            f"answers were found in other ways than those of {', '.join(others)}: part of a difference between them may"
            " be one of form, not of content"
        )


def ways_differ(a: Findings, b: Findings) -> bool:
    """Whether answers were found in ways that differ by more than `WAYS`, and by more than chance."""
    return distance(a, b) > max(WAYS, distance_by_chance(a, b))


def wording_warnings(after: WordingRecord, before: WordingRecord | None, length_ratio: float | None) -> Iterable[str]:
    """Changes of length, diversity and perplexity by training; `before` is the reference on the base model."""
    if length_ratio is not None and not 1 / LENGTH <= length_ratio <= LENGTH:
        longer = "longer" if length_ratio > 1 else "shorter"
        yield (
            f"responses are {abs(length_ratio - 1):.0%} {longer} than the reference's after training: part of a gain"
            " may be length; see the length-controlled figures where there is a judge"
        )
    if before is None:
        return
    if (
        after.distinct_2 is not None
        and before.distinct_2 is not None
        and after.distinct_2 < DISTINCT * before.distinct_2
    ):
        change = f"{unsigned(before.distinct_2)} to {unsigned(after.distinct_2)}"
        yield f"training lost diversity: distinct-2 fell from {change}"
    if after.self_bleu is not None and before.self_bleu is not None and after.self_bleu > before.self_bleu + SELF_BLEU:
        change = f"{unsigned(before.self_bleu)} to {unsigned(after.self_bleu)}"
        yield f"training made responses more alike: self-BLEU-4 rose from {change}"
    if (
        after.perplexity is not None
        and before.perplexity is not None
        and after.perplexity > PERPLEXITY * before.perplexity
    ):
        change = f"perplexity {after.perplexity:.1f} after training, {before.perplexity:.1f} before"
        yield f"the base model finds the wording odd: {change}"


def pair_warnings(margin: MarginRecord | None) -> Iterable[str]:
    """Pairs that the base model ranks correctly before any training."""
    if margin and margin.accuracy > TRIVIAL:
        yield (
            f"trivial negatives: the base model ranks {margin.accuracy:.0%} of the pairs right before any training"
            f" (by {margin.margin:+.1f} nats); harder negatives would teach more"
        )


def drift_warnings(drift: Drift | None) -> Iterable[str]:
    """Chosen responses that became less probable in training."""
    if drift and drift.share is not None and drift.share < -DRIFT and drift.nats < -DRIFT_NATS:
        yield (
            f"training pushed the chosen responses down too: their log-probability fell by {-drift.nats:.1f} nats"
            f" ({-drift.share:.0%}); a lower train.lr or a higher train.beta keeps them"
        )


def overlap_warnings(overlap: OverlapRecord) -> Iterable[str]:
    """Evaluation texts that are also training texts, or near duplicates of them."""
    if overlap.same:
        yield f"{overlap.same} of {overlap.evaluation} evaluation {overlap.of} are trained on{_example(overlap, 1.0)}"
    if overlap.near > NEAR_SHARE * overlap.evaluation:
        yield (
            f"{overlap.near} of {overlap.evaluation} evaluation {overlap.of} are near duplicates of training"
            f" {overlap.of}: they share at least four fifths of their character 5-grams{_example(overlap, None)}"
        )


def _example(overlap: OverlapRecord, similarity: float | None) -> str:
    for found in overlap.examples:
        if (found.similarity == 1) == (similarity == 1):
            return f" (such as {found.evaluation}, like {found.training})"
    return ""


def mean_tokens(arms: Sequence[ArmRecord]) -> float:
    """Mean tokens of a response; 0 without responses."""
    counts = [n for arm in arms for n in arm.n_tokens]
    return sum(counts) / len(counts) if counts else 0.0


def share_of(arms: Sequence[ArmRecord], field: Literal["truncated", "unparsed"]) -> float:
    """Share of the responses that were cut, or that have no readable answer; 0 without responses."""
    total = sum(len(arm.scores) for arm in arms)
    return sum(len(getattr(arm, field)) for arm in arms) / total if total else 0.0
