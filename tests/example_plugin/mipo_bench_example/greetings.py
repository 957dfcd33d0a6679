"""Greet users in their language.

context  About the user: speaks Spanish.
prompt   Greet me, it is morning.
gold     Buenos dias!
score    1 if the greeting of that language and hour is in the response, and of no other language
"""

from __future__ import annotations

from functools import cache

from mipo_bench.harness.types import Demonstration, Item, Response, Score, Split, Suite

GREETINGS = {
    "eval": {
        "Spanish": ("buenos dias", "buenas noches"),
        "German": ("guten morgen", "guten abend"),
        "Dutch": ("goedemorgen", "goedenavond"),
    },
    "train": {
        "French": ("bonjour", "bonsoir"),
        "Italian": ("buongiorno", "buonasera"),
        "Portuguese": ("bom dia", "boa noite"),
        "Swedish": ("god morgon", "god kväll"),
    },
}
HOURS = {"eval": ("it is morning", "it is evening"), "train": ("the day begins", "the day ends")}
ALL = {text for table in GREETINGS.values() for pair in table.values() for text in pair}


class Greetings:
    """One user for each language, two hours."""

    name = "greetings"
    suite: Suite = "personalized"
    version = 1
    description = "Greet users in their language; the greeting found by rule."
    binary = True
    reasoning = False
    reference = "profile"
    max_new_tokens = 32
    licence = "CC0-1.0"
    source = "written for this package"

    def items(self, split: Split) -> tuple[Item, ...]:
        """Two requests of each user."""
        return _items(split)

    def score(self, item: Item, response: Response) -> Score:
        """Whether the right greeting, and no other, is in the response."""
        said = {text for text in ALL if text in response.text.lower()}
        return Score(float(said == {item.target}), parsed=bool(said))

    def gold(self, item: Item) -> str:
        """The greeting."""
        return f"{item.target.capitalize()}!"

    def wrong(self, item: Item) -> str:
        """The greeting, and another one."""
        other = min(ALL - {item.target})
        return f"{item.target.capitalize()}! {other.capitalize()}!"


@cache
def _items(split: Split) -> tuple[Item, ...]:
    return tuple(
        Item(
            f"{language.lower()}-{n}",
            f"Greet me, {hour}.",
            greeting,
            f"speaker-of-{language.lower()}",
            f"About the user: speaks {language}.",
            demonstrations=(Demonstration("Greet me.", f"{greetings[1 - n].capitalize()}!"),),
        )
        for language, greetings in GREETINGS[split].items()
        for n, (hour, greeting) in enumerate(zip(HOURS[split], greetings, strict=True))
    )
