"""LaMP-4 to LaMP-7: headlines, titles, subjects and tweets as a user writes them; scored by ROUGE."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from mipo_bench.harness.types import Item, Response, Score
from mipo_bench.tasks.public.lamp.lamp_task import LampTask, Wording

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

UNLIKE = "qxqxq"
"""A word that no output has."""


class _Written(LampTask):
    """ROUGE-1 with the user's own text; beside it ROUGE-L."""

    binary = False
    max_new_tokens = 128

    def score(self, item: Item, response: Response) -> Score:
        """ROUGE-1's F of the response and the target, by `rouge_score` without stemming, as the authors use it."""
        found = _rouge().score(item.target, response.text)
        rouge_l = float(found["rougeL"].fmeasure)
        return Score(float(found["rouge1"].fmeasure), {"rouge_l": rouge_l}, parsed=bool(response.text.strip()))

    def allows(self, item: Item) -> bool:
        """Whether ROUGE can score the item: its tokenizer reads Latin letters and digits only."""
        return self.score(item, Response(item.target, 0, 0, "stop")).value > 0

    def gold(self, item: Item) -> str:
        """The user's own text."""
        return item.target

    def wrong(self, item: Item) -> str:
        """A word that the target does not have."""
        return UNLIKE if UNLIKE not in item.target.lower() else f"x{UNLIKE}"


class Lamp4(_Written):
    """The headline that an author of news writes for an article."""

    name = "lamp_4"
    description = "LaMP-4: the headline that an author writes for an article, from earlier ones; ROUGE-1, ROUGE-L."
    number = 4
    wording = Wording(
        "This author has written these headlines:",
        '"{title}" is the title for "{text}"',
        ("title", "text"),
        ("title", "text"),
        "article:",
        "text",
        "title",
    )


class Lamp5(_Written):
    """The title that an author writes for a paper."""

    name = "lamp_5"
    description = "LaMP-5: the title that an author gives a paper, from earlier ones; ROUGE-1, ROUGE-L."
    number = 5
    wording = Wording(
        "This author has written these titles:",
        '"{title}" is the title for "{abstract}"',
        ("title", "abstract"),
        ("title", "abstract"),
        ":",
        "abstract",
        "title",
    )


class Lamp6(_Written):
    """The subject that a user writes for an email. The texts are Avocado's, which the LDC licenses."""

    name = "lamp_6"
    description = "LaMP-6: the subject that a user gives an email, from earlier ones; ROUGE-1, ROUGE-L."
    number = 6
    wording = Wording(
        "This user has written these subjects of emails:",
        '"{title}" is the title for "{text}"',
        ("title", "text"),
        ("text",),
        ":",
        "text",
        "title",
    )


class Lamp7(_Written):
    """A tweet in a user's own words."""

    name = "lamp_7"
    description = "LaMP-7: a tweet in the words of a user, from earlier tweets; ROUGE-1, ROUGE-L."
    number = 7
    wording = Wording("This person has written these tweets:", '"{text}"', ("text",), ("text",), ":")


@cache
def _rouge() -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rougeL"])
