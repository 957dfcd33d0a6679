"""Exam questions in 57 subjects, MMLU (Hendrycks et al. 2021, arXiv 2009.03300; cais/mmlu, configuration `all`, MIT).

    question  Which of these is a noble gas?      choices  ["iron", "neon", "zinc", "lead"]
    subject   high_school_chemistry               answer   1
    prompt    the question, the options with letters, and a request to end with "Answer: " and the letter
    target    B
    score     1 if the letter read from the response, which may name the option instead, is right

Evaluation is on `test` (14,042), training on `auxiliary_train` (99,842; questions of other exams, hence without a
subject): `--set pairs.limit=2000` keeps a training short. Five questions of the same subject in `dev` demonstrate.
`lm-eval:mmlu` gives lm-eval's own prompts and scores, by log-likelihood of the letters.
"""

from __future__ import annotations

from collections import defaultdict

from mipo_bench.harness.types import Item, Response, Score, Split, Suite, Turn
from mipo_bench.tasks.answers import LETTERS, letter_score, lettered, other_letter
from mipo_bench.tasks.data.layout import DataSet, Part
from mipo_bench.tasks.data.public import Built, PublicTask, content_ids, with_shots
from mipo_bench.tasks.data.rows import Row

SHOTS = 5


class Mmlu(PublicTask):
    """Four options, one right."""

    name = "mmlu"
    suite: Suite = "choice"
    version = 1
    description = "MMLU: exam questions in 57 subjects; generated letter, and log-likelihood of the options."
    binary = True
    reasoning = True
    reference = "plain"
    max_new_tokens = 512
    dataset = DataSet("cais/mmlu", "c30699e8356da336a370243923dbaf21066bb9fe", "MIT")

    def build(self) -> Built:
        """One item for each question, demonstrated by questions of its subject where there are some."""
        train, held = (self.rows(Part("all", split)) for split in ("auxiliary_train", "test"))
        shots = self.rows(Part("all", "dev"), needed=False)
        return Built({"train": _items("train", train, shots), "eval": _items("eval", held, shots)})

    def score(self, item: Item, response: Response) -> Score:
        """Exact match on the letter; `acc` and `acc_norm` from the log-likelihoods where there are any."""
        return letter_score(item, response)

    def gold(self, item: Item) -> str:
        """The right letter."""
        return f"Answer: {item.target}"

    def wrong(self, item: Item) -> str:
        """The next letter."""
        return f"Answer: {other_letter(item)}"


def _items(split: Split, rows: tuple[Row, ...], shots: tuple[Row, ...]) -> tuple[Item, ...]:
    """The items in the order of the rows."""
    ids = content_ids(split, ((subject(r), r.text("question"), r.options("choices")) for r in rows))
    by_subject: dict[str, list[Item]] = defaultdict(list)
    for name, row in zip(ids, rows, strict=True):
        options = row.options("choices")
        letter = LETTERS[row.whole("answer", below=len(options))]
        by_subject[subject(row)].append(Item(name, lettered(row.text("question"), options), letter, options=options))
    pools = _pools(shots)
    every = [turn for pool in pools.values() for turn in pool]
    made = {
        item.id: item
        for name, items in by_subject.items()
        for item in with_shots(items, pools.get(name) or every, SHOTS, "mmlu-shots")
    }
    return tuple(made[name] for name in ids)


def _pools(rows: tuple[Row, ...]) -> dict[str, list[tuple[str, Turn]]]:
    """Demonstrations by subject."""
    pools: dict[str, list[tuple[str, Turn]]] = defaultdict(list)
    for row in rows:
        options = row.options("choices")
        prompt = lettered(row.text("question"), options)
        letter = LETTERS[row.whole("answer", below=len(options))]
        pools[subject(row)].append((prompt, Turn(prompt, f"Answer: {letter}")))
    return pools


def subject(row: Row) -> str:
    """The subject; empty in `auxiliary_train`."""
    return row.optional("subject") or ""
