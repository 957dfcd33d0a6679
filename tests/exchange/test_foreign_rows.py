"""Answers in the formats of other programs: lm-eval's sample logs and AlpacaEval's outputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.exchange.foreign_rows import Document
from mipo_bench.harness.exchange.from_responses import ExternalResponses, plan_responses
from mipo_bench.harness.exchange.match_documents import TaskItems, with_items
from mipo_bench.harness.exchange.responses_file import ResponseLine
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.types import Item, Split
from mipo_bench.tasks.embedded.arithmetic import Arithmetic

ITEMS = Arithmetic().items("eval")[:4]
Row = dict[str, Any]


class FewItems(Arithmetic):
    """The task with other evaluation items."""

    def __init__(self, evaluated: list[Item]) -> None:
        self.evaluated = tuple(evaluated)

    def items(self, split: Split) -> tuple[Item, ...]:
        return self.evaluated if split == "eval" else ()


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., ExternalResponses]:
    def plan(rows: list[Row], *settings: str) -> ExternalResponses:
        file = tmp_path / "answers.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return plan_responses(load_config(None, settings, {"model": str(file), "tasks": ["arithmetic"]}))

    return plan


def logged(item: Item, text: str, **more: Any) -> Row:
    """A line of lm-eval's log for a task of its own on the same questions."""
    number = ITEMS.index(item)
    return {
        "doc_id": number,
        "doc": {"question": item.prompt.split("\n")[0], "answer": item.target, "steps": [1, None]},
        "target": item.target,
        "arguments": {"gen_args_0": {"arg_0": "Q: ...", "arg_1": {"until": ["\n"]}}},
        "resps": [[text]],
        "filtered_resps": [text],
        "filter": "none",
        "metrics": ["exact_match"],
        "exact_match": 1.0,
        "doc_hash": "d",
        "prompt_hash": "p",
        "target_hash": "t",
        **more,
    }


def test_a_sample_log_answers_the_items_that_its_documents_ask(planned: Callable[..., ExternalResponses]) -> None:
    given = planned([logged(item, f"#### {n}") for n, item in enumerate(ITEMS)])
    assert [(arm.method, arm.recipe) for arm in given.plan.arms] == [("plain", None)]
    assert sorted(r.text for r in given.responses.values()) == ["#### 0", "#### 1", "#### 2", "#### 3"]
    assert {r.finish for r in given.responses.values()} == {"unknown"}
    assert given.notes == ()


def test_each_response_reaches_its_own_item(planned: Callable[..., ExternalResponses]) -> None:
    """The log in another order, under another number than the item's, gives the same responses."""
    rows = [logged(item, f"#### {item.target}") for item in ITEMS]
    renumbered = [row | {"doc_id": 7 - n} for n, row in enumerate(rows)]
    assert planned(rows).responses == planned(renumbered[::-1]).responses


def test_an_arm_and_a_training_seed_may_be_added_to_the_rows(planned: Callable[..., ExternalResponses]) -> None:
    rows = [logged(item, "1") for item in ITEMS]
    rows += [logged(item, "2", arm="mine", train_seed=0, finish="length") for item in ITEMS]
    given = planned(rows)
    assert [(arm.method, arm.train_seed) for arm in given.plan.arms] == [("plain", None), ("mine", 0)]
    assert {(r.text, r.finish) for r in given.responses.values()} == {("1", "unknown"), ("2", "length")}


def test_the_rows_of_several_filters_are_one_response(planned: Callable[..., ExternalResponses]) -> None:
    rows = [
        logged(item, "4", filter=name, filtered_resps=[name])
        for item in ITEMS
        for name in ("strict-match", "flexible-extract")
    ]
    assert len(planned(rows).responses) == 4
    with pytest.raises(ModelError, match="answers item 'eval-0000' again, first in line 1"):
        planned([logged(ITEMS[0], "4", filter="none"), logged(ITEMS[0], "5", filter="other")])


