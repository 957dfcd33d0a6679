"""What a reader should distrust: guards with their thresholds, as tables and footnotes in words (see docs/guards.md).

A figure that crosses its threshold gets a footnote that says what may be wrong. None of them is a test: they say where
to look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mipo_bench.reports.numbers import p_text, percent, signed, unsigned
from mipo_bench.reports.pages.page import Footnotes, Grid
from mipo_bench.reports.records.guards import GuardRecord, MarginRecord, OverlapRecord, WordingRecord
from mipo_bench.reports.records.report import ArmRecord, CheckpointRecord, ComparisonRecord, Report

NEAR_SHARE = 0.01
"""Near duplicates of training texts among evaluation texts: one in a hundred moves no score visibly."""
LENGTH = 1.2
"""Length of a trained arm's responses over the reference's, or its inverse: from there on judges reward length itself
(Dubois et al. 2024, arXiv 2404.04475)."""
CUT = 0.05
"""Share of responses cut at the token limit: what was cut off cannot score."""
EMPTY = 0.01
UNPARSED = 0.05
"""Share of responses without a readable answer: the score then measures form as much as content."""
DISTINCT = 0.8
"""Distinct-2 over the reference's: a loss of a fifth of the different word pairs."""
SELF_BLEU = 0.1
"""Self-BLEU-4 above the reference's: MIPO is said to keep it (arXiv 2603.19294)."""
PERPLEXITY = 2.0
"""Perplexity under the base model over the reference's: one bit more surprise with each token."""
TRIVIAL = 0.95
"""Share of pairs that the base model already ranks right: what is left to learn from them is little."""
DRIFT = 0.1
"""Loss of log-probability of the chosen responses in training, as a share of what it was (likelihood displacement,
Razin et al. 2024, arXiv 2410.08847)."""
DRIFT_NATS = 1.0
"""A loss below this, a third of the probability left at least, is no displacement, whatever its share."""
_POINTS = 4
"""Points of a training curve that a footnote quotes."""


def guard_grids(report: Report, task: str, notes: Footnotes) -> Iterable[Grid]:
    """The guards of a task: its responses, its trainings, and what it shares with its training items."""
    record = next((g for g in report.guards if g.task == task), None)
    if record is None:
        return
    yield _wording(report, record, notes)
    trainings = _trainings(report, record, notes)
    if trainings:
        yield trainings
    if record.overlap:
        yield _overlap(record.overlap, notes)


def _wording(report: Report, record: GuardRecord, notes: Footnotes) -> Grid:
    reference = _reference(report, record.task)
    by_method = {w.method: w for w in record.wording}
    usual = by_method.get(reference)
    trained = {a.method for a in report.arms if a.task == record.task and a.recipe is not None}
    length = _mean_tokens(report.group(record.task, reference))
    rows = []
    for w in record.wording:
        arms = report.group(record.task, w.method)
        ratio = _mean_tokens(arms) / length if length else None
        warnings = [*_of_any_arm(w, arms)]
        if w.method in trained:
            warnings += _of_trained(w, usual, ratio)
        rows.append(_wording_row(w, arms, ratio, notes.marks(warnings)))
    columns = ("arm", "length", "cut", "none", "empty", "distinct-2", "self-BLEU", "perplexity")
    words = max((w.matched_words for w in record.wording), default=0)
    texts = max((w.matched for w in record.wording), default=0)
    matched = f"; distinct-2 and self-BLEU-4 of {texts} responses cut to {words} words" if texts else ""
    title = f"guards: length over the reference's; cut, none, empty in percent{matched}; perplexity by the base model"
    return Grid(title, columns, tuple(rows))


def _wording_row(w: WordingRecord, arms: Sequence[ArmRecord], ratio: float | None, marks: str) -> tuple[str, ...]:
    return (
        f"{w.method}{marks}",
        "-" if ratio is None else f"{ratio:.2f}",
        f"{_share(arms, 'truncated'):.0%}",
        f"{_share(arms, 'unparsed'):.0%}",
        f"{w.empty / w.responses:.0%}" if w.responses else "-",
        unsigned(w.distinct_2),
        unsigned(w.self_bleu),
        "-" if w.perplexity is None else f"{w.perplexity:.2f}",
    )


