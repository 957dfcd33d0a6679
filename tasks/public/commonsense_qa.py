"""CommonsenseQA: questions about everyday knowledge (Talmor et al. 2019, arXiv 1811.00937; tau/commonsense_qa, MIT).

    question   Where would you put a wet umbrella?
    choices    {"text": ["a stand", "a bed", "an oven", "a book", "a cloud"], "label": ["A", "B", "C", "D", "E"]}
    answerKey  A
    prompt     the question, the options with letters, and a request to end with "Answer: " and the letter
    target     A
    score      1 if the response chooses the right option, by letter or by text; "Answer: A" scores 1

The evaluation split is `validation` (1,221 questions), because the published test has no answers; the training split is
`train` (9,741). Five training questions are demonstrations. The files that the authors publish
(`train_rand_split.jsonl`, `dev_rand_split.jsonl`) have question and options as `{"stem": ..., "choices": [{"text": ...,
"label": ...}]}` under `question`. `lm-eval:commonsense_qa` gives lm-eval's own prompts and scores.
"""

from __future__ import annotations

from mipo_bench.harness.types import Demonstration, Suite
from mipo_bench.tasks.answers import LetterAnswers
from mipo_bench.tasks.data.layout import DataSet, Part
from mipo_bench.tasks.data.rows import unique
from mipo_bench.tasks.public.arc import COLUMNS, SHOTS, item_of
from mipo_bench.tasks.public.public_task import BuiltItems, PublicTask, with_demonstrations

TRAIN = Part("default", "train", ("train_rand_split",), COLUMNS)
DEV = Part("default", "validation", ("dev_rand_split", "dev"), COLUMNS)


class CommonsenseQa(LetterAnswers, PublicTask):
    """Questions with five options, of which one is right."""

    name = "commonsense_qa"
    suite: Suite = "choice"
    version = 1
    description = "CommonsenseQA: everyday knowledge; generated letter, and log-likelihood of the options."
    binary = True
    reasoning = True
    reference = "plain"
    max_new_tokens = 512
    dataset = DataSet("tau/commonsense_qa", "94630fe30dad47192a8546eb75f094926d47e155", "MIT")

    def build(self) -> BuiltItems:
        """One item per question, with training questions as demonstrations."""
        train, dev = self.training_rows(TRAIN), self.rows(DEV)
        unique((*train, *dev), "id")
        train_items, eval_items = ([item_of(row) for row in rows] for rows in (train, dev))
        pool = [Demonstration(item.prompt, f"Answer: {item.target}") for item in train_items]
        return with_demonstrations(train_items, eval_items, pool, SHOTS, "commonsense-qa-shots")
