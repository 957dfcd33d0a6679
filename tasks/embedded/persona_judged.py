"""The world of `persona`, judged: each response against the reference's, by a judge who is told the user's wishes.

    rubric   A good response has a formal tone, uses bullets, is short, ...
    verdict  the rules decide for whoever follows more of the six attributes; any other judge can be asked instead

It shows at no cost what a judged task looks like, and what a judge makes of cases that a rule can decide as well.
"""

from __future__ import annotations

import json

from mipo_bench.harness.types import Item
from mipo_bench.tasks.embedded.persona import Persona

WISHES = {
    "tone": "has a {} tone",
    "format": "is written in {}",
    "length": "is {}",
    "interest": "draws a comparison with {}",
    "expertise": "speaks to a {}",
    "address": "calls the user {}",
}


class PersonaJudged(Persona):
    """Persona with a rubric instead of a score."""

    name = "persona-judged"
    version = 1
    description = "The users of persona, compared response by response by a judge."
    default = False
    """Runs by name only."""
    rules_decide = True
    """Without a judge of the user's choice the rules compare the two responses."""

    def rubric(self, item: Item) -> str:
        """The six wishes of the user in words."""
        wanted = json.loads(item.target)
        wishes = [text.format(wanted[name]) for name, text in WISHES.items()]
        return f"A good response answers the request, {', '.join(wishes[:-1])} and {wishes[-1]}."
