"""The designs that a plan looks at: the smallest difference that each finds, and the cheapest for a wanted one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from mipo_bench.reports.statistics.design import Components, Design, Goal, smallest_designs


@dataclass(frozen=True, slots=True)
class Grid:
    """The numbers of users, of items for each user and of training seeds whose combinations are looked at."""

    users: tuple[int, ...]
    items: tuple[int, ...]
    seeds: tuple[int, ...]

    @property
    def designs(self) -> list[Design]:
        """All combinations, the seeds changing fastest."""
        return [Design(u, m, s) for u, m, s in product(self.users, self.items, self.seeds)]


@dataclass(frozen=True, slots=True)
class Planning:
    """The question: a grid under variance components, and the source of these in words.

    `unit` is what the designs count: users, or items without users. `trained` counts the trained arms of the
    comparison. `estimated_seeds` is the number of seeds that the spread of the seeds was estimated from, None if it was
    assumed, and `estimated_users` the same for users (or items). `wanted` is the difference to find, None without one;
    `tokens` are those of an answer, where known.
    """

    source: tuple[str, ...]
    components: Components
    grid: Grid
    alpha: float
    power: float
    comparisons: int
    wanted: float | None
    unit: str = "users"
    trained: int = 1
    estimated_seeds: int | None = None
    estimated_users: int | None = None
    tokens: float | None = None

    @property
    def goal_alpha(self) -> float:
        """The alpha of one comparison: that of Holm's first step."""
        return self.alpha / self.comparisons

    def smallest(self, design: Design) -> float | None:
        """The smallest difference that the design finds."""
        return design.smallest_difference(self.components, self.goal_alpha, self.power)

    def answers(self, design: Design) -> int:
        """Answers to generate: an arm without training answers once, a trained arm under each seed."""
        return design.users * design.items * (self.trained * design.seeds + 2 - self.trained)

    def trainings(self, design: Design) -> int:
        """Trainings of the comparison."""
        return self.trained * design.seeds

    def cheapest(self) -> list[Design]:
        """The designs that find the wanted difference and that no other one undercuts, the fewest trainings first."""
        if self.wanted is None:
            return []
        goal, g = Goal(self.wanted, self.power, self.goal_alpha), self.grid
        found = smallest_designs(self.components, goal, g.seeds, g.items, max(g.users))
        kept: list[Design] = []
        for design in sorted(found, key=lambda d: (self.trainings(d), self.answers(d), d.users)):
            if not kept or self.answers(design) < self.answers(kept[-1]):
                kept.append(design)
        return kept
