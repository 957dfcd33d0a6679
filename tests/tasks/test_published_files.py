"""Files as authors publish them, and as pandas, spreadsheets and operating systems leave them: they are read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from paths import DATA

from mipo_bench.harness.errors import DataError, NoTrainingError
from mipo_bench.harness.types import Item
from mipo_bench.tasks.public.arc import ArcChallenge, ArcEasy
from mipo_bench.tasks.public.gsm8k import Gsm8k
from mipo_bench.tasks.public.mmlu import Mmlu
from mipo_bench.tasks.public.svamp import Svamp

CHOICES = ["iron", "neon", "zinc", "lead"]
GSM8K = {split: (DATA / f"gsm8k/main/{split}.jsonl").read_text(encoding="utf-8") for split in ("train", "test")}


def write(file: Path, content: str | bytes | Sequence[Any]) -> Path:
    """Write a text, bytes, or values as JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str | bytes):
        content = "".join(f"{json.dumps(value)}\n" for value in content)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def shown(items: Sequence[Item]) -> list[tuple[str, tuple[str, ...]]]:
    return [(item.target, item.options) for item in items]


def test_svamp_as_published_is_evaluation_alone(tmp_path: Path) -> None:
    problem = {"Body": "Ann has 9 pens.", "Question": "How many?", "Equation": "9.0", "Answer": 9.0, "Type": "x"}
    write(tmp_path / "SVAMP.json", json.dumps([{"ID": f"chal-{n}", **problem} for n in (1, 2)], indent=1))
    task = Svamp(tmp_path)
    assert [(item.id, item.target) for item in task.items("eval")] == [("chal-1", "9"), ("chal-2", "9")]
    with pytest.raises(NoTrainingError, match=r"no 'train' split .* Found: SVAMP\.json.* give --recipes none"):
        task.items("train")
    (tmp_path / "svamp").mkdir()
    for split in ("train", "test"):
        write(tmp_path / f"svamp/{split}.json", (DATA / f"svamp/{split}.json").read_bytes())
    assert Svamp(tmp_path).items("eval") == Svamp(DATA).items("eval")  # a split of the hub's goes first


@pytest.mark.parametrize("place", ["", "ARC-Challenge/", "ARC-V1-Feb2018-2/ARC-Challenge/"])
def test_arc_as_published(place: str, tmp_path: Path) -> None:
    for n, split in enumerate(("Train", "Test")):
        options = [{"text": "ice", "label": "1"}, {"text": "steam", "label": "2"}]
        question = {"stem": f"Which is a gas, {n}?", "choices": options}
        write(tmp_path / f"{place}ARC-Challenge-{split}.jsonl", [{"id": n, "question": question, "answerKey": "2"}])
        write(tmp_path / f"{place}ARC-Challenge-{split}.csv", "questionID,question\n1,(A) is beside it\n")
    (item,) = ArcChallenge(tmp_path).items("eval")
    assert (item.id, item.target, item.options) == ("1", "B", ("ice", "steam"))
    assert item.prompt.startswith("Which is a gas, 1?\nA. ice\nB. steam\n")
    assert len(ArcChallenge(tmp_path).items("train")) == 1
    with pytest.raises(DataError, match="no 'test' split of allenai/ai2_arc for task 'arc_easy'"):
        ArcEasy(tmp_path).items("eval")


def test_a_folder_named_for_the_task_needs_no_configuration_in_its_file_names(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / f"arc_easy/{split}.jsonl", (DATA / f"ai2_arc/ARC-Easy-{split}.jsonl").read_bytes())
    assert ArcEasy(tmp_path / "arc_easy").items("eval") == ArcEasy(DATA).items("eval")
    with pytest.raises(DataError, match=r"Found: test\.jsonl, train\.jsonl"):
        ArcChallenge(tmp_path / "arc_easy").items("eval")


def test_labels_and_keys_of_arc_may_be_whole_numbers(tmp_path: Path) -> None:
    choices = {"text": ["ice", "steam", "rain"], "label": [1, 2.0, "3"]}
    rows = [{"id": 7, "question": f"Which is {n}?", "choices": choices, "answerKey": n} for n in (1, 2.0, "3")]
    for n, row in enumerate(rows):
        write(tmp_path / f"{n}/arc_easy/test.jsonl", [row])
        assert ArcEasy(tmp_path / str(n)).items("eval")[0].target == "ABC"[n]
    write(tmp_path / "arc_easy/test.jsonl", [rows[0] | {"choices": choices | {"label": [1, None, 2.5]}}])
    with pytest.raises(DataError, match="choices: the field 'label' must be a list of texts or whole numbers"):
        ArcEasy(tmp_path).items("eval")


