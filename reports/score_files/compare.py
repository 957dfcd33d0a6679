"""Compares score files for `mipo-bench compare`; errors name file and line.

`read` parses the files, `table` and `export` print the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mipo_bench.harness.errors import NotComparableError, UserError
from mipo_bench.reports.score_files.read import MetricChoice, ScoreFile, read_scores
from mipo_bench.reports.statistics.records import name_items
from mipo_bench.reports.stats import Average, Caveat, Comparison, Missing, MissingScoresError, Scores, compare, holm


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the comparison; the fields are arguments of `stats.compare`."""

    average: Average
    missing: Missing
    margin: float | None
    alpha: float
    seed: int

    def __post_init__(self) -> None:
        """Raise UserError for an alpha or a margin out of range."""
        if not 0 < self.alpha < 1:
            raise UserError(f"--alpha is {self.alpha}; it must lie between 0 and 1.")
        if self.margin is not None and not 0 <= self.margin < math.inf:
            raise UserError(f"--margin is {self.margin}; it is the largest loss that is accepted, 0 or more.")


@dataclass(frozen=True, slots=True)
class Compared:
    """The comparison of one file with the base. `p_holm` is adjusted over all files, None if the test is undefined."""

    name: str
    path: Path
    comparison: Comparison
    p_holm: float | None


def compare_with_base(base: Path, methods: Sequence[Path], choice: MetricChoice, settings: Settings) -> list[Compared]:
    """Compare each file with the base; all comparisons are one family (Holm). Raises UserError if one is impossible."""
    left = read_scores(base, choice)
    found = [compare_files(left, read_scores(path, choice), settings) for path in methods]
    adjusted = holm([comparison.p_value for comparison in found])
    names = _short_names(methods)
    return [Compared(*entry) for entry in zip(names, methods, found, adjusted, strict=True)]


def _short_names(paths: Sequence[Path]) -> list[str]:
    """File names without the suffix; whole paths if these are not distinct."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]


def compare_files(base: ScoreFile, method: ScoreFile, settings: Settings) -> Comparison:
    """Compare the method's file with the base's; delta = method - base. Raises UserError if that is impossible."""
    _refuse_other_score(base, method)
    _refuse_other_users(base, method)
    _refuse_other_targets(base, method)
    try:
        found = compare(
            *_clustered(base, method),
            weight=settings.average,
            alpha=settings.alpha,
            margin=settings.margin,
            seed=settings.seed,
            missing=settings.missing,
        )
    except MissingScoresError as error:
        raise UserError(_missing_text(error, base, method)) from error
    except ValueError as error:
        raise UserError(f"{base.path} and {method.path} cannot be compared: {error}") from error
    return replace(found, warnings=found.warnings + _repeated(base, method))


def _refuse_other_score(base: ScoreFile, method: ScoreFile) -> None:
    for field, in_base, in_method in (
        ("metric", base.metric, method.metric),
        ("filter", base.filter, method.filter),
    ):
        if in_base != in_method:
            raise UserError(
                f"{base.path} has the {field} {in_base!r}, {method.path} has {in_method!r}: compare "
                f"like with like (lm-eval files: choose with --{field})."
            )


def _refuse_other_users(base: ScoreFile, method: ScoreFile) -> None:
    if base.scores.cluster is None or method.scores.cluster is None:
        return
    owner = dict(zip(base.scores.item, base.scores.cluster, strict=True))
    for item, user, line in zip(method.scores.item, method.scores.cluster, method.line, strict=True):
        if owner.get(item, user) != user:
            raise UserError(
                f"{method.path}:{line}: item {item!r} has user_id {user!r}, but {owner[item]!r} in "
                f"{base.path}:{base.line_of(item)}. An item belongs to the same user on both sides."
            )


def _refuse_other_targets(base: ScoreFile, method: ScoreFile) -> None:
    if base.target is None or method.target is None:
        return
    known = dict(zip(base.scores.item, base.target, strict=True))
    rows = zip(method.scores.item, method.target, method.line, strict=True)
    changed = {
        item: (target, line) for item, target, line in rows if target and known.get(item, "") not in ("", target)
    }
    if changed:
        item, (target, line) = next(iter(changed.items()))
        raise NotComparableError(
            f"{method.path}:{line}: document {item!r} has the target_hash {target!r}, but {known[item]!r} in "
            f"{base.path}:{base.line_of(item)}. The target has changed on {len(changed)} of {len(known)} documents, so "
            "their scores are not comparable: score both sides with one version of the task."
        )


def _missing_text(error: MissingScoresError, base: ScoreFile, method: ScoreFile) -> str:
    parts = []
    for lacking, lacks, other in ((error.base, base, method), (error.method, method, base)):
        if lacking:
            line = other.line_of(lacking[0])
            seen = f"{other.path}:{line}" if line is not None else f"{lacks.path}:{lacks.line_of(lacking[0])}"
            parts.append(f"no score in {lacks.path} for {name_items(lacking)}, the first of them in {seen}")
    return "; ".join(parts) + ". --missing drop leaves such items out, --missing zero counts them as 0."


def _clustered(base: ScoreFile, method: ScoreFile) -> tuple[Scores, Scores]:
    """The scores of both sides. Without users, rows of a document that occurs several times are one cluster."""
    has_users = base.scores.cluster is not None or method.scores.cluster is not None
    if has_users or not (base.repeated or method.repeated):
        return base.scores, method.scores
    return replace(base.scores, cluster=base.document), replace(method.scores, cluster=method.document)


def _repeated(base: ScoreFile, method: ScoreFile) -> tuple[Caveat, ...]:
    count = max(base.repeated, method.repeated)
    if not count:
        return ()
    text = f"documents that occur more than once: {count}; every row counts, and the rows of a document are one cluster"
    return (Caveat("repeated_documents", text),)
