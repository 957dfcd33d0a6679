"""Records of a diff: the two reports, their tasks and arms, and the result for each arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mipo_bench.reports.records.report import Report
    from mipo_bench.reports.stats import Average, Comparison

State = Literal["tested", "not comparable", "added", "removed"]


@dataclass(frozen=True, slots=True)
class Side:
    """A report with a label that says where it was found. `dirty`: the file has uncommitted changes."""

    report: Report
    label: str
    dirty: bool = False

    @property
    def title(self) -> str:
        """The label, with `*` if the report or the checkout it was made in has uncommitted changes."""
        return f"{self.label}*" if self.dirty or self.report.provenance.dirty else self.label


@dataclass(frozen=True, slots=True)
class DiffOptions:
    """Options of a diff. `margins` maps a task to the largest accepted loss; `arms` are TASK/METHOD patterns."""

    margins: Mapping[str, float] = field(default_factory=dict)
    arms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangedItem:
    """An item with the same id and other content on the two sides: `what` names prompt, target or both."""

    item: str
    what: str


@dataclass(frozen=True, slots=True)
class TaskDiff:
    """The items of a task that match, and the others. `noise_a` and `noise_b` are the measured A/A differences."""

    name: str
    suite: str
    n_matching: int
    n_users: int | None
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[ChangedItem, ...]
    scorer_changed: bool
    noise_a: float | None
    noise_b: float | None


@dataclass(frozen=True, slots=True)
class ItemChange:
    """An item whose score, averaged over training seeds, differs between the sides."""

    item: str
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class ArmDiff:
    """One arm on both sides. `comparison` and `p_holm` are None if it was not tested; `reason` then says why.

    `regressed` and `improved` are ordered by the size of the change.
    """

    task: str
    method: str
    state: State
    reason: str = ""
    comparison: Comparison | None = None
    p_holm: float | None = None
    regressed: tuple[ItemChange, ...] = ()
    improved: tuple[ItemChange, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """TASK/METHOD, the name in options and messages."""
        return f"{self.task}/{self.method}"


@dataclass(frozen=True, slots=True)
class ReportDiff:
    """The comparison of report B with report A. `notes` are differences of the environment that can change scores."""

    a: Side
    b: Side
    average: Average
    alpha: float
    tasks: tuple[TaskDiff, ...]
    arms: tuple[ArmDiff, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def tested(self) -> list[ArmDiff]:
        """The tested arms, which are Holm's family."""
        return [arm for arm in self.arms if arm.state == "tested"]
