"""Grids of training settings (`grid.*`): every point is a method of its own, reported and tested like any other.

Nothing is selected on the evaluation data: the report lists every point that was trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from mipo_bench.harness.config.schema import RunConfig, TrainConfig
from mipo_bench.harness.plugins.optional import objective_of
from mipo_bench.harness.types import Recipe


def variants(recipe: Recipe, config: RunConfig) -> dict[str, TrainConfig]:
    """Method -> settings; without a grid, only the recipe. A value that the objective does not use makes no points."""
    beta = config.grid.beta if objective_of(recipe) == "dpo" else ()
    values = {"beta": beta, "lr": config.grid.lr}
    used = {name: row for name, row in values.items() if row}
    points = (dict(zip(used, row, strict=True)) for row in product(*used.values()))
    return {" ".join([recipe.name, *_labels(point)]): config.train.model_copy(update=point) for point in points}


def recipe_name(method: str) -> str:
    """The recipe of a method: the part before the first space, which no plugin name contains."""
    return method.split(" ", maxsplit=1)[0]


def settings_of(method: str, config: RunConfig) -> TrainConfig:
    """The training settings of a method: those of its grid point, or the run's own."""
    _, *labels = method.split(" ")
    points: dict[str, tuple[float, ...]] = {"beta": config.grid.beta, "lr": config.grid.lr}
    known = {label: {name: value} for name, row in points.items() for value in row for label in _labels({name: value})}
    update = {name: value for label in labels for name, value in known[label].items()}
    return config.train.model_copy(update=update)


def _labels(point: dict[str, float]) -> Iterator[str]:
    return (f"{name}={value:g}" for name, value in point.items())
