"""Base of the judged tasks on human preferences.

A judge gives the scores. The responses that people chose and rejected are labels, by which a judge is validated.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mipo_bench.harness.types import Demonstration, Item, Response, Score, Split, Suite
from mipo_bench.tasks.public.public_task import BuiltItems, PublicTask

PAST_EXCHANGES = 2
PAST = "conversations that are a user's past"
NO_PAST = "conversations of users without a past"
REPEATED = "conversations that repeat a prompt of the user's past"
NO_CONTEXT = "conversations of users about whom nothing is known"
_SPLITS: Mapping[str, Split] = {"train": "train", "eval": "eval"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """The opening turn of a conversation: the user's prompt, a chosen response and a rejected response.

    `comment` is the user's reason for the choice. If `chosen` or `rejected` is None, `flaw` is the reason.
    """

    id: str
    user: str
    prompt: str
    chosen: str | None
    rejected: str | None
    flaw: str = ""
    comment: str | None = None


class PreferenceTask(PublicTask):
    """Base of the judged tasks. An item's `target` is JSON with `chosen`, `rejected` and, optionally, `rubric`."""

    suite: Suite = "personalized"
    version = 1
    binary = False
    reasoning = False
    reference = "profile"
    max_new_tokens = 512

    def score(self, item: Item, response: Response) -> Score:
        """The word overlap with the preferred response, a rule check that is reported beside the judge's verdict."""
        overlap = word_f1(response.text, self.gold(item))
        return Score(overlap, {"word_f1": overlap}, parsed=bool(response.text.strip()))

    def gold(self, item: Item) -> str:
        """A response that this user preferred."""
        return str(json.loads(item.target)["chosen"])

    def wrong(self, item: Item) -> str:
        """A response that this user did not prefer."""
        return str(json.loads(item.target)["rejected"])

    def rubric(self, item: Item) -> str:
        """The description of a good response for this user, which the judge reads."""
        return (
            "A good response answers the request, and does so in the way that this user would rate highest. What is"
            f" known about the user:\n{item.context}"
        )


def preference_target(chosen: str, rejected: str, rubric: str | None = None) -> str:
    """The target of an item, as JSON."""
    found = {"chosen": chosen, "rejected": rejected} | ({"rubric": rubric} if rubric else {})
    return json.dumps(found, ensure_ascii=False)


def word_f1(text: str, reference: str) -> float:
    """The F1 score, in [0, 1], of the words of a text against those of a reference. Repeated words count repeatedly.

    On plain ASCII words this is ROUGE-1 without stemming (Lin 2004). ROUGE's tokenizer drops all other letters, so a
    response in another script would have no words.
    """
    ours, theirs = (Counter(re.findall(r"\w+", t.lower())) for t in (text, reference))
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def build_preferences(
    exchanges: Iterable[Exchange],
    split_of: Callable[[Exchange], Split | str],
    context_of: Callable[[str, Sequence[Exchange]], str | None],
    usable_as_past: Callable[[Exchange], bool] = lambda _: True,
) -> BuiltItems:
    """The items of both splits, grouped by user, in the order of the exchanges.

    The past of a user is the first `PAST_EXCHANGES` exchanges that have a chosen response and are `usable_as_past`. It
    is shown with all items of this user and makes no items itself, so no evaluated exchange is ever shown. `context_of`
    returns the context of a user with this past. `split_of` returns the split of an exchange, or the reason why it is
    in neither split. Exchanges that make no item are counted by reason.
    """
    users: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        users[exchange.user].append(exchange)
    left_out, items = Counter[str](), defaultdict[Split, list[Item]](list)
    for user, own in users.items():
        past = [exchange for exchange in own if exchange.chosen is not None and usable_as_past(exchange)][
            :PAST_EXCHANGES
        ]
        context = context_of(user, past)
        for exchange in own:
            split_or_reason = PAST if exchange in past else _flaw(exchange, past, context) or split_of(exchange)
            if split := _SPLITS.get(split_or_reason):
                items[split].append(_item(exchange, past, context))
            else:
                left_out[split_or_reason] += 1
    return BuiltItems({"train": tuple(items["train"]), "eval": tuple(items["eval"])}, left_out)


def _flaw(exchange: Exchange, past: Sequence[Exchange], context: str | None) -> str | None:
    """The reason why an exchange makes no item in any split; None if it can make one."""
    if exchange.chosen is None or exchange.rejected is None:
        return exchange.flaw
    if not past:
        return NO_PAST
    if context is None:
        return NO_CONTEXT
    return REPEATED if exchange.prompt in {earlier.prompt for earlier in past} else None


def _item(exchange: Exchange, past: Sequence[Exchange], context: str | None) -> Item:
    turns = tuple(Demonstration(earlier.prompt, str(earlier.chosen)) for earlier in past)
    target = preference_target(str(exchange.chosen), str(exchange.rejected))
    return Item(exchange.id, exchange.prompt, target, exchange.user, context, demonstrations=turns)