def _of_any_arm(w: WordingRecord, arms: Sequence[ArmRecord]) -> Iterable[str]:
    cut, unparsed = _share(arms, "truncated"), _share(arms, "unparsed")
    if cut > CUT:
        yield f"{cut:.0%} of the responses were cut at the token limit: raise decoding.max_new_tokens"
    if unparsed > UNPARSED:
        yield f"no answer could be read in {unparsed:.0%} of the responses: the score measures form as much as content"
    if w.responses and w.empty > EMPTY * w.responses:
        yield f"{w.empty} of {w.responses} responses are empty"


def _of_trained(w: WordingRecord, usual: WordingRecord | None, ratio: float | None) -> Iterable[str]:
    """What training has done to the wording, against the same prompts on the base model."""
    if ratio is not None and not 1 / LENGTH <= ratio <= LENGTH:
        longer = "longer" if ratio > 1 else "shorter"
        yield (
            f"responses are {abs(ratio - 1):.0%} {longer} than the reference's after training: part of a gain may be"
            " length; see the length-controlled figures where there is a judge"
        )
    if usual is None:
        return
    if w.distinct_2 is not None and usual.distinct_2 is not None and w.distinct_2 < DISTINCT * usual.distinct_2:
        yield f"training lost diversity: distinct-2 fell from {unsigned(usual.distinct_2)} to {unsigned(w.distinct_2)}"
    if w.self_bleu is not None and usual.self_bleu is not None and w.self_bleu > usual.self_bleu + SELF_BLEU:
        change = f"{unsigned(usual.self_bleu)} to {unsigned(w.self_bleu)}"
        yield f"training made responses more alike: self-BLEU-4 rose from {change}"
    if w.perplexity is not None and usual.perplexity is not None and w.perplexity > PERPLEXITY * usual.perplexity:
        change = f"perplexity {w.perplexity:.1f} after training, {usual.perplexity:.1f} before"
        yield f"the base model finds the wording odd: {change}"


def _trainings(report: Report, record: GuardRecord, notes: Footnotes) -> Grid | None:
    """One row for each trained method: how hard its pairs were, where the chosen side went, and how it ended."""
    margins = {m.recipe: m for m in record.margins}
    checkpoints = [c for c in report.checkpoints if c.task == record.task]
    rows = []
    for recipe in dict.fromkeys(c.recipe for c in checkpoints):
        group = [c for c in checkpoints if c.recipe == recipe]
        margin, drift = margins.get(recipe), _drift(group)
        below = _below(report, record.task, recipe)
        warnings = [*_of_margin(margin), *_of_drift(drift), *_of_below(below, group, report.alpha)]
        rows.append(_training_row(recipe + notes.marks(warnings), margin, drift, below))
    if not rows:
        return None
    columns = ("training", "pairs", "first margin", "ranked right", "drift of chosen", "vs reference")
    title = "guards of training: pairs under the base model before it; change of the chosen side's log-probability"
    return Grid(title, columns, tuple(rows))


def _training_row(
    name: str, margin: MarginRecord | None, drift: Drift | None, below: ComparisonRecord | None
) -> tuple[str, ...]:
    return (
        name,
        str(margin.pairs) if margin else "-",
        f"{margin.margin:+.2f}" if margin else "-",
        f"{margin.accuracy:.0%}" if margin else "-",
        percent(drift.share) if drift else "-",
        "below" if below else "",
    )


def _of_margin(margin: MarginRecord | None) -> Iterable[str]:
    if margin and margin.accuracy > TRIVIAL:
        yield (
            f"trivial negatives: the base model ranks {margin.accuracy:.0%} of the pairs right before any training"
            f" (by {margin.margin:+.1f} nats); harder negatives would teach more"
        )


def _of_drift(drift: Drift | None) -> Iterable[str]:
    if drift and drift.share < -DRIFT and drift.nats < -DRIFT_NATS:
        yield (
            f"training pushed the chosen responses down too: their log-probability fell by {-drift.nats:.1f} nats"
            f" ({-drift.share:.0%}); a lower train.lr or a higher train.beta keeps them"
        )


