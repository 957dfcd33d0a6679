"""Records of `report.json`, the canonical result of a run from which every other format is rendered.

The schema version is MAJOR.MINOR. A minor version adds optional fields. A report of a newer major version is refused;
a report of an older one is upgraded when it is read (`records.upgrade`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from mipo_bench.reports.records.base import CaveatRecord, Number, Record, UnitScore
from mipo_bench.reports.records.guards import GuardRecord
from mipo_bench.reports.records.information import InformationRecord
from mipo_bench.reports.records.judges import ControlRecord, JudgeRecord
from mipo_bench.reports.records.looks import LooksRecord
from mipo_bench.reports.records.sensitivity import SensitivityRecord

SCHEMA_VERSION = "2.4"
"""1.1 added `digest`; 1.2 `judges` and `controls`; 1.3 the model's `backend`; 1.4 a task's `data`,
`information` and `guards`. 2.0 renamed `holes` to `failures`, `weight` to `average`, and settings in `config`.
2.1 added an arm's `reading`, and `finish_unknown` of arms and estimates. 2.2 added `sensitivity` of comparisons.
2.3 added `looks`. 2.4 added judges of kind `nli`, protocol `checks`, `agreements` of judges, `group_average`."""


class TaskRecord(Record):
    """A task as it was evaluated. Each list has one entry for each item, in the same order."""

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
    group_average: Literal["micro", "macro"] | None = None  # of a group, whose users are parts: what counts alike
    data: dict[str, str | int] | None = None
    """The data set, if the task names one: its name, its revision, a digest of its rows, counts of rows left out."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        users = self.items if self.users is None else self.users
        _check_lengths(len(self.items), (users, self.prompt_hashes, self.target_hashes))
        if len(set(self.items)) < len(self.items):
            raise ValueError(f"task {self.name!r} has an item twice")
        return self


class ReadingRecord(Record):
    """How the answers of one arm were found.

    `ways` counts responses by way (`harness.types.WAYS`), without ways that never occurred; it is empty for a task that
    reads no answers. `invented_turns` counts responses in which the model went on with a next question of its own, and
    `thoughts` those whose thoughts were left out.
    """

    ways: dict[str, Annotated[int, Field(ge=0)]] = Field(default={})
    invented_turns: Annotated[int, Field(ge=0)] = 0
    thoughts: Annotated[int, Field(ge=0)] = 0
    thoughts_cut: list[str] = Field(default=[])
    """Items with a response whose thoughts do not end: it has no answer."""


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
    scores: list[UnitScore]
    parts: dict[str, list[Number | None]]
    """None where a part does not apply to an item."""
    n_tokens: list[int]
    truncated: list[str]
    """Items with a response that was cut at the token limit."""
    unparsed: list[str]
    """Items with a response without a readable answer; they score 0."""
    failed: dict[str, str]
    """Item that failed -> stage and error type; it scores 0."""
    reading: ReadingRecord | None = None
    """None in a report of an older schema."""
    finish_unknown: int = 0
    """Number of responses without a known finish reason: some of them may have been cut at the token limit."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_lengths(len(self.scores), (self.n_tokens, *self.parts.values()))
        return self


class _Pairs(BaseModel):
    used: int = 0
    too_long: int = 0
    discarded: dict[str, int] = Field(default={})


class _Settings(BaseModel):
    beta: float | None = None


class _Lineage(BaseModel):
    pairs: _Pairs = _Pairs()
    curve: list[dict[str, float | None]] = Field(default=[])
    settings: _Settings = _Settings()


class CheckpointRecord(Record):
    """The origin of a trained model: pairs, settings, seed and training curve."""

    task: str
    recipe: str
    train_seed: int
    digest: str
    lineage: dict[str, Any]

    @field_validator("lineage", mode="before")
    @classmethod
    def _readable(cls, lineage: Any) -> Any:
        """Check the parts of the lineage that tables and plots read; the rest may have any shape."""
        _Lineage.model_validate(lineage)
        return lineage

    @field_validator("lineage")
    @classmethod
    def _shorten_curve(cls, lineage: dict[str, Any]) -> dict[str, Any]:
        """Round the curve to six significant digits, enough for a plot; sixteen would be most of the file."""
        curve = lineage.get("curve")
        if not isinstance(curve, list) or not all(isinstance(point, dict) for point in curve):
            return lineage
        return lineage | {"curve": [{name: _six_digits(value) for name, value in point.items()} for point in curve]}


class FailureRecord(Record):
    """An arm that could not be completed."""

    task: str
    method: str
    train_seed: int | None
    stage: str
    error: str
    message: str


class EstimateRecord(Record):
    """An arm's score over its items and training seeds, with its interval."""

    task: str
    method: str
    mean: Number
    ci_low: Number | None
    ci_high: Number | None
    interval: str
    n_items: int
    n_clusters: int
    n_seeds: int
    seed_sd: Number | None
    per_seed: list[tuple[int, Number]]
    mean_tokens: Number
    truncated: int
    unparsed: int
    failed: int
    warnings: list[CaveatRecord]
    finish_unknown: int = 0


