"""Lays out the figures of the HTML report: differences and scores as rows with a small picture, and training curves.

Each training seed has a mark of its own. Shape and filling carry the meaning, so that the figures need no colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mipo_bench.reports.analysis.training_curve import training_curve
from mipo_bench.reports.html.shapes import Picture, Scale, Shape, around, line
from mipo_bench.reports.numbers import interval, p_marked, signed, unsigned
from mipo_bench.reports.records.report import CheckpointRecord, ComparisonRecord, EstimateRecord, Family, Report

_Writer = Callable[[float | None], str]
Verdict = Literal["better", "worse", "not distinguishable", "not testable"]
WIDTH, HEIGHT, EDGE = 320, 30, 8
"""Pixels of the picture of a row, and the room at its left and right."""
MIDDLE = 11
"""Height of the interval in a row; the seeds stand below it."""
MOST_POINTS = 400
"""A longer training curve is drawn by the least and the greatest value of each of this many halves of bins."""
_FAMILIES: dict[Family, str] = {"primary": "primary", "exploratory": "exploratory", "noise": "noise floor"}
_METRICS = {
    "loss": "loss",
    "reward": "reward",
    "margin": "reward margin",
    "accuracy": "share of pairs ranked right",
    "logp_chosen": "log-probability of chosen (nats)",
    "logp_rejected": "log-probability of rejected (nats)",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a figure: a name, its picture, and the figures as text. `pair` names task, base and method of a row."""

    name: str
    picture: Picture
    figures: Sequence[str]
    pair: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of scores: its interval, the p-value that decides, its MDE, and the difference under each seed."""

    name: str
    family: Family
    delta: float
    ends: tuple[float | None, float | None]
    p: float | None
    mde: float | None
    per_seed: Sequence[tuple[int, float]]
    pair: tuple[str, str, str] | None = None
    """Task, base and method in the sample browser."""


@dataclass(frozen=True, slots=True)
class Panel:
    """The rows under one heading, and the axis below them."""

    title: str
    rows: Sequence[Row]
    axis: Picture


@dataclass(frozen=True, slots=True)
class Curves:
    """The curves of one recipe on one task: a picture for each metric, a line for each training seed."""

    title: str
    seeds: Sequence[int]
    pictures: Sequence[tuple[str, Picture]]
    thinned: bool


def verdict(c: ComparisonRecord, alpha: float) -> Verdict:
    """What the test says about a comparison, in a word or two."""
    if c.delta is None or c.p_adjusted is None:
        return "not testable"
    if c.p_adjusted >= alpha:
        return "not distinguishable"
    return "better" if c.delta > 0 else "worse"


def forest(report: Report, task: str) -> list[Panel]:
    """The differences on a task: primary, exploratory and noise floor."""
    own = [c for c in report.comparisons if c.task == task]
    return difference_panels([_of_record(c, c.delta) for c in own if c.delta is not None], report.alpha)


def _of_record(c: ComparisonRecord, delta: float) -> Difference:
    p = c.p_value if c.family == "noise" else c.p_adjusted
    name, pair = f"{c.method} vs {c.base}", (c.task, c.base, c.method)
    return Difference(name, c.family, delta, (c.ci_low, c.ci_high), p, c.mde, c.per_seed, pair)


def difference_panels(
    found: Sequence[Difference], alpha: float, titles: Mapping[Family, str] = _FAMILIES
) -> list[Panel]:
    """Differences on one scale, a panel for each family that has a title."""
    ends = [v for d in found for v in (d.delta, *d.ends, *(v for _, v in d.per_seed)) if v is not None]
    scale = around([0.0, *ends], EDGE, WIDTH - EDGE)
    panels = []
    for family, title in titles.items():
        rows = [_difference(d, scale, alpha) for d in found if d.family == family]
        if rows:
            panels.append(Panel(title, rows, _axis(scale, signed)))
    return panels


def _difference(d: Difference, scale: Scale, alpha: float) -> Row:
    filled = "filled" if d.p is not None and d.p < alpha else "open"
    shapes = [*_band(d.mde, scale), line("zero", scale.at(0), "0", scale.at(0), str(HEIGHT))]
    shapes += _whisker(*d.ends, scale)
    shapes.append(_mark(d.family, filled, scale.at(d.delta)))
    shapes += _seeds(d.per_seed, scale, signed)
    figures = (signed(d.delta), interval(*d.ends, signed), f"p {p_marked(d.p, alpha)}")
    label = f"{d.name}: {figures[0]}, interval {figures[1]}, {figures[2]}"
    return Row(d.name, Picture(WIDTH, HEIGHT, label, shapes), figures, d.pair)


def _band(mde: float | None, scale: Scale) -> list[Shape]:
    """The differences that the test would probably not find: within the MDE of 0."""
    if mde is None:
        return []
    left, right = scale.at(-mde), scale.at(mde)
    size = {"x": left, "y": "0", "width": f"{float(right) - float(left):.1f}", "height": str(HEIGHT)}
    return [Shape("rect", "band", size, title=f"smallest difference that would probably be found: {unsigned(mde)}")]


def _mark(family: str, filled: str, x: str) -> Shape:
    middle = float(x)
    if family == "primary":
        return Shape("circle", f"mark {filled}", {"cx": x, "cy": str(MIDDLE), "r": "5"})
    if family == "exploratory":
        return Shape(
            "rect", f"mark {filled}", {"x": f"{middle - 4:.1f}", "y": str(MIDDLE - 4), "width": "8", "height": "8"}
        )
    diamond = f"M{middle:.1f} {MIDDLE - 6}l6 6l-6 6l-6 -6z"
    return Shape("path", f"mark {filled}", {"d": diamond})


def scores(report: Report, task: str) -> Panel | None:
    """The score of each arm of a task; None without any."""
    found = [e for e in report.estimates if e.task == task]
    scale = Scale(0, 1, EDGE, WIDTH - EDGE)
    trained = {a.method for a in report.arms if a.recipe is not None}
    rows = [_score(e, scale, trained=e.method in trained) for e in found]
    return Panel("Scores", rows, _axis(scale, unsigned)) if rows else None


def _score(e: EstimateRecord, scale: Scale, *, trained: bool) -> Row:
    shapes = _whisker(e.ci_low, e.ci_high, scale)
    shapes.append(_mark("primary", "filled" if trained else "open", scale.at(e.mean)))
    shapes += _seeds(e.per_seed, scale, unsigned)
    figures = (unsigned(e.mean), interval(e.ci_low, e.ci_high, unsigned))
    return Row(e.method, Picture(WIDTH, HEIGHT, f"{e.method}: {figures[0]}, interval {figures[1]}", shapes), figures)


def _whisker(low: float | None, high: float | None, scale: Scale) -> list[Shape]:
    if low is None or high is None:
        return []
    return [line("interval", scale.at(low), str(MIDDLE), scale.at(high), str(MIDDLE))]


def _seeds(values: Sequence[tuple[int, float]], scale: Scale, write: _Writer) -> list[Shape]:
    """A tick for each training seed, with its number and value as a tooltip."""
    return [
        Shape(
            "path",
            "seed",
            {"d": f"M{scale.at(value)} {MIDDLE + 9}v8"},
            title=f"training seed {seed}: {write(value)}",
        )
        for seed, value in values
    ]


def _axis(scale: Scale, write: _Writer) -> Picture:
    shapes = [line("axis", f"{scale.start:.1f}", "1", f"{scale.end:.1f}", "1")]
    for value in scale.ticks():
        shapes.append(line("axis", scale.at(value), "1", scale.at(value), "5"))
        text = "0" if abs(value) < 1e-9 else write(value)
        shapes.append(Shape("text", "tick", {"x": scale.at(value), "y": "17"}, text))
    return Picture(WIDTH, 20, "axis", shapes)


def training_figures(report: Report, task: str) -> list[Curves]:
    """The training curves of a task, by recipe."""
    found = [c for c in report.checkpoints if c.task == task and training_curve(c).points]
    return [
        _curves(recipe, [c for c in found if c.recipe == recipe]) for recipe in dict.fromkeys(c.recipe for c in found)
    ]


def _curves(recipe: str, checkpoints: Sequence[CheckpointRecord]) -> Curves:
    curves = {c.train_seed: training_curve(c) for c in checkpoints}
    pictures = []
    for metric, title in _METRICS.items():
        lines = {seed: points for seed, curve in curves.items() if len(points := curve.values(metric)) > 1}
        if lines:
            pictures.append((title, _plot(f"{recipe}: {title}", lines)))
    thinned = any(len(curve.points) > MOST_POINTS for curve in curves.values())
    return Curves(recipe, list(curves), pictures, thinned)


def _plot(label: str, lines: dict[int, list[tuple[float, float]]]) -> Picture:
    """A line for each training seed over the steps."""
    width, height, left, bottom = 320, 170, 46, 22
    across = around([x for points in lines.values() for x, _ in points], left, width - 6, room=0)
    up = around([y for points in lines.values() for _, y in points], height - bottom, 8)
    shapes = []
    for value in up.ticks():
        shapes.append(line("grid", str(left), up.at(value), str(width - 6), up.at(value)))
        shapes.append(
            Shape("text", "tick left", {"x": str(left - 5), "y": f"{float(up.at(value)) + 4:.1f}"}, f"{value:g}")
        )
    shapes += [
        Shape("text", "tick", {"x": across.at(value), "y": str(height - 6)}, f"{value:g}")
        for value in across.ticks()
        if value == int(value)
    ]
    for n, (seed, points) in enumerate(lines.items()):
        track = " ".join(f"{across.at(x)},{up.at(y)}" for x, y in thinned(points))
        shapes.append(Shape("polyline", f"curve dash-{n % 4}", {"points": track}, title=f"training seed {seed}"))
    first = next(iter(lines.values()))
    return Picture(width, height, f"{label}, from {first[0][1]:.3g} to {first[-1][1]:.3g} under the first seed", shapes)


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points; of a long curve the least and the greatest of each bin, so that no spike is lost."""
    if len(points) <= MOST_POINTS:
        return list(points)
    size = -(-len(points) // (MOST_POINTS // 2))
    bins = [points[start : start + size] for start in range(0, len(points), size)]
    return [p for b in bins for p in sorted({min(b, key=lambda q: q[1]), max(b, key=lambda q: q[1])})]
