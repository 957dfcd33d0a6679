"""The `persona` task with a judge: a response is compared with the reference arm's response, given the user's wishes.

    rubric   A good response answers the request, has a formal tone, is written in prose, is medium, draws a comparison
             with football, speaks to a practitioner and calls the user colleague.
    verdict  without a judge model, rules prefer the response that follows more of the six attributes

The task demonstrates a judged task without the cost of a judge model. A judge model can be measured on it, because
rules know the right verdict.
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
    """Persona with a rubric for a judge instead of a score."""

    name = "persona-judged"
    version = 1
    description = "The users of persona, compared response by response by a judge."
    default = False
    """The task runs only when it is named."""
    rules_decide = True
    """Rules compare the two responses unless the user chooses a judge."""

    def rubric(self, item: Item) -> str:
        """The user's six wishes in words."""
        profile = json.loads(item.target)
        wishes = [text.format(profile[name]) for name, text in WISHES.items()]
        return f"A good response answers the request, {', '.join(wishes[:-1])} and {wishes[-1]}."
