"""PrefEval and CommonsenseQA as their authors publish them: options, splits, demonstrations, and wrong rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paths import DATA

from mipo_bench.harness.errors import DataError
from mipo_bench.harness.types import Item, Response
from mipo_bench.tasks.public.commonsense_qa import CommonsenseQa
from mipo_bench.tasks.public.prefeval import PrefEval

ROWS = {file.stem: json.loads(file.read_text()) for file in sorted((DATA / "prefeval").iterdir())}
FOLLOWING = {(r["question"], r["classification_task_options"][0]) for rows in ROWS.values() for r in rows}


def items(task: PrefEval) -> list[Item]:
    return [*task.items("train"), *task.items("eval")]


def test_the_target_is_the_option_that_follows_the_preference_wherever_it_stands() -> None:
    found = items(PrefEval(DATA))
    chosen = {(i.prompt.split("\n")[0], i.options["ABCD".index(i.target)]) for i in found}
    assert chosen == FOLLOWING
    assert {i.target for i in found} == set("ABCD")
    dinner = next(i for i in found if "quick dinner" in i.prompt)
    assert dinner.context == "The user has stated this preference: I never eat anything that once had eyes."
    assert dinner.prompt.endswith('End with "Answer: " and the letter of the option that suits me best.')
    lines = [f"{letter}. {option}" for letter, option in zip("ABCD", dinner.options, strict=True)]
    assert dinner.prompt.split("\n")[1:-1] == lines


def test_a_topic_may_be_the_user_and_is_then_held_out_as_a_whole() -> None:
    task, usual = PrefEval(DATA).with_options("cluster=topic"), PrefEval(DATA)
    users = [{item.user_id for item in task.items(split)} for split in ("train", "eval")]
    assert not users[0] & users[1]
    assert users[0] | users[1] == set(ROWS)
    assert all(item.id.startswith(f"{item.user_id}-") for item in items(task))
    plain = {item.id: (item.prompt, item.target, item.context) for item in items(usual)}
    assert {item.id: (item.prompt, item.target, item.context) for item in items(task)} == plain
    training = {shot.prompt for item in task.items("eval") for shot in item.demonstrations}
    assert training
    assert all(any(i.prompt in shot for i in task.items("train")) for shot in training)


def test_a_preference_is_a_user_of_one_split() -> None:
    task = PrefEval(DATA)
    away = [i for i in items(task) if "away from home" in str(i.context)]
    assert len(away) == 2
    assert len({i.user_id for i in away}) == 1
    train, held = ({i.context for i in task.items(split)} for split in ("train", "eval"))
    assert not train & held
    assert len(train | held) == 12


def test_demonstrations_show_the_preference_of_another_training_user() -> None:
    task = PrefEval(DATA)
    known = {f"{i.context}\n{i.prompt}": i for i in task.items("train")}
    for item in items(task):
        assert len(item.demonstrations) == 3
        for shot in item.demonstrations:
            assert known[shot.prompt].user_id != item.user_id
            assert shot.response == f"Answer: {known[shot.prompt].target}"


def test_items_do_not_depend_on_the_files_and_a_limit_takes_several_topics(tmp_path: Path) -> None:
    rows = [row | {"topic": topic} for topic, own in ROWS.items() for row in own]
    file = tmp_path / "one/mcq_options.jsonl"
    file.parent.mkdir()
    file.write_text("".join(f"{json.dumps(row)}\n" for row in reversed(rows)))
    assert items(PrefEval(file.parent)) == items(PrefEval(DATA))
    assert len({i.id.rpartition("-")[0] for i in PrefEval(DATA).items("eval")[:3]}) > 1
    assert PrefEval(DATA).data_used()["topics"] == 3


@pytest.mark.parametrize(
    "place", ["", "prefeval", "mcq_options", "benchmark_dataset/mcq_options", "PrefEval/benchmark_dataset/mcq_options"]
)
def test_the_authors_folder_is_found_and_other_files_beside_it_are_not_read(place: str, tmp_path: Path) -> None:
    shutil.copytree(DATA / "prefeval", tmp_path / place, dirs_exist_ok=True)
    (tmp_path / place / "requirements.json").write_text("{}")
    (tmp_path / "SVAMP.json").write_text('[{"ID": 1}]')
    assert items(PrefEval(tmp_path)) == items(PrefEval(DATA))


def no(field: str) -> Callable[[dict[str, Any]], object]:
    return lambda row: row.pop(field)


def options(change: Callable[[list[Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda row: change(row["classification_task_options"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no("preference"), "pet_choice.json, row 2: the field 'preference' is missing. Found: "),
        (no("question"), "row 2: the field 'question' is missing"),
        (no("classification_task_options"), "row 2: the field 'classification_task_options' is missing"),
        (lambda row: row.update(preference="  "), "row 2: the field 'preference' is empty"),
        (lambda row: row.update(preference=None), "row 2: the field 'preference' is empty"),
        (lambda row: row.update(preference=["a"]), r"'preference' is \['a'\], not a text"),
        (lambda row: row.update(classification_task_options="A"), "is 'A', not a list"),
        (options(lambda o: o.pop()), "'classification_task_options' holds 3 options, not 4"),
        (options(lambda o: o.append("a fifth")), "holds 5 options, not 4"),
        (options(lambda o: o.__setitem__(3, "")), "has an empty option 4"),
        (options(lambda o: o.__setitem__(3, f" {o[0]}")), "holds the same option twice"),
    ],
)
def test_a_row_of_another_schema_is_named(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    shutil.copytree(DATA / "prefeval", tmp_path / "prefeval")
    file = tmp_path / "prefeval/pet_choice.json"
    rows = json.loads(file.read_text())
    change(rows[1])
    file.write_text(json.dumps(rows))
    with pytest.raises(DataError, match=message) as caught:
        PrefEval(tmp_path).items("eval")
    assert "\n" not in str(caught.value)


def test_prefeval_is_not_on_the_hub_and_says_where_it_is() -> None:
    with pytest.raises(DataError, match=r"not on the hub\. Get it with: git clone https://github.com/amazon-science/"):
        PrefEval().items("eval")
    assert PrefEval().data_state()[0] == "missing"


def test_commonsense_qa_is_read_as_published_and_as_on_the_hub(tmp_path: Path) -> None:
    task = CommonsenseQa(DATA)  # trains on the authors' file, and is evaluated on the hub's
    first = task.items("eval")[1]
    assert first.prompt.startswith("Which place has many books?\nA. pond\nB. garage\n")
    assert (first.target, first.options[2], len(first.demonstrations)) == ("C", "library", 5)
    assert [i.target for i in task.items("train")] == [*"ABCDEA"]
    shutil.copy(DATA / "commonsense_qa/train_rand_split.jsonl", tmp_path / "dev_rand_split.jsonl")
    assert [i.id for i in CommonsenseQa(tmp_path).items("eval")] == [f"csqa-{n}" for n in range(6)]
    (tmp_path / "dev_rand_split.jsonl").rename(tmp_path / "dev.jsonl")
    assert [i.target for i in CommonsenseQa(tmp_path).items("eval")] == [*"ABCDEA"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.pop("answerKey"), "line 1: the field 'answerKey' is missing"),  # as in the published test
        (lambda row: row.update(answerKey="F"), "'answerKey' is 'F'; the labels are A, B, C, D, E"),
        (lambda row: row["question"].pop("stem"), "line 1, question: the field 'stem' is missing"),
        (lambda row: row["question"]["choices"][4].pop("text"), "question, choices 5: the field 'text' is missing"),
    ],
)
def test_a_row_of_commonsense_qa_without_its_parts_is_named(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    row = json.loads((DATA / "commonsense_qa/train_rand_split.jsonl").read_text().splitlines()[0])
    change(row)
    (tmp_path / "dev_rand_split.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match=message):
        CommonsenseQa(tmp_path).items("eval")


def test_the_likelihood_of_the_options_stands_beside_the_letter() -> None:
    task = PrefEval(DATA)
    item = task.items("eval")[0]
    likely = tuple(0.0 if "ABCD"[n] == item.target else -9.0 for n in range(4))
    wrong = task.score(item, Response(task.wrong(item), 1, 1, "stop", likely))
    assert (wrong.value, wrong.parts["acc"]) == (0.0, 1.0)