@pytest.mark.parametrize("root", ["", "data/"])
def test_mmlu_as_published(root: str, tmp_path: Path) -> None:
    write(
        tmp_path / f"{root}test/high_school_chemistry_test.csv",
        'Noble gas?,iron,neon,zinc,lead,B\n"Two,\nlines?",A,B,C,D,A\n',
    )
    write(tmp_path / f"{root}test/anatomy_test.csv", "Bone?,arm,rib,ear,None,B\n")
    write(tmp_path / f"{root}test/._anatomy_test.csv", b"\x00\x05")
    write(tmp_path / f"{root}dev/anatomy_dev.csv", "Heart?,one,two,three,four,A\n")
    write(tmp_path / f"{root}dev/astronomy_dev.csv", "Moon?,one,two,three,four,A\n")
    write(tmp_path / f"{root}val/anatomy_val.csv", "Unused?,a,b,c,d,A\n")
    write(tmp_path / f"{root}auxiliary_train/race.csv", "Lead?,a,b,c,d,C\n")
    bone, gas, lines = Mmlu(tmp_path).items("eval")
    assert shown([bone, gas]) == [("B", ("arm", "rib", "ear", "None")), ("B", tuple(CHOICES))]
    assert lines.prompt.startswith("Two,\nlines?\nA. A\n")
    assert [turn.prompt.split("\n")[0] for turn in bone.demonstrations] == ["Heart?"]
    assert len(gas.demonstrations) == 2
    assert shown(Mmlu(tmp_path).items("train")) == [("C", ("a", "b", "c", "d"))]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Gas?,iron,neon,zinc,lead,E", "line 1: the field 'answer' is 'E', not a whole number from 0 to 3"),
        ("Gas?,iron,neon,,lead,B", "line 1: the field 'C' is empty"),
        ("Gas?,iron,neon,zinc,B", "anatomy_test.csv holds no rows"),
    ],
)
def test_a_published_row_of_mmlu_that_is_damaged_is_named(row: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "test/anatomy_test.csv", f"{row}\n")
    with pytest.raises(DataError, match=message):
        Mmlu(tmp_path).items("eval")


@pytest.mark.parametrize("answer", [1, 1.0, "1", "1.0", "1\x1d", "B", " B "])
@pytest.mark.parametrize("choices", [CHOICES, json.dumps(CHOICES), repr(CHOICES)])
def test_the_answer_of_mmlu_is_a_position_or_a_letter_and_a_list_may_be_a_text(
    answer: object, choices: object, tmp_path: Path
) -> None:
    write(tmp_path / "test.jsonl", [{"question": "Noble gas?", "choices": choices, "answer": answer}])
    assert shown(Mmlu(tmp_path).items("eval")) == [("B", tuple(CHOICES))]


def test_words_that_mean_nothing_to_pandas_are_options(tmp_path: Path) -> None:
    write(tmp_path / "test.csv", 'question,choices,answer\nHow many?,"[""None"", ""N/A"", ""nan""]",0\n')
    assert shown(Mmlu(tmp_path).items("eval")) == [("A", ("None", "N/A", "nan"))]


@pytest.mark.parametrize("name", ["{}.JSONL", "{}.jsonl.gz", "{}.Json.GZ", "main/{}-00000-of-00001.jsonl.gz"])
def test_capital_endings_and_compression(name: str, tmp_path: Path) -> None:
    for split, text in GSM8K.items():
        packed = gzip.compress(text.encode()) if name.lower().endswith(".gz") else text.encode("utf-8-sig")
        write(tmp_path / name.format(split), packed)
    assert Gsm8k(tmp_path).items("eval") == Gsm8k(DATA).items("eval")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_as_spreadsheets_write_it(encoding: str, delimiter: str, tmp_path: Path) -> None:
    rows = [("question", "answer"), ("A caf\u00e9, two\r\nlines?", "So; it is. #### 18")]
    text = "".join(delimiter.join(f'"{cell}"' for cell in row) + "\r\n" for row in rows)
    write(tmp_path / "test.csv", text.encode(encoding))
    (item,) = Gsm8k(tmp_path).items("eval")
    assert (item.prompt.split("\n#")[0].startswith("A caf\u00e9, two\r\nlines?"), item.target) == (True, "18")


def test_odd_folders_and_what_systems_leave_in_them(tmp_path: Path) -> None:
    folder = tmp_path / "a=b, c #1%"
    for split, text in GSM8K.items():
        write(folder / f"{split}.jsonl", text)
        for left in (f"._{split}.jsonl", f"{split}.jsonl.bak", f"{split} (1).jsonl", f"{split}.jsonl~", ".DS_Store"):
            write(folder / left, b"\x00\x05\x16\x07")
    assert Gsm8k(folder).items("eval") == Gsm8k(DATA).items("eval")


def test_without_a_training_split_a_task_can_be_evaluated(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", GSM8K["test"])
    task = Gsm8k(tmp_path)
    assert [(i.id, i.target) for i in task.items("eval")] == [(i.id, i.target) for i in Gsm8k(DATA).items("eval")]
    assert not any(item.demonstrations for item in task.items("eval"))
    with pytest.raises(NoTrainingError, match="has no 'train' split of openai/gsm8k") as caught:
        task.items("train")
    assert caught.value.split == "train"
