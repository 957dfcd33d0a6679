"""LaMP: seven tasks of users with a past (Salemi et al. 2024, arXiv 2304.11406).

Data: lamp-benchmark.github.io, the files of the user-based split, given with `--data`. The authors license LaMP as
CC-BY-NC-SA-4.0, and ask to follow the licences of the data sets that it is made from. Two of their files make a split
(see `files`):

    input    What is the score of the following review on a scale of 1 to 5? just answer with 1, 2, 3, 4, or 5 without
             further explanation. review: It broke on the second day.
    profile  past reviews of the user, each with its score
    context  The user has given these scores to products:
             5 is the score for "Sturdy, and it fits."
             ...
    prompt   the input, word for word
    target   1

Training questions are the authors' `train`, evaluation questions their `dev`: the outputs of `test` are not public. The
context has `k` past items, the nearest to the question by BM25 or the latest (`by=recency`), in the words of the
authors' prompts. The user is the cluster. The items are in a shuffled order, so that a limit takes many users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mipo_bench.harness.errors import MissingDataError
from mipo_bench.harness.types import Demonstration, Item, Suite
from mipo_bench.tasks.data.hub import NoSplitError
from mipo_bench.tasks.data.layout import DataSet
from mipo_bench.tasks.public.lamp.files import LampQuestion, Past, outputs_of, parts_of, questions_of
from mipo_bench.tasks.public.lamp.retrieval import latest, nearest
from mipo_bench.tasks.public.public_task import BuiltItems, PublicTask, TaskOption
from mipo_bench.tasks.splits import seeded

USER_IN_BOTH = "training questions of users of the evaluation (is this the time-based split?)"
UNSCORABLE = "questions whose output cannot be scored"
LAMP = DataSet(
    "LaMP-Benchmark/LaMP",
    "user-based split",
    "CC-BY-NC-SA-4.0 (and those of the data sets that it is made from)",
    page="https://lamp-benchmark.github.io/download",
)


@dataclass(frozen=True, slots=True)
class Wording:
    """How a task shows past items, and where its inputs keep the text that the question is about.

    `past` is the line of a past item, with its fields in braces; `shown` are those fields. `searched` are the fields
    that BM25 reads. The text follows `mark` in the input. `answer` is the field of a past item that the question asks
    for, if its past items have one: they are demonstrations then, with `text` in place of the question's.
    """

    lead: str
    past: str
    shown: tuple[str, ...]
    searched: tuple[str, ...]
    mark: str
    text: str = ""
    answer: str = ""


class LampTask(PublicTask):
    """Base of the seven tasks. A subclass declares `number`, `wording` and its scorer."""

    number: ClassVar[int]
    choices: ClassVar[tuple[str, ...]] = ()
    wording: ClassVar[Wording]
    suite: Suite = "personalized"
    version = 1
    default = False
    reasoning = False
    reference = "profile"
    dataset = LAMP
    task_options = (TaskOption("k", "4", range(1, 101)), TaskOption("by", "bm25", ("bm25", "recency")))

    def build(self) -> BuiltItems:
        """One item per question with a past. Training questions of evaluation users are left out."""
        counts = Counter[str]()
        evaluation = self._evaluation(counts)
        training = self._split("train", counts)
        users = {question.user for question in evaluation}
        kept = [question for question in training if question.user not in users]
        counts[USER_IN_BOTH] += len(training) - len(kept)
        items = {"train": self._items("train", kept), "eval": self._items("dev", evaluation)}
        for split, found in items.items():
            items[split] = tuple(item for item in found if self.allows(item))
            counts[UNSCORABLE] += len(found) - len(items[split])
        return BuiltItems({"train": items["train"], "eval": items["eval"]}, +counts)

    def answers(self, question: LampQuestion) -> tuple[str, ...]:  # noqa: ARG002 - a subclass reads them from it
        """The answers that the question allows; empty where it is answered freely."""
        return self.choices

    def allows(self, item: Item) -> bool:
        """Whether the item can be scored: its target is one of its options, where it has options."""
        return not item.options or item.target in item.options

    def query(self, question: LampQuestion) -> str:
        """The text that the question is about, by which past items are found; the whole input where no mark is."""
        head, mark, text = question.text.partition(self.wording.mark)
        return text.strip() if mark else head

    def _evaluation(self, counts: Counter[str]) -> list[LampQuestion]:
        try:
            return self._split("dev", counts)
        except NoSplitError as error:
            raise MissingDataError(
                f"{error} The evaluation needs dev_questions.json and dev_outputs.json of LaMP_{self.number}: the"
                " outputs of its test split are not public."
            ) from error

    def _split(self, split: str, counts: Counter[str]) -> list[LampQuestion]:
        """The questions of a split. Of `train`, both files may be missing."""
        questions, outputs = parts_of(split, self.number)
        rows = self.training_rows(questions) if split == "train" else self.rows(questions)
        if not rows:
            return []
        known = outputs_of(self.rows(outputs), type(self).name)
        more = tuple(field for field in self.wording.searched if field not in self.wording.shown)
        return list(questions_of(rows, known, self.wording.shown, more, counts))

    def _items(self, split: str, questions: Sequence[LampQuestion]) -> tuple[Item, ...]:
        items = [self._item(split, question) for question in questions]
        return tuple(sorted(items, key=lambda item: seeded("lamp-order", item.id, item.user_id).random()))

    def _item(self, split: str, question: LampQuestion) -> Item:
        past = self._chosen(question)
        lines = [self.wording.past.format(**item.values) for item in past]
        context = "\n".join([self.wording.lead, *lines])
        shots = self._shots(question, past)
        name = f"{split}-{question.id}"
        options = self.answers(question)
        return Item(name, question.text, question.output, question.user, context, options, shots)

    def _chosen(self, question: LampQuestion) -> list[Past]:
        k = int(self.options["k"])
        if self.options["by"] == "recency":
            return latest(question.past, k)
        return nearest(question.past, self.wording.searched, self.query(question), k)

    def _shots(self, question: LampQuestion, past: Sequence[Past]) -> tuple[Demonstration, ...]:
        """The past items as earlier requests in the words of the question; none where they have no answer."""
        if not self.wording.answer or self.wording.mark not in question.text:
            return ()
        head, mark, _ = question.text.partition(self.wording.mark)
        turns = ((item.values[self.wording.text], item.values[self.wording.answer]) for item in past)
        return tuple(Demonstration(f"{head}{mark} {text}", answer) for text, answer in turns)
