"""The figure of information and score: for each item, the change of both by a training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipo_bench.reports.html.shapes import Picture, Scale, Shape, around, line
from mipo_bench.reports.numbers import plural, signed
from mipo_bench.reports.records.information import InformationRecord
from mipo_bench.reports.records.report import Report

WIDTH, HEIGHT, LEFT, BOTTOM = 320, 220, 46, 22
MOST_POINTS = 400
"""Of more items the first ones are drawn."""


@dataclass(frozen=True, slots=True)
class Point:
    """An item: the change of its pointwise mutual information, in nats, and of its score."""

    item: str
    nats: float
    score: float


@dataclass(frozen=True, slots=True)
class Scatter:
    """The items of one training: their picture, what it shows in words, and task, base and method to browse."""

    title: str
    picture: Picture
    caption: str
    pair: tuple[str, str, str]


def scatters(report: Report, task: str) -> list[Scatter]:
    """A figure for each training whose information was measured."""
    blocks = [block for block in report.information if block.task == task]
    return [_scatter(report, b, c.method, c.rank_correlation) for b in blocks for c in b.changes]


def _scatter(report: Report, block: InformationRecord, method: str, rho: float | None) -> Scatter:
    points = changes(report, block, method)
    drawn = points[:MOST_POINTS]
    some = f"the first {len(drawn)} of {len(points)} items" if len(drawn) < len(points) else plural(len(points), "item")
    rank = "undefined" if rho is None else signed(rho)
    caption = f"{some}; rank correlation of all {rank}"
    label = f"{method}: change of information and of score, {caption}"
    return Scatter(
        method, Picture(WIDTH, HEIGHT, label, list(_shapes(drawn))), caption, (block.task, block.reference, method)
    )


def changes(report: Report, block: InformationRecord, method: str) -> list[Point]:
    """The changes of each item from the reference to the method, each under its own weights, as means over seeds.

    Items and arms that the report does not have, because it was edited, are left out.
    """
    task = report.task(block.task)
    place = {item: n for n, item in enumerate(task.items)} if task else {}
    known = [(n, item) for n, item in enumerate(block.items) if item in place]
    before, after = (_means(report, block, name) for name in (block.reference, method))
    if not known or before is None or after is None:
        return []
    nats, score = after.pmi - before.pmi, after.scores - before.scores
    return [Point(item, float(nats[n]), float(score[place[item]])) for n, item in known]


@dataclass(frozen=True, slots=True)
class _Means:
    """Means over the training seeds that were measured: information by item of the block, score by item of the task."""

    pmi: NDArray[np.float64]
    scores: NDArray[np.float64]


def _means(report: Report, block: InformationRecord, method: str) -> _Means | None:
    own = {m.train_seed: m.pmi[-1] for m in block.measured if (m.method, m.weights) == (method, "own")}
    scores = [arm.scores for arm in report.group(block.task, method) if arm.train_seed in own]
    if not own or not scores:
        return None
    return _Means(np.asarray(list(own.values())).mean(axis=0), np.asarray(scores).mean(axis=0))


def _shapes(points: Sequence[Point]) -> Iterable[Shape]:
    across = around([0.0, *(p.nats for p in points)], LEFT, WIDTH - 8)
    up = around([0.0, *(p.score for p in points)], HEIGHT - BOTTOM, 8)
    shapes = [*_grid(across, up)]
    for p in points:
        title = f"{p.item}: {signed(p.nats)} nats, score {signed(p.score)}"
        shapes.append(Shape("circle", "dot", {"cx": across.at(p.nats), "cy": up.at(p.score), "r": "3"}, title=title))
    return shapes


def _grid(across: Scale, up: Scale) -> Iterable[Shape]:
    top, bottom, left, right = "8", str(HEIGHT - BOTTOM), str(LEFT), str(WIDTH - 8)
    for value in across.ticks():
        yield Shape("text", "tick", {"x": across.at(value), "y": str(HEIGHT - 6)}, f"{value:g}")
    for value in up.ticks():
        yield line("grid", left, up.at(value), right, up.at(value))
        yield Shape("text", "tick left", {"x": str(LEFT - 5), "y": f"{float(up.at(value)) + 4:.1f}"}, f"{value:g}")
    yield line("zero", across.at(0), top, across.at(0), bottom)
    yield line("zero", left, up.at(0), right, up.at(0))