def _of_below(below: ComparisonRecord | None, group: Sequence[CheckpointRecord], alpha: float) -> Iterable[str]:
    if below is None or below.delta is None:
        return
    sure = below.p_adjusted is not None and below.p_adjusted < alpha
    yield (
        f"{'ends below' if sure else 'ends no higher than'} the base model ({signed(below.delta)} to {below.base},"
        f" adjusted p {p_text(below.p_adjusted)}): to beat this training proves nothing{_course(group[0].lineage)}"
    )


def _below(report: Report, task: str, method: str) -> ComparisonRecord | None:
    """The comparison with the reference, where the trained method scores lower."""
    for c in report.comparisons:
        with_reference = (c.task, c.method, c.base) == (task, method, _reference(report, task))
        if with_reference and c.family != "noise" and c.delta is not None and c.delta < 0:
            return c
    return None


def _course(lineage: Mapping[str, Any]) -> str:
    """The loss at the beginning, at the end and in between, in words; empty without a curve."""
    losses = [float(point["loss"]) for point in lineage.get("curve", []) if "loss" in point]
    if not losses:
        return ""
    places = [round(n * (len(losses) - 1) / (_POINTS - 1)) for n in range(_POINTS)]
    shown = ", ".join(unsigned(losses[n]) for n in dict.fromkeys(places))
    return f"; its loss over {len(losses)} steps: {shown}"


@dataclass(frozen=True, slots=True)
class Drift:
    """Change of the chosen side's log-probability: in nats for a response, and over its size before training."""

    nats: float
    share: float


def _drift(group: Sequence[CheckpointRecord]) -> Drift | None:
    """The drift of a recipe, as the mean over its training seeds; None without figures.

    The reference's log-probability of a batch is the policy's less the reward over beta, so that each step's batch is
    held against itself. The last quarter of the steps counts.
    """
    found = []
    for checkpoint in group:
        curve, beta = checkpoint.lineage.get("curve", []), checkpoint.lineage.get("settings", {}).get("beta")
        late = [p for p in curve[-max(1, len(curve) // 4) :] if "reward_chosen" in p and "logp_chosen" in p]
        if not late or not beta:
            continue
        moved = sum(p["reward_chosen"] / beta for p in late) / len(late)
        size = abs(sum(p["logp_chosen"] for p in late) / len(late) - moved)
        found += [Drift(moved, moved / size)] if size else []
    if not found:
        return None
    return Drift(sum(d.nats for d in found) / len(found), sum(d.share for d in found) / len(found))


def _overlap(overlap: Sequence[OverlapRecord], notes: Footnotes) -> Grid:
    rows = tuple(
        (f"{o.of}{notes.marks(_of_overlap(o))}", str(o.evaluation), str(o.training), str(o.same), str(o.near))
        for o in overlap
    )
    title = "guards: evaluation against training items, each different text once"
    return Grid(title, ("overlap of", "evaluation", "training", "same", "near"), rows)


def _of_overlap(o: OverlapRecord) -> Iterable[str]:
    if o.same:
        yield f"{o.same} of {o.evaluation} evaluation {o.of} are trained on{_example(o, 1.0)}"
    if o.near > NEAR_SHARE * o.evaluation:
        yield (
            f"{o.near} of {o.evaluation} evaluation {o.of} are near duplicates of training {o.of}: they share at least"
            f" four fifths of their character 5-grams{_example(o, None)}"
        )


def _example(o: OverlapRecord, similarity: float | None) -> str:
    for found in o.examples:
        if (found.similarity == 1) == (similarity == 1):
            return f" (such as {found.evaluation}, like {found.training})"
    return ""


def _reference(report: Report, task: str) -> str:
    found = report.task(task)
    return found.reference if found else ""


def _mean_tokens(arms: Sequence[ArmRecord]) -> float:
    counts = [n for arm in arms for n in arm.n_tokens]
    return sum(counts) / len(counts) if counts else 0.0


def _share(arms: Sequence[ArmRecord], field: Literal["truncated", "unparsed"]) -> float:
    total = sum(len(arm.scores) for arm in arms)
    return sum(len(getattr(arm, field)) for arm in arms) / total if total else 0.0
