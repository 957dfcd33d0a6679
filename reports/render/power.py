"""Writes the power of designs as CSV and JSON, and draws it (`mipo-bench power --plots`)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipo_bench.reports.analysis.planning import Planning
from mipo_bench.reports.numbers import plural
from mipo_bench.reports.render.csv_table import rows_to_csv
from mipo_bench.reports.render.plots import DARK, GREY, LINES, MARKS, WIDTH, draw_frame, save
from mipo_bench.reports.statistics.design import Design

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def power_rows(planning: Planning) -> list[dict[str, Any]]:
    """One row for each design of the grid, then one for each of the cheapest designs."""
    return [
        {
            "cheapest": cheapest,
            "users": d.users,
            "items_per_user": d.items,
            "seeds": d.seeds,
            "smallest_difference": planning.smallest(d),
            "power_at_wanted": _power(planning, d),
            "trainings": planning.trainings(d),
            "answers": planning.answers(d),
            "new_tokens": None if planning.tokens is None else round(planning.answers(d) * planning.tokens),
        }
        for cheapest, designs in ((False, planning.grid.designs), (True, planning.cheapest()))
        for d in designs
    ]


def _power(planning: Planning, design: Design) -> float | None:
    if planning.wanted is None or design.users < 2:
        return None
    return design.power(planning.wanted, planning.components, planning.goal_alpha)


def power_to_csv(planning: Planning) -> str:
    """The rows as CSV, in full precision."""
    rows = power_rows(planning)
    return rows_to_csv(tuple(rows[0]), rows)


def power_to_json(planning: Planning) -> str:
    """The question and the rows as JSON."""
    question = {
        "source": list(planning.source),
        "components": asdict(planning.components),
        "alpha": planning.alpha,
        "comparisons": planning.comparisons,
        "power": planning.power,
        "wanted": planning.wanted,
        "unit": planning.unit,
    }
    return json.dumps({**question, "designs": power_rows(planning)}, indent=2, allow_nan=False) + "\n"


def write_power_plot(planning: Planning, folder: Path) -> list[Path]:
    """Draw the smallest differences. Returns the file; raises StorageError if it cannot be written."""
    return save(folder, {"power.png": lambda: power_plot(planning)})


def power_plot(planning: Planning) -> Figure:
    """The smallest difference by the number of users: a panel for each number of items, a line for each of seeds."""
    from matplotlib.figure import Figure

    grid = planning.grid
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    panels = figure.subplots(1, len(grid.items), squeeze=False, sharey=True)[0]
    for panel, items in zip(panels, grid.items, strict=True):
        for n, seeds in enumerate(grid.seeds):
            found = [(u, planning.smallest(Design(u, items, seeds))) for u in grid.users]
            shown = [(users, value) for users, value in found if value is not None and value <= 1]
            if not shown:
                continue
            panel.plot(
                [users for users, _ in shown],
                [value for _, value in shown],
                linestyle=LINES[n % len(LINES)],
                marker=MARKS[n % len(MARKS)],
                color=("0.0", "0.35", "0.6")[n % 3],
                markersize=3.5,
                linewidth=1,
                label=plural(seeds, "seed"),
            )
        if planning.wanted is not None:
            panel.axhline(planning.wanted, color=GREY, linewidth=0.8)
        panel.set_xscale("log")
        panel.set_xticks(grid.users, [f"{users:,}" for users in grid.users], color=DARK)
        panel.minorticks_off()
        panel.set_ylim(bottom=0)
        panel.set_title(plural(items, "item") + " each" if planning.unit == "users" else "", loc="left", fontsize=9)
        draw_frame(panel)
    panels[-1].legend(fontsize=7, frameon=False)
    panels[0].set_ylabel("smallest difference that is found")
    figure.supxlabel(f"number of {planning.unit}, {planning.power:.0%} power", fontsize=8)
    return figure
