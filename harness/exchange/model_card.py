"""The model card of a trained checkpoint, in the form of the Hugging Face hub: metadata in YAML, then Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mipo_bench.reports.numbers import interval, p_text, plural, signed, unsigned
from mipo_bench.reports.records.report import CheckpointRecord, ComparisonRecord, EstimateRecord, Report
from mipo_bench.reports.records.report_file import RUN_ID_LENGTH
from mipo_bench.reports.render.markdown import escape

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD = "README.md"
MIPO_PAPER = "arxiv:2603.19294"
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_TEMPLATE = Path(__file__).with_name("model_card.md.jinja")


@dataclass(frozen=True, slots=True)
class _Results:
    """The figures of a report about one checkpoint. `score` is its own, `estimate` that of all training seeds."""

    report: Report
    checkpoint: CheckpointRecord
    score: float | None
    estimate: EstimateRecord | None
    comparisons: Sequence[ComparisonRecord]

    @classmethod
    def of(cls, report: Report, record: CheckpointRecord) -> _Results:
        name = (record.task, record.recipe)
        estimate = next((e for e in report.estimates if (e.task, e.method) == name), None)
        found = [
            c for c in report.comparisons if (c.task, c.method) == name and c.family != "noise" and c.delta is not None
        ]
        score = dict(estimate.per_seed).get(record.train_seed) if estimate else None
        return cls(report, record, score, estimate, sorted(found, key=lambda c: c.family != "primary"))


def model_card(report: Report, record: CheckpointRecord, licence: str | None = None) -> str:
    """The card of a checkpoint of a report. A licence is named only if it is given; paths are never named."""
    from huggingface_hub import ModelCard, ModelCardData

    results, base = _Results.of(report, record), base_model(report.model.name)
    title = f"{_short(report.model.name)}-{record.recipe}-{record.task}-seed{record.train_seed}"
    data = ModelCardData(
        base_model=base,
        library_name="transformers",
        pipeline_tag="text-generation",
        license=licence,
        tags=_tags(record),
        model_name=title,
        eval_results=list(_eval_results(results)),
    )
    card = ModelCard.from_template(
        data,
        template_path=str(_TEMPLATE),
        title=escape(title),
        base=escape(base or f"{_short(report.model.name)} (digest {report.model.digest[:RUN_ID_LENGTH]})"),
        recipe=escape(record.recipe),
        task=escape(record.task),
        seed=record.train_seed,
        training=_training(record),
        results="\n".join(_table(results)),
        scope=_scope(results),
        limits=list(_limits(results)),
        origin=_origin(report),
        licence=licence,
    )
    return f"{str(card).rstrip()}\n"


def base_model(name: str) -> str | None:
    """The id on the hub of a model that a report names; None for a local folder or file and for the embedded model."""
    repository = name.partition(":")[0]
    return repository if _HUB_ID.fullmatch(repository) and not Path(repository).exists() else None


def _short(name: str) -> str:
    """The last part of the name of a model, which may be a path."""
    return name.rstrip("/").rsplit("/", maxsplit=1)[-1]


def _tags(record: CheckpointRecord) -> list[str]:
    """Tags of the hub: the program, the library of the training, the objective, the recipe, and MIPO with its paper."""
    mipo = ["mipo", MIPO_PAPER] if record.recipe.startswith("mipo") else []
    objective = record.lineage.get("objective")
    return list(dict.fromkeys(["mipo-bench", "trl", *([str(objective)] if objective else []), record.recipe, *mipo]))


def _eval_results(found: _Results) -> Iterator[EvalResult]:
    """The checkpoint's own score, and the difference of its recipe from each prompting baseline."""
    from huggingface_hub import EvalResult

    task, estimate = found.checkpoint.task, found.estimate
    result = partial(EvalResult, "text-generation", task, f"mipo-bench: {task}")
    if estimate is not None and found.score is not None:
        name = f"score, mean of {plural(estimate.n_items, 'item')}, this training seed"
        yield result("score", round(found.score, 4), metric_name=name)
    for c in found.comparisons:
        span = "no interval" if c.ci_low is None else f"{_level(found.report)} {interval(c.ci_low, c.ci_high, signed)}"
        name = f"score minus that of {c.base}, {span}, {_n(c)}"
        yield result("difference", round(c.delta or 0.0, 4), metric_name=name)


def _table(found: _Results) -> Iterator[str]:
    estimate, level = found.estimate, _level(found.report)
    yield f"| result | value | {level} | n | adjusted p |"
    yield "|---|---:|---:|---|---:|"
    if estimate is not None:
        items = plural(estimate.n_items, "item")
        yield f"| score of this checkpoint | {unsigned(found.score)} | | {items} | |"
        span = interval(estimate.ci_low, estimate.ci_high, unsigned)
        seeds = plural(estimate.n_seeds, "training seed")
        yield f"| score of the recipe | {unsigned(estimate.mean)} | {span} | {items}, {seeds} | |"
    for c in found.comparisons:
        span = interval(c.ci_low, c.ci_high, signed)
        name = f"difference of the recipe from {escape(c.base)} ({c.family})"
        yield f"| {name} | {signed(c.delta)} | {span} | {_n(c)} | {p_text(c.p_adjusted)} |"


def _level(report: Report) -> str:
    return f"{1 - report.alpha:.0%} interval"


def _n(c: ComparisonRecord) -> str:
    clusters = "" if c.n_clusters == c.n_items else f" of {plural(c.n_clusters, 'user')}"
    return f"{plural(c.n_items, 'item')}{clusters}, {plural(c.n_seeds, 'training seed')}"


def _training(record: CheckpointRecord) -> str:
    settings, used = record.lineage.get("settings", {}), record.lineage.get("pairs", {}).get("used")
    shown = [f"{key} {escape(str(settings[key]))}" for key in ("lr", "beta", "epochs", "batch_size") if key in settings]
    examples = [f"{int(used):,} training examples"] if used is not None else []
    objective = escape(str(record.lineage.get("objective", "objective not recorded")))
    return f"Training: {'; '.join([objective, *shown, *examples])}."


def _scope(found: _Results) -> str:
    tests = ", ".join(dict.fromkeys(c.test for c in found.comparisons if c.test)) or "none"
    return (
        f"Scores lie in [0, 1]. Tests: {tests}; p is adjusted over all comparisons of the run (Holm over the primary"
        " family, Benjamini-Hochberg over the exploratory one)."
    )


def _limits(found: _Results) -> Iterator[str]:
    record = found.checkpoint
    yield (
        f"It was evaluated on the items of {escape(record.task)} alone, with the prompts of mipo-bench: the scores are"
        " no leaderboard scores, and say nothing about other tasks, languages or safety."
    )
    if (e := found.estimate) is None:
        yield "The run has no score of it."
    else:
        scores = ", ".join(f"seed {seed}: {unsigned(mean)}" for seed, mean in e.per_seed)
        if e.n_seeds > 1:
            yield f"It is one of {plural(e.n_seeds, 'training seed')} ({scores}); differences are over all of them."
        counts = f"cut at the token limit {e.truncated}, without a readable answer {e.unparsed}, failed {e.failed}"
        yield f"Responses of all training seeds: {counts}."
    for message in dict.fromkeys(w.message for c in found.comparisons for w in c.warnings):
        yield escape(message)


def _origin(report: Report) -> str:
    made = report.provenance
    commit = f", commit {made.commit[:10]}{' with uncommitted changes' if made.dirty else ''}" if made.commit else ""
    return f"Run {report.digest[:RUN_ID_LENGTH]} of mipo-bench, {report.created[:10]}{commit}."
