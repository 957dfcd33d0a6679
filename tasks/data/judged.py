"""Tasks on what people preferred: their chosen and rejected responses are labels, and a judge gives the scores."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mipo_bench.harness.types import Item, Response, Score, Split, Suite, Turn
from mipo_bench.tasks.data.public import Built, PublicTask

EARLIER = 2
FIRST = "first conversations of a user, which only serve as earlier turns"
NO_CONTEXT = "conversations of users about whom nothing is known"


@dataclass(frozen=True, slots=True)
class Exchange:
    """The opening turn of a conversation: what the user asked, which response they chose, and one that they did not.

    `comment` is what the user said about the choice. `chosen` and `rejected` are None where there is none; `flaw` then
    says why.
    """

    id: str
    user: str
    prompt: str
    chosen: str | None
    rejected: str | None
    flaw: str = ""
    comment: str | None = None


class JudgedPublic(PublicTask):
    """Base of the judged tasks. An item's `target` is JSON with `chosen`, `rejected` and perhaps `rubric`."""

    suite: Suite = "personalized"
    version = 1
    binary = False
    reasoning = False
    reference = "profile"
    max_new_tokens = 512

    def score(self, item: Item, response: Response) -> Score:
        """Overlap of words with the preferred response: a rule check, shown beside the judge's verdict."""
        overlap = rouge1(response.text, self.gold(item))
        return Score(overlap, {"rouge1": overlap}, parsed=bool(response.text.strip()))

    def gold(self, item: Item) -> str:
        """A response that this user preferred."""
        return str(json.loads(item.target)["chosen"])

    def wrong(self, item: Item) -> str:
        """A response that this user did not prefer."""
        return str(json.loads(item.target)["rejected"])

    def rubric(self, item: Item) -> str:
        """What a good response does for this user."""
        return (
            "A good response answers the request, and does so in the way that this user would rate highest. What is"
            f" known about the user:\n{item.context}"
        )


def labels(chosen: str, rejected: str, rubric: str | None = None) -> str:
    """The target of an item."""
    found = {"chosen": chosen, "rejected": rejected} | ({"rubric": rubric} if rubric else {})
    return json.dumps(found, ensure_ascii=False)


def rouge1(text: str, reference: str) -> float:
    """ROUGE-1 (Lin 2004): F1 of the words that two texts share, each counted as often as it occurs; no stemming."""
    ours, theirs = (Counter(re.findall(r"\w+", t.lower())) for t in (text, reference))
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def build_preferences(
    exchanges: Iterable[Exchange],
    split_of: Callable[[Exchange], Split | str],
    context_of: Callable[[Exchange, Sequence[Exchange]], str | None],
    remembered: Callable[[Exchange], bool] = lambda _: True,
) -> Built:
    """Items from exchanges in order, each shown with its user's `EARLIER` last exchanges before it.

    `split_of` gives a split, or the reason why an exchange belongs to neither; `context_of` says what is known about
    the user, given their earlier exchanges; those not `remembered` are no earlier ones. An exchange without a chosen or
    a rejected response is left out and counted. The items of a user stand together.
    """
    built = Built({"train": (), "eval": ()})
    users: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        users[exchange.user].append(exchange)
    items: dict[Split, list[Item]] = {"train": [], "eval": []}
    for own in users.values():
        past: list[Exchange] = []
        for exchange in own:
            earlier = past[-EARLIER:]
            if exchange.chosen is not None and remembered(exchange):
                past.append(exchange)
            made = _item(exchange, earlier, split_of(exchange), context_of(exchange, earlier))
            if isinstance(made, str):
                built.left_out[made] += 1
            else:
                items[made[0]].append(made[1])
    built.items.update({split: tuple(found) for split, found in items.items()})
    return built


def _item(
    exchange: Exchange, earlier: Sequence[Exchange], split: Split | str, context: str | None
) -> tuple[Split, Item] | str:
    """The item with its split, or the reason why there is none."""
    if exchange.chosen is None or exchange.rejected is None:
        return exchange.flaw
    if not earlier:
        return FIRST
    if context is None:
        return NO_CONTEXT
    if split not in ("train", "eval"):
        return split
    turns = tuple(Turn(past.prompt, str(past.chosen)) for past in earlier)
    target = labels(exchange.chosen, exchange.rejected)
    return split, Item(exchange.id, exchange.prompt, target, exchange.user, context, demonstrations=turns)
