"""Lays out the power of designs: the smallest difference of a grid, and the cheapest designs for a wanted one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import product

import scipy

from mipo_bench.reports.analysis.planning import Planning
from mipo_bench.reports.numbers import plural, unsigned
from mipo_bench.reports.pages.page import Footnotes, Page, Section, Table
from mipo_bench.reports.statistics.design import Design

FEW_SEEDS = 5
"""Up to this number of seeds, a footnote says how uncertain their spread is."""
FEW_USERS = 10
"""Below this number of users (or items), a footnote says that their spread is uncertain."""
_NAMES = {
    "users": "users",
    "items": "items of a user",
    "seeds": "training seeds",
    "seeds_users": "seeds x users",
    "residual": "residual",
}


def power_page(planning: Planning) -> Page:
    """The page of the terminal, Markdown and LaTeX."""
    notes = Footnotes()
    tables = [_grid(planning, notes.marks(_notes(planning)))]
    best = planning.cheapest()
    if best:
        tables.append(_designs(planning, best))
    conclusions = () if planning.wanted is None else tuple(_conclusions(planning, best))
    sections = (Section("designs", tuple(tables)),)
    return Page("mipo-bench power", tuple(_head(planning)), sections, tuple(notes.texts), conclusions)


def _head(planning: Planning) -> Iterable[str]:
    yield from planning.source
    parts = asdict(planning.components)
    only_users, only_trained = ("items", "seeds_users"), ("seeds", "seeds_users", "residual")
    hidden = {*(only_users if planning.unit == "items" else ()), *(() if planning.trained else only_trained)}
    shown = [n for n in _NAMES if parts[n] or n not in hidden]
    names = _NAMES if planning.unit == "users" else {**_NAMES, "users": "items"}
    yield f"standard deviations of the difference: {', '.join(f'{names[n]} {unsigned(parts[n])}' for n in shown)}"
    members = plural(planning.comparisons, "comparison")
    test = "share-weighted t" if max(planning.grid.seeds) > 1 else f"t test of {planning.unit}"
    yield f"{test}, {planning.power:.0%} power, alpha {planning.alpha:g} over {members} (Holm, first step)"


def _grid(planning: Planning, marks: str) -> Table:
    """The smallest difference: a row for each number of users and items, a column for each number of seeds."""
    grid = planning.grid
    columns = (planning.unit, "items each", *(plural(s, "seed") for s in grid.seeds))
    if grid.seeds == (1,):
        columns = (*columns[:2], "smallest")
    rows = tuple(
        (f"{u:,}", str(m), *(_difference(planning.smallest(Design(u, m, s))) for s in grid.seeds))
        for u, m in product(grid.users, grid.items)
    )
    if grid.items == (1,) and planning.unit == "items":
        columns, rows = (columns[0], *columns[2:]), tuple((row[0], *row[2:]) for row in rows)
    return Table(f"smallest difference that is found{marks}", columns, rows)


def _difference(value: float | None) -> str:
    """A difference of scores in [0, 1]; one above 1 cannot occur."""
    return "-" if value is None else "> 1" if value > 1 else unsigned(value)


def _designs(planning: Planning, designs: Sequence[Design]) -> Table:
    each = planning.unit == "users"
    columns = ("trainings", planning.unit, *(("items each",) if each else ()), "answers", "new tokens", "power")
    goal = planning.wanted or 0.0
    rows = tuple(
        (
            f"{planning.trainings(d):,}",
            f"{d.users:,}",
            *((str(d.items),) if each else ()),
            f"{planning.answers(d):,}",
            "-" if planning.tokens is None else f"{planning.answers(d) * planning.tokens:,.0f}",
            f"{d.power(goal, planning.components, planning.goal_alpha):.0%}",
        )
        for d in designs
    )
    title = f"cheapest designs that find {unsigned(planning.wanted)} (each has fewer answers than those above it)"
    return Table(title, columns, rows)


def _conclusions(planning: Planning, best: Sequence[Design]) -> Iterable[str]:
    grid = planning.grid
    if not best:
        largest = Design(max(grid.users), max(grid.items), max(grid.seeds))
        yield (
            f"No design of this grid finds {unsigned(planning.wanted)}: the largest finds"
            f" {_difference(planning.smallest(largest))}."
        )
        return
    if len(best) == 1:
        yield f"Cheapest: {_described(planning, best[0])}."
        return
    yield f"Fewest trainings: {_described(planning, best[0])}."
    yield f"Fewest answers: {_described(planning, best[-1])}."


def _described(planning: Planning, design: Design) -> str:
    unit = planning.unit.removesuffix("s")
    each = f" with {plural(design.items, 'item')} each" if unit == "user" else ""
    answers = plural(planning.answers(design), "answer")
    return f"{plural(planning.trainings(design), 'training')}, {plural(design.users, unit)}{each}, {answers}"


def _notes(planning: Planning) -> Iterable[str]:
    n = planning.estimated_seeds
    if n is not None and n <= FEW_SEEDS:
        most = math.sqrt((n - 1) / (2 * scipy.special.gammaincinv((n - 1) / 2, 0.025)))
        found = f"the spread of the training seeds is estimated from {n} seeds"
        doubt = f"it may be {most:.0f} times as large (95%)" if planning.components.seeds else "0 may be too small"
        yield f"{found}: {doubt}; --sd-seeds tries another one"
    users = planning.estimated_users
    if users is not None and users < FEW_USERS:
        yield f"the spread of the {planning.unit} is estimated from {users} {planning.unit}, and so is uncertain"
    equal = ", and users with the same number of items" if planning.unit == "users" else ""
    yield f"normal effects are assumed{equal}; new tokens are those of the answers alone"
