"""Tasks on what people preferred: their chosen and rejected responses are labels, and a judge gives the scores."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mipo_bench.harness.types import Demonstration, Item, Response, Score, Split, Suite
from mipo_bench.tasks.public.public_task import BuiltItems, PublicTask

EARLIER = 2
PAST = "conversations that are a user's past"
NO_PAST = "conversations of users without a past"
REPEATED = "conversations that repeat a prompt of the user's past"
NO_CONTEXT = "conversations of users about whom nothing is known"


_SPLITS: Mapping[str, Split] = {"train": "train", "eval": "eval"}


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


class PreferenceTask(PublicTask):
    """Base of the judged tasks. An item's `target` is JSON with `chosen`, `rejected` and perhaps `rubric`."""

    suite: Suite = "personalized"
    version = 1
    binary = False
    reasoning = False
    reference = "profile"
    max_new_tokens = 512

    def score(self, item: Item, response: Response) -> Score:
        """Overlap of words with the preferred response: a rule check, shown beside the judge's verdict."""
        overlap = word_f1(response.text, self.gold(item))
        return Score(overlap, {"word_f1": overlap}, parsed=bool(response.text.strip()))

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


def preference_target(chosen: str, rejected: str, rubric: str | None = None) -> str:
    """The target of an item."""
    found = {"chosen": chosen, "rejected": rejected} | ({"rubric": rubric} if rubric else {})
    return json.dumps(found, ensure_ascii=False)


def word_f1(text: str, reference: str) -> float:
    """F1 of the words that two texts share, each counted as often as it occurs.

    On plain ASCII words this is ROUGE-1 without stemming (Lin 2004). ROUGE's tokenizer drops all other letters, which
    would leave a response in another script without a word.
    """
    ours, theirs = (Counter(re.findall(r"\w+", t.lower())) for t in (text, reference))
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def build_preferences(
    exchanges: Iterable[Exchange],
    split_of: Callable[[Exchange], Split | str],
    context_of: Callable[[str, Sequence[Exchange]], str | None],
    remembered: Callable[[Exchange], bool] = lambda _: True,
) -> BuiltItems:
    """Items from exchanges in order; the items of a user stand together.

    The first `EARLIER` exchanges of a user that are `remembered` are their past, shown with all their items and itself
    no item: then nothing that is evaluated is shown anywhere. `context_of` says what is known about a user with this
    past, `split_of` gives a split, or the reason why an exchange belongs to neither. What makes no item is counted.
    """
    users: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        users[exchange.user].append(exchange)
    left_out, items = Counter[str](), defaultdict[Split, list[Item]](list)
    for user, own in users.items():
        past = [exchange for exchange in own if exchange.chosen is not None and remembered(exchange)][:EARLIER]
        context = context_of(user, past)
        for exchange in own:
            made = PAST if exchange in past else _flaw(exchange, past, context) or split_of(exchange)
            if split := _SPLITS.get(made):
                items[split].append(_item(exchange, past, context))
            else:
                left_out[made] += 1
    return BuiltItems({"train": tuple(items["train"]), "eval": tuple(items["eval"])}, left_out)


def _flaw(exchange: Exchange, past: Sequence[Exchange], context: str | None) -> str | None:
    """Why an exchange makes no item, whatever its split."""
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
