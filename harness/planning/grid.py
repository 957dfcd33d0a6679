"""Grids of training settings: every point is a method of its own, named, reported and tested like any other.

Nothing is selected on the evaluation data: what was tried is what the report lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from mipo_bench.harness.config.schema import RunConfig, TrainConfig
from mipo_bench.harness.plugins.optional import objective_of
from mipo_bench.harness.types import Recipe


def variants(recipe: Recipe, config: RunConfig) -> dict[str, TrainConfig]:
    """Method -> its settings; the recipe alone without a grid. What the objective does not read makes no points."""
    beta = config.grid.beta if objective_of(recipe) == "dpo" else ()
    values = {"beta": beta, "lr": config.grid.lr}
    used = {name: row for name, row in values.items() if row}
    points = (dict(zip(used, row, strict=True)) for row in product(*used.values()))
    return {" ".join([recipe.name, *_labels(point)]): config.train.model_copy(update=point) for point in points}


def recipe_name(method: str) -> str:
    """The recipe of a method; names of plugins hold no space."""
    return method.split(" ", maxsplit=1)[0]


def settings_of(method: str, config: RunConfig) -> TrainConfig:
    """The settings that a method's name stands for: those of the grid's point, or the run's own."""
    _, *labels = method.split(" ")
    points: dict[str, tuple[float, ...]] = {"beta": config.grid.beta, "lr": config.grid.lr}
    known = {label: {name: value} for name, row in points.items() for value in row for label in _labels({name: value})}
    update = {name: value for label in labels for name, value in known[label].items()}
    return config.train.model_copy(update=update)


def _labels(point: dict[str, float]) -> Iterator[str]:
    return (f"{name}={value:g}" for name, value in point.items())