Family = Literal["primary", "exploratory", "noise"]


class ComparisonRecord(Record):
    """One arm against another on the same items; see `reports.stats.Comparison` for the fields.

    `p_adjusted` is Holm's over the primary family, Benjamini-Hochberg's over the exploratory one, and None for the
    noise floor. `sensitivity` belongs to the primary family. If the comparison could not be made, the figures are None.
    """

    task: str
    family: Family
    base: str
    method: str
    delta: Number | None = None
    relative_delta: Number | None = None
    ci_low: Number | None = None
    ci_high: Number | None = None
    p_value: Number | None = None
    p_midp: Number | None = None
    p_adjusted: Number | None = None
    test: str | None = None
    n_items: int = 0
    n_clusters: int = 0
    n_seeds: int = 0
    se: Number | None = None
    df: Number | None = None
    mde: Number | None = None
    effect_size: Number | None = None
    p_better: Number | None = None
    only_base: int | None = None
    only_method: int | None = None
    design_effect: Number | None = None
    seed_sd: Number | None = None
    per_seed: list[tuple[int, Number]] = Field(default=[])
    sensitivity: SensitivityRecord | None = None
    warnings: list[CaveatRecord] = Field(default=[])


class ModelRecord(Record):
    """The base model."""

    name: str
    digest: str
    device: str
    dtype: str
    backend: str = "transformers"
    """The source of the responses: `transformers`, an engine of lm-eval, `openai`, or `responses` for a file."""


class Provenance(Record):
    """Code and machine of the run. `commit` is that of the checkout in which it was started, None outside of one."""

    commit: str | None
    dirty: bool
    diff_hash: str | None
    versions: dict[str, str]
    hardware: dict[str, str | int]


class Report(Record):
    """A whole run.

    `config_hash` is over the settings that can change a result: equal hashes mean that two runs had the same
    configuration, whatever their store and output folders. No page shows it.
    """

    schema_version: Annotated[str, Field(pattern=r"^2\.[0-9]+$")] = SCHEMA_VERSION
    digest: str = ""
    """SHA-256 of everything else in the file, which reveals an edited report; its head is the id of the run."""
    created: str
    config: dict[str, Any]
    config_hash: str
    provenance: Provenance
    model: ModelRecord
    average: Literal["micro", "macro"]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    tasks: list[TaskRecord]
    arms: list[ArmRecord]
    checkpoints: list[CheckpointRecord]
    estimates: list[EstimateRecord]
    comparisons: list[ComparisonRecord]
    failures: list[FailureRecord]
    notes: list[str]
    """Notes about the whole run, such as damaged artefacts that were computed again."""
    judges: list[JudgeRecord] = Field(default=[])
    controls: list[ControlRecord] = Field(default=[])
    information: list[InformationRecord] = Field(default=[])
    guards: list[GuardRecord] = Field(default=[])
    looks: list[LooksRecord] = Field(default=[])
    """Primary comparisons that earlier runs of the same store had tested on the same items."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Raise ValueError unless every arm has one score for each item of its task, and no arm is there twice."""
        sizes = {task.name: len(task.items) for task in self.tasks}
        if len(sizes) < len(self.tasks):
            raise ValueError("a task is listed twice")
        for arm in self.arms:
            if arm.task not in sizes:
                raise ValueError(f"arm {arm.method!r} names the task {arm.task!r}, which is not listed")
            _check_lengths(sizes[arm.task], (arm.scores,))
        if len({(arm.task, arm.method, arm.train_seed) for arm in self.arms}) < len(self.arms):
            raise ValueError("an arm is listed twice with the same training seed")
        return self

    def task(self, name: str) -> TaskRecord | None:
        """The task of this name, if it was run."""
        return next((task for task in self.tasks if task.name == name), None)

    def group(self, task: str, method: str) -> list[ArmRecord]:
        """The arms of a method on a task, one for each training seed."""
        return [arm for arm in self.arms if (arm.task, arm.method) == (task, method)]


def _check_lengths(expected: int, columns: Iterable[Sized]) -> None:
    for column in columns:
        if len(column) != expected:
            raise ValueError(f"a list has {len(column)} entries where the task has {expected} items")


def _six_digits(value: object) -> object:
    return float(f"{value:.6g}") if isinstance(value, float) else value
