"""Compares score files for `mipo-bench compare`; errors name file and place.

`reports.logs` reads the files, `table` and `export` print the result.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from mipo_bench.harness.errors import UserError, unknown
from mipo_bench.reports.logs.formats import read_files
from mipo_bench.reports.logs.record import Choice, ScoreFile
from mipo_bench.reports.score_files.alike import differences, refuse_other_scores
from mipo_bench.reports.statistics.records import name_items
from mipo_bench.reports.stats import (
    Average,
    Caveat,
    Comparison,
    Missing,
    MissingScoresError,
    Scores,
    compare,
    holm,
)

Pairs = Literal["base", "all"]


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
class Pairing:
    """Which arms are compared: all with the arm `base` (None: the first), each with each other, or with a value.

    `methods` are the arms to compare; empty for all. `against` is a value that takes the place of the base.
    """

    base: str | None = None
    methods: tuple[str, ...] = ()
    pairs: Pairs = "base"
    against: float | None = None

    def __post_init__(self) -> None:
        """Raise UserError for options that exclude one another, and a value that is not finite."""
        if self.against is not None and (self.base is not None or self.pairs == "all"):
            raise UserError("--against takes the place of a base: leave out --base and --pairs.")
        if self.base is not None and self.pairs == "all":
            raise UserError("--pairs all compares each arm with each other: leave out --base.")
        if self.against is not None and not math.isfinite(self.against):
            raise UserError(f"--against is {self.against}; a finite number is needed.")


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison. `p_holm` is adjusted over all of them, None if the test is undefined.

    `base` and `method` are file names, with the arm where a file holds several; `name` is a short form of `method`.
    """

    name: str
    path: Path
    comparison: Comparison
    p_holm: float | None
    base: str
    method: str


@dataclass(frozen=True, slots=True)
class _Arm:
    """The scores of one arm with its short and its long name."""

    name: str
    long: str
    file: ScoreFile


def compare_scores(
    paths: Sequence[Path], choice: Choice, settings: Settings, pairing: Pairing | None = None
) -> list[Compared]:
    """Compare the arms of all files; the comparisons are one family (Holm). Raises UserError if one is impossible."""
    pairs = _pairs(_arms(paths, choice), pairing or Pairing())
    found = [compare_files(base.file, method.file, settings) for base, method in pairs]
    adjusted = holm([comparison.p_value for comparison in found])
    rows = zip(pairs, found, adjusted, strict=True)
    return [Compared(method.name, method.file.path, c, p, base.long, method.long) for (base, method), c, p in rows]


def _arms(paths: Sequence[Path], choice: Choice) -> list[_Arm]:
    """The arms of all files. The short name is that of the file, the arm, or both, as far as they are needed."""
    files = [(path, file) for path in paths for file in read_files(path, choice)]
    held = Counter(path for path in dict.fromkeys(paths) for file in files if file[0] == path)
    short = dict(zip(paths, _short_names([file for _, file in files], paths), strict=True))
    arms = []
    for path, file in files:
        several = held[path] > paths.count(path)
        long = f"{path}: {file.header.arm}" if several else str(path)
        name = file.header.arm if several and len(paths) == 1 else f"{short[path]}: {file.header.arm}"
        arms.append(_Arm(name if several else short[path], long, file))
    return arms


def _short_names(files: Sequence[ScoreFile], paths: Sequence[Path]) -> list[str]:
    """The models if every file names another one; else file names without the suffix, or whole paths."""
    models = [file.header.arm for file in files]
    if all(models) and len(set(models)) == len(files) == len(paths):
        return models
    stems = [path.name if path.is_dir() else path.stem for path in paths]
    stems = [stem or str(path) for stem, path in zip(stems, paths, strict=True)]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]


def _pairs(arms: list[_Arm], pairing: Pairing) -> list[tuple[_Arm, _Arm]]:
    chosen = [_named(arms, name, "--method") for name in pairing.methods]
    if pairing.against is not None:
        return [(_constant(arm, pairing.against), arm) for arm in chosen or arms]
    if len(arms) < 2:
        raise UserError(
            f"{arms[0].long}: one arm alone; name a second file, or a value to compare it with: --against 0.5."
        )
    if pairing.pairs == "all":
        return list(combinations(chosen or arms, 2))
    base = _named(arms, pairing.base, "--base") if pairing.base is not None else arms[0]
    if pairing.base is None and len({arm.file.path for arm in arms}) > 1 and arms[1].file.path == base.file.path:
        held = ", ".join(arm.file.header.arm for arm in arms if arm.file.path == base.file.path)
        raise UserError(f"{base.file.path}: several arms ({held}); choose the base with --base.")
    return [(base, arm) for arm in chosen or arms if arm is not base]


def _named(arms: list[_Arm], name: str, option: str) -> _Arm:
    found = [arm for arm in arms if name in (arm.name, arm.long, arm.file.header.arm)]
    if len(found) != 1:
        known = [arm.name for arm in arms]
        problem = (
            f"{name!r} names {len(found)} arms; they are {', '.join(known)}." if found else unknown("arm", name, known)
        )
        raise UserError(f"{option}: {problem}")
    return found[0]


def _constant(arm: _Arm, value: float) -> _Arm:
    """The arm's items with one value as the score of each."""
    _, rows = np.unique(arm.file.scores.item.astype(str), return_index=True)
    scores, header = arm.file.scores, replace(arm.file.header, notes=())
    cluster = None if scores.cluster is None else scores.cluster[rows]
    shown = -value if header.turned else value
    constant = replace(
        arm.file,
        header=header,
        scores=Scores(scores.item[rows], np.full(len(rows), shown), cluster),
        place=arm.file.place[rows],
        document=arm.file.document[rows],
        inputs=None,
    )
    return _Arm(f"{value:g}", f"the value {value:g}", constant)


def compare_files(base: ScoreFile, method: ScoreFile, settings: Settings) -> Comparison:
    """Compare the method's file with the base's; delta = method - base. Raises UserError if that is impossible."""
    refuse_other_scores(base, method)
    if settings.missing == "zero" and method.header.turned:
        raise UserError(
            f"--missing zero: lower is better for {method.header.metric}, and a missing score would count as the best. "
            "Choose --missing drop."
        )
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
    return replace(found, warnings=found.warnings + _repeated(base, method) + differences(base, method))


def _missing_text(error: MissingScoresError, base: ScoreFile, method: ScoreFile) -> str:
    parts = []
    for lacking, lacks, other in ((error.base, base, method), (error.method, method, base)):
        if lacking:
            seen = other.where(lacking[0]) or lacks.where(lacking[0])
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
