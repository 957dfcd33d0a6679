"""Draws the plots of a report: forest plot, scores, training curves (`mipo-bench show --plots`).

Shapes and line styles carry the meaning, so that the plots need no colour.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mipo_bench.harness.core.text import without_control_characters
from mipo_bench.harness.errors import StorageError
from mipo_bench.reports.analysis.training_curve import training_curve
from mipo_bench.reports.records.report import CheckpointRecord, ComparisonRecord, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, ROW, EDGE = 7.5, 0.26, 1.1
"""Inches: width of a figure, height of a row, and height of the margins above and below the rows."""
DARK, GREY, LIGHT = "0.1", "0.45", "0.85"
LINES = ("-", "--", ":", "-.")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_NAME = 34


def write_plots(report: Report, folder: Path) -> list[Path]:
    """Draw the plots that the report has data for. Returns the files; raises StorageError if one cannot be written."""
    drawings = {"forest.png": forest, "scores.png": scores, "training.png": training}
    return save(folder, {name: partial(draw, report) for name, draw in drawings.items()})


def save(folder: Path, drawings: Mapping[str, Callable[[], Figure | None]]) -> list[Path]:
    """Draw each figure into its file, but for None. Returns the files; raises StorageError if one cannot be written."""
    import matplotlib as mpl

    mpl.use("Agg")
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in drawings.items():
            with warnings.catch_warnings(), mpl.rc_context({"text.parse_math": False, "font.size": 9}):
                warnings.filterwarnings(
                    "ignore", message="Glyph .* missing"
                )  # names of plugins may have them; they are drawn as boxes
                figure = draw()
                if figure is not None:
                    figure.savefig(folder / name, dpi=160, metadata={"Software": None})
                    written.append(folder / name)
    except OSError as error:
        raise StorageError(f"cannot write plots to {folder}: {os.strerror(error.errno or 0)}.") from error
    return written


def forest(report: Report) -> Figure | None:
    """Differences with their intervals, a panel for each task; a filled mark is significant after adjustment."""
    groups = {
        task.name: [c for c in report.comparisons if c.task == task.name and c.delta is not None]
        for task in report.tasks
    }
    groups = {name: found for name, found in groups.items() if found}
    if not groups:
        return None
    figure, panels = _panels([len(found) for found in groups.values()])
    for panel, (task, found) in zip(panels, groups.items(), strict=True):
        _forest_panel(panel, task, found, report.alpha)
    figure.supxlabel(
        f"difference of scores, {1 - report.alpha:.0%} interval\n"
        "circle: primary, square: exploratory, diamond: noise floor; filled: significant after adjustment",
        fontsize=8,
    )
    return figure


def _forest_panel(panel: Axes, task: str, found: Sequence[ComparisonRecord], alpha: float) -> None:
    marks = {"primary": "o", "exploratory": "s", "noise": "D"}
    panel.axvline(0, color=GREY, linewidth=0.8)
    for row, c in enumerate(found):
        delta = c.delta if c.delta is not None else 0.0
        if c.ci_low is not None and c.ci_high is not None:
            panel.plot([c.ci_low, c.ci_high], [row, row], color=DARK, linewidth=1.2, solid_capstyle="butt")
        p = c.p_value if c.family == "noise" else c.p_adjusted
        face = DARK if p is not None and p < alpha else "white"
        panel.plot(delta, row, marks[c.family], markerfacecolor=face, markeredgecolor=DARK, markersize=5)
    _name_rows(panel, task, [f"{_name(c.method)} vs {_name(c.base)}" for c in found])


def scores(report: Report) -> Figure | None:
    """The score of each arm with its interval, and a tick for each training seed."""
    groups = {task.name: [e for e in report.estimates if e.task == task.name] for task in report.tasks}
    groups = {name: found for name, found in groups.items() if found}
    if not groups:
        return None
    figure, panels = _panels([len(found) for found in groups.values()])
    for panel, (task, found) in zip(panels, groups.items(), strict=True):
        for row, e in enumerate(found):
            if e.ci_low is not None and e.ci_high is not None:
                panel.plot([e.ci_low, e.ci_high], [row, row], color=GREY, linewidth=1.2, solid_capstyle="butt")
            trained = bool(e.per_seed)
            face = DARK if trained else "white"
            panel.plot(e.mean, row, "o", markerfacecolor=face, markeredgecolor=DARK, markersize=5)
            heights = [row - 0.2 - 0.3 * n / len(e.per_seed) for n in range(len(e.per_seed))]
            panel.plot([v for _, v in e.per_seed], heights, "|", color=DARK, markersize=4)
        panel.set_xlim(-0.02, 1.02)
        _name_rows(panel, task, [_name(e.method) for e in found])
    figure.supxlabel(
        f"score, {1 - report.alpha:.0%} interval\nopen: prompting; filled: trained, a tick for each training seed",
        fontsize=8,
    )
    return figure


def training(report: Report) -> Figure | None:
    """Loss and reward margin by step: a row for each task and recipe, a line for each training seed."""
    groups: dict[tuple[str, str], list[CheckpointRecord]] = {}
    for checkpoint in report.checkpoints:
        if training_curve(checkpoint).values("loss"):
            groups.setdefault((checkpoint.task, checkpoint.recipe), []).append(checkpoint)
    if not groups:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, EDGE + 1.7 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), 2, squeeze=False, sharex="row")
    for row, ((task, recipe), checkpoints) in zip(axes, groups.items(), strict=True):
        for panel, key, label in zip(row, ("loss", "margin"), ("DPO loss", "reward margin"), strict=True):
            _curves(panel, checkpoints, key)
            panel.set_ylabel(label)
        row[0].set_title(f"{_name(task)}: {_name(recipe)}", loc="left", fontsize=9, fontweight="bold")
    for panel in axes[-1]:
        panel.set_xlabel("step")
    axes[0][1].legend(title="training seed", fontsize=7, title_fontsize=7, frameon=False, loc="best")
    return figure


def _curves(panel: Axes, checkpoints: Sequence[CheckpointRecord], key: str) -> None:
    for n, checkpoint in enumerate(checkpoints):
        points = training_curve(checkpoint).values(key)
        panel.plot(
            [step for step, _ in points],
            [value for _, value in points],
            linestyle=LINES[n % len(LINES)],
            marker=MARKS[n % len(MARKS)],
            markevery=max(1, len(points) // 6),
            color=("0.0", "0.35", "0.6")[n % 3],
            markersize=3.5,
            linewidth=1,
            label=str(checkpoint.train_seed),
        )
    draw_frame(panel)


def _panels(rows: Sequence[int]) -> tuple[Figure, list[Axes]]:
    """A figure with panels one below the other, each as high as its number of rows needs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, EDGE + sum(ROW * n + 0.35 for n in rows)), layout="constrained")
    heights = {"height_ratios": [n + 1 for n in rows]}
    axes = figure.subplots(len(rows), 1, squeeze=False, sharex=True, gridspec_kw=heights)
    return figure, list(axes[:, 0])


def _name_rows(panel: Axes, title: str, names: Sequence[str]) -> None:
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.4, -0.7)
    panel.set_title(_name(title), loc="left", fontsize=9, fontweight="bold")
    panel.tick_params(axis="y", length=0)
    draw_frame(panel)


def draw_frame(panel: Axes) -> None:
    panel.grid(axis="x", color=LIGHT, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _name(text: str) -> str:
    clean = without_control_characters(text)
    return clean if len(clean) <= _NAME else clean[: _NAME - 1] + "…"
