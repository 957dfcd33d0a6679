"""`report.json`: the canonical record of a run, from which every other format is rendered.

The schema version is MAJOR.MINOR. A minor version adds optional fields; a report of a newer major version is refused.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mipo_bench.harness.errors import ReportError, StorageError

SCHEMA_VERSION = "1.0"


class Record(BaseModel):
    """A part of the report; unknown fields (of a newer minor version) are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class TaskRecord(Record):
    """A task as it was evaluated. The lists run in parallel, one entry an item."""

    name: str
    suite: str
    version: int
    description: str
    binary: bool
    reference: str
    """The prompting baseline that the trained recipes are compared against."""
    scorer_hash: str
    items: list[str]
    users: list[str] | None
    prompt_hashes: list[str]
    target_hashes: list[str]


class ArmRecord(Record):
    """The scores of one arm with one training seed, in the order of the task's items."""

    task: str
    method: str
    baseline: str
    recipe: str | None
    train_seed: int | None
    sample_seed: int
    noise: bool
    model_digest: str
    scores: list[float]
    parts: dict[str, list[float]]
    n_tokens: list[int]
    truncated: list[str]
    """Items whose response was cut at the token limit."""
    unparsed: list[str]
    """Items whose response holds no answer; they score 0."""
    failed: dict[str, str]
    """Item -> stage and error type; they score 0."""


class CheckpointRecord(Record):
    """Where a trained model came from: pairs, settings, seed and training curve."""

    task: str
    recipe: str
    train_seed: int
    digest: str
    lineage: dict[str, Any]


class HoleRecord(Record):
    """An arm that could not be completed."""

    task: str
    method: str
    train_seed: int | None
    stage: str
    error: str
    message: str


class CaveatRecord(Record):
    """A warning of the statistics; rendered as a numbered footnote."""

    code: str
    message: str


class EstimateRecord(Record):
    """An arm's score over its items and training seeds, with its interval."""

    task: str
    method: str
    mean: float
    ci_low: float | None
    ci_high: float | None
    interval: str
    n_items: int
    n_clusters: int
    n_seeds: int
    seed_sd: float | None
    per_seed: list[tuple[int, float]]
    mean_tokens: float
    truncated: int
    unparsed: int
    failed: int
    warnings: list[CaveatRecord]


Family = Literal["primary", "exploratory", "noise"]


class ComparisonRecord(Record):
    """One arm against another on the same items; see `reports.stats.Comparison` for the fields.

    `p_adjusted` is Holm's over the primary family, Benjamini-Hochberg's over the exploratory one, and None for the
    noise floor. Everything but the names is None where the comparison could not be made.
    """

    task: str
    family: Family
    base: str
    method: str
    delta: float | None = None
    relative_delta: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None
    p_midp: float | None = None
    p_adjusted: float | None = None
    test: str | None = None
    n_items: int = 0
    n_clusters: int = 0
    n_seeds: int = 0
    se: float | None = None
    df: float | None = None
    mde: float | None = None
    effect_size: float | None = None
    p_better: float | None = None
    only_base: int | None = None
    only_method: int | None = None
    design_effect: float | None = None
    seed_sd: float | None = None
    per_seed: list[tuple[int, float]] = []
    warnings: list[CaveatRecord] = []


class ModelRecord(Record):
    """The base model."""

    name: str
    digest: str
    device: str
    dtype: str


class Provenance(Record):
    """Where the run was made. `commit` is that of the checkout it was started in, None outside of one."""

    commit: str | None
    dirty: bool
    diff_hash: str | None
    versions: dict[str, str]
    hardware: dict[str, str | int]


class Report(Record):
    """A whole run."""

    schema_version: str = SCHEMA_VERSION
    created: str
    config: dict[str, Any]
    config_hash: str
    provenance: Provenance
    model: ModelRecord
    weight: str
    alpha: float
    tasks: list[TaskRecord]
    arms: list[ArmRecord]
    checkpoints: list[CheckpointRecord]
    estimates: list[EstimateRecord]
    comparisons: list[ComparisonRecord]
    holes: list[HoleRecord]
    notes: list[str]
    """What a reader must know about the whole run, such as damaged artefacts that were computed again."""


def load_report(path: Path) -> Report:
    """Read `report.json`, or the one in a folder. Raises ReportError naming what is wrong."""
    file = path / "report.json" if path.is_dir() else path
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ReportError(f"there is no report {file}. `mipo-bench run` writes one.") from error
    except (OSError, ValueError) as error:
        raise ReportError(f"cannot read the report {file}: {error}.") from error
    if not isinstance(values, dict) or not isinstance(values.get("schema_version"), str):
        raise ReportError(f"{file} is not a mipo-bench report: it has no schema_version.")
    version = values["schema_version"]
    if not _readable(version):
        known = SCHEMA_VERSION.split(".", maxsplit=1)[0]
        raise ReportError(f"{file} has report schema {version}; this mipo-bench reads up to {known}.x. Upgrade it.")
    try:
        return Report.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"{file} is damaged: {where}: {first['msg']} ({error.error_count()} problems)."
        raise ReportError(message) from error


def _readable(version: str) -> bool:
    major = version.split(".", maxsplit=1)[0]
    return major.isdigit() and int(major) <= int(SCHEMA_VERSION.split(".", maxsplit=1)[0])


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all. Raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(scratch, 0o644)
            os.replace(scratch, path)
        except BaseException:
            os.unlink(scratch)
            raise
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error}. Choose another folder with --out.") from error


def to_json(report: Report) -> str:
    """The canonical text of a report."""
    return json.dumps(report.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":")) + "\n"