def test_outputs_of_alpaca_eval_are_matched_by_their_instruction(planned: Callable[..., ExternalResponses]) -> None:
    rows = [{"instruction": i.prompt, "output": f"#### {i.target}", "generator": "m", "dataset": "d"} for i in ITEMS]
    given = planned(rows)
    assert [arm.method for arm in given.plan.arms] == ["plain"]
    assert len(given.responses) == 4


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"doc_id": 0, "resps": [["x"]]},
            "lm-eval document 0 fits no item of task 'arithmetic'.* The row has no quest",
        ),
        (
            {"doc_id": 0, "doc": {"question": "Else?"}, "resps": [["x"]]},
            "neither by its id nor by its question. Choose",
        ),
        ({"doc_id": 0, "resps": [["x", "y"]]}, "resps has no text, or several"),
        ({"doc_id": 0, "resps": [[["-1.5", "False"]], [["-2.5", "True"]]]}, "`mipo-bench compare` reads its scores"),
        ({"instruction": "How many?", "output": "x"}, "instruction 'How many\\?' fits no item"),
        ({"instruction": "How many?", "output": None}, "response is null"),
    ],
)
def test_a_row_that_fits_no_item_is_refused_with_the_reason(
    row: Row, reason: str, planned: Callable[..., ExternalResponses]
) -> None:
    with pytest.raises(ModelError, match=reason):
        planned([row])


def items(**prompts: str) -> TaskItems:
    return TaskItems([Item(name, prompt, "") for name, prompt in prompts.items()])


def found(tasks: TaskItems, ids: tuple[str, ...], *texts: str) -> list[str]:
    return [item.id for item in tasks.asked_by(Document("", ids, texts))]


def test_an_id_counts_only_where_the_prompt_holds_a_text_of_the_document() -> None:
    tasks = TaskItems([Item("0", "Question: Two and two?\nAnswer:", ""), Item("1", "And three?\nEnd with #### 3", "")])
    assert found(tasks, ("0",), "Two and two?") == ["0"]
    assert found(tasks, ("0",), "And three?") == ["1"]
    assert found(tasks, ("0",), "Four?") == []
    assert found(tasks, ("1",), "And what of four?", "3") == []
    assert found(tasks, ("0",)) == ["0"]
    assert found(tasks, (), "Two and two?") == []


def test_a_question_that_several_items_ask_is_told_by_its_options() -> None:
    tasks = items(a="Which is true?\nA. cats\nB. dogs", b="Which is true?\nA. tea\nB. milk", c="Which is truer?")
    assert found(tasks, (), "Which is true?", "tea", "milk") == ["b"]
    assert found(tasks, (), "Which is true?") == ["a", "b"]


def test_items_that_are_equal_but_for_their_ids_take_the_responses_to_their_question_in_turn(tmp_path: Path) -> None:
    arithmetic = load_config(None, [], {"tasks": ["arithmetic"]})
    (planned,) = make_plan(arithmetic).tasks
    twins = [Item(name, "Which is true?", target) for name, target in (("a", "x"), ("b", "x"), ("c", "x"))]
    document = Document("row", (), ("Which is true?",))

    def place(items: list[Item], *texts: str) -> list[tuple[str, str]]:
        lines = [ResponseLine(n, "", "", text, task="arithmetic", document=document) for n, text in enumerate(texts)]
        task = replace(planned, task=FewItems(items))
        return [(line.item, line.response) for line in with_items(tmp_path / "log", lines, [task])]

    assert place(twins, "1", "2", "3") == [("a", "1"), ("b", "2"), ("c", "3")]
    with pytest.raises(ModelError, match="fits 3 items"):
        place(twins, "1", "2", "3", "4")
    with pytest.raises(ModelError, match="fits 2 items"):
        place([twins[0], replace(twins[1], target="y")], "1", "2")


def test_a_word_or_the_beginning_of_a_sentence_is_no_question() -> None:
    tasks = items(a="A mill grinds corn.\nHow much?", b="Add\n2 and 2", c="Ducks")
    assert found(tasks, (), "A mill", "A", "Add") == []
    assert found(tasks, (), "A mill grinds corn.") == ["a"]
    assert found(tasks, (), "Ducks") == ["c"]
