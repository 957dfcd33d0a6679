"""Bad rows and values in the files of a data set: errors name the file, the line and the field."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paths import DATA

from mipo_bench.harness.errors import DataError
from mipo_bench.tasks.data.cells import decoded
from mipo_bench.tasks.data.rows import DataRow
from mipo_bench.tasks.public.arc import ArcChallenge, ArcEasy
from mipo_bench.tasks.public.community_alignment import CommunityAlignment
from mipo_bench.tasks.public.gsm8k import Gsm8k
from mipo_bench.tasks.public.mmlu import Mmlu
from mipo_bench.tasks.public.multifaceted_bench import MultifacetedBench
from mipo_bench.tasks.public.prism import Prism
from mipo_bench.tasks.public.public_task import PublicTask
from mipo_bench.tasks.public.svamp import Svamp

GOOD = '{"question": "q", "answer": "#### 1"}\n'
BAD_FILES: list[tuple[str, bytes, str]] = [
    (
        "jsonl",
        f"{GOOD}{{'question': 1}}\n".encode(),
        "test.jsonl, line 2: not JSON as it is read here: Expecting property",
    ),
    ("jsonl", f'{GOOD}{{"question": "half'.encode(), "line 2: not JSON .*: Unterminated .* download incomplete"),
    ("jsonl", f"{GOOD}[1, 2]\n".encode(), "line 2: expected an object with fields, found a list"),
    ("jsonl", f"{GOOD}null\n".encode(), "line 2: expected an object with fields, found a NoneType"),
    (
        "jsonl",
        GOOD.encode() + b'{"question": "caf\xe9", "answer": "#### 1"}',
        "line 2: not JSON as it is read here: byte 0xe9 is not UTF-8",
    ),
    ("jsonl", f'{GOOD}{{"question": "q"}}\n'.encode(), "line 2: the field 'answer' is missing. Found: question"),
    ("jsonl", f'{GOOD}{{"question": 7, "answer": "#### 1"}}'.encode(), "the field 'question' is 7, not a text"),
    ("jsonl", f'{GOOD}{{"question": null, "answer": "#### 1"}}'.encode(), "the field 'question' is empty"),
    ("jsonl", f'{GOOD}{{"question": "  ", "answer": "#### 1"}}'.encode(), "the field 'question' is empty"),
    ("jsonl", f'{GOOD}{{"question": "\\ud800", "answer": "#### 1"}}'.encode(), "'question' holds half of a character"),
    ("jsonl", f'{GOOD}{{"question": "q", "answer": "12"}}'.encode(), "'answer' has no \"####\""),
    (
        "jsonl",
        f'{GOOD}{{"question": "q", "answer": "#### twelve"}}'.encode(),
        "'answer' is 'twelve', not one plain number",
    ),
    (
        "jsonl",
        f'{GOOD}{{"question": "q", "answer": "#### {"9" * 400}"}}'.encode(),
        "'answer' is '999.*'?; the largest .* is 1e.300",
    ),
    ("jsonl", b"", "test.jsonl is empty"),
    ("jsonl", b"\n \n", "test.jsonl is empty"),
    (
        "jsonl",
        f'{GOOD}{{"question": "q", "answer": {"1" * 5000}}}'.encode(),
        "line 2: not JSON as it is read here: Exceeds the limit",
    ),
    ("json", b"[]", "test.json holds no rows"),
    ("json", b'[{"question": "q"\n', "test.json, line 2: not JSON as it is read here: Expecting"),
    ("json", b"[" * 100_000, "nested too deeply"),
    ("json", b'["q"]', "test.json, row 1: expected an object with fields, found a str"),
    ("csv", b"question,answer\n", "test.csv holds no rows"),
    ("csv", b"question,answer\nq\n", "test.csv, line 2: 1 cells under 2 columns"),
    ("csv", b"question,answer\nq,#### 1,more\n", "line 2: 3 cells under 2 columns"),
    ("csv", b"question,question\nq,q\n", "line 1: two columns have the same name"),
    ("csv", b'question,answer\n"q,#### 1\n', "not valid CSV: unexpected end of data"),
    ("csv", b"frage,answer\nq,#### 1\n", "line 2: the field 'question' is missing. Found: answer, frage"),
    ("csv", b"question,answer\n,#### 1\n", "line 2: the field 'question' is empty"),
    ("csv", b"question,answer\nq,#### 1\ncaf\xe9,#### 1\n", "line 3: byte 0xe9 is not UTF-8.*iconv -f LATIN1"),
    ("csv", "question,answer\n".encode("utf-16")[:-1], "begins as UTF-16, but cannot be read"),
    ("csv", b"\xef\xbb\xbf", "test.csv holds no rows"),
    ("jsonl.gz", gzip.compress(GOOD.encode(), mtime=0)[:-4], "test.jsonl.gz is damaged gzip data"),
    ("jsonl", f'{GOOD}{{"question": "q", "question": "r"}}'.encode(), "line 2: .*the key 'question' occurs twice"),
    ("json", b'{"question": {"0": "q"}, "answer": {"0": "#### 1"}}', r"one object of columns \(question, answer\)"),
    ("json", f'{{"data": [{GOOD}]}}'.encode(), "holds the rows in its field 'data'; write that list alone"),
    ("parquet", b"PAR1 and nothing", "cannot read .*test.parquet.*download incomplete"),
    ("arrow", b"\xff\xff\xff\xff\x10\x00", "cannot read .*test.arrow"),
    ("arrow", b"ARROW1\x00\x00 no", "cannot read .*test.arrow"),
    (
        "parquet",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "pointer of Git LFS.*git lfs pull",
    ),
    ("jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "pointer of Git LFS"),
]


@pytest.mark.parametrize(
    "cell",
    ["[not json", "[" * 5000, "['ice' 'fog']", "[array(['ice'], dtype=object)]", "{'ice', 'fog'}", r"['\d']", "{} []"],
)
def test_a_cell_that_only_begins_like_json_is_a_text(cell: str) -> None:
    assert decoded(cell) == cell


@pytest.mark.parametrize(("ending", "content", "message"), BAD_FILES)
def test_a_bad_file_is_named_with_line_and_field(ending: str, content: bytes, message: str, tmp_path: Path) -> None:
    shutil.copy(DATA / "gsm8k/main/train.jsonl", tmp_path)
    (tmp_path / f"test.{ending}").write_bytes(content)
    with pytest.raises(DataError, match=message):
        Gsm8k(tmp_path).items("eval")


def changed(name: str, tmp_path: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    """Copy the data and change the rows of one file."""
    shutil.copytree(DATA, tmp_path / "data")
    file = tmp_path / "data" / name
    text = file.read_text(encoding="utf-8")
    rows = json.loads(text) if file.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    change(rows)
    file.write_text(json.dumps(rows) if file.suffix == ".json" else "\n".join(map(json.dumps, rows)))
    return tmp_path / "data"


BAD_ROWS: list[tuple[type[PublicTask], str, Callable[[list[dict[str, Any]]], object], str]] = [
    (Svamp, "svamp/test.json", lambda r: r.append(r[0]), r"test.json, row 5: ID 'chal-101' is already in .*row 1\."),
    (Svamp, "svamp/test.json", lambda r: r[0].update(ID="chal-1"), r"ID 'chal-1' is already in .*train.json, row 1"),
    (Svamp, "svamp/test.json", lambda r: r[1].update(Answer="many"), "row 2: the field 'Answer' is 'many', not one p"),
    (Svamp, "svamp/test.json", lambda r: r[1].update(Answer=10**400), "'Answer' is 1000.*; the largest number"),
    (Svamp, "svamp/test.json", lambda r: r[1].update(Answer=float("nan")), "'Answer' is nan, not a number"),
    (Svamp, "svamp/test.json", lambda r: r[1].update(Answer=True), "the field 'Answer' is True, not a number"),
    (Svamp, "svamp/test.json", lambda r: r[1].update(Answer=None), "the field 'Answer' is None, not a number"),
    (Svamp, "svamp/test.json", lambda r: r[1].pop("Body"), "the field 'Body' is missing"),
    (Mmlu, "mmlu/all/test.jsonl", lambda r: r[0].update(answer=4), "'answer' is 4, not a whole number from 0 to 3"),
    (Mmlu, "mmlu/all/test.jsonl", lambda r: r[0].update(answer="E"), "'answer' is 'E', not a whole number"),
    (Mmlu, "mmlu/all/test.jsonl", lambda r: r[0].update(answer="AB"), "'answer' is 'AB', not a whole number"),
    (Mmlu, "mmlu/all/test.jsonl", lambda r: r[0].update(answer=1.5), "'answer' is 1.5, not a whole number"),
    (Mmlu, "mmlu/all/test.jsonl", lambda r: r[0].update(answer=" "), "'answer' is ' ', not a whole number"),
    (Mmlu, "mmlu/all/test.jsonl", lambda r: r[0].update(choices=["a"]), "holds 1 options; 2 to 10 are allowed"),
    (Mmlu, "mmlu/all/test.jsonl", lambda r: r[0].update(choices=["a", 2]), "'choices' has 2 for option 2, not a text"),
    (Mmlu, "mmlu/all/test.jsonl", lambda r: r[0].update(choices=["a", " "]), "'choices' has an empty option 2"),
    (Mmlu, "mmlu/all/test.jsonl", lambda r: r[0].update(choices=["a", None]), "null for option 2; .* the word .None"),
    (
        Mmlu,
        "mmlu/all/test.jsonl",
        lambda r: r[0].update(choices="['a' 'b']"),
        "'choices' is .*, not a list as JSON or Python writes it; numpy's print .*: write the cell as JSON",
    ),
    (Mmlu, "mmlu/all/test.jsonl", lambda r: r[0].update(choices="a, b"), "'choices' is 'a, b', not a list"),
    (
        ArcChallenge,
        "ai2_arc/ARC-Challenge-test.jsonl",
        lambda r: r[1].update(answerKey="D"),
        "line 2: the field 'answerKey' is 'D'; the labels are 1, 2, 3",
    ),
    (
        ArcChallenge,
        "ai2_arc/ARC-Challenge-test.jsonl",
        lambda r: r[1]["choices"].update(label=["1"]),
        "line 2, choices: the field 'label' holds 1 labels for 3 options",
    ),
    (
        ArcChallenge,
        "ai2_arc/ARC-Challenge-test.jsonl",
        lambda r: r[1].update(choices=None),
        "the field 'choices' is None, not an object",
    ),
    (ArcEasy, "ai2_arc/ARC-Easy-test.jsonl", lambda r: r.append(r[0]), "id 'E_9' is already in"),
    (Prism, "prism/survey.jsonl", lambda r: r.append(r[0]), "user_id 'user15' is already in"),
    (Prism, "prism/survey.jsonl", lambda r: r.pop(0), "'user_id' is 'user15', which is not in the survey"),
    (Prism, "prism/survey.jsonl", lambda r: r[0].update(stated_prefs="all"), "'stated_prefs' is 'all', not an object"),
    (
        Prism,
        "prism/survey.jsonl",
        lambda r: r[0]["stated_prefs"].update(values="high"),
        "line 1, stated_prefs: the field 'values' is 'high', not one plain number",
    ),
    (Prism, "prism/conversations.jsonl", lambda r: r.append(r[3]), "conversation_id 'c3' is already in"),
    (
        Prism,
        "prism/conversations.jsonl",
        lambda r: r[0]["conversation_history"][0].update(role="human"),
        "line 1, conversation_history 1: the field 'role' is 'human'; it must be 'user' or 'model'",
    ),
    (
        Prism,
        "prism/conversations.jsonl",
        lambda r: r[0]["conversation_history"][1].update(if_chosen="yes"),
        "the field 'if_chosen' is 'yes', neither true nor false",
    ),
    (
        MultifacetedBench,
        "multifaceted_bench/train.jsonl",
        lambda r: r[0].update(rubrics=[]),
        "the field 'rubrics' is an empty list",
    ),
    (
        MultifacetedBench,
        "multifaceted_bench/train.jsonl",
        lambda r: r[0]["rubrics"][1].pop("criteria"),
        "line 1, rubrics 2: the field 'criteria' is missing",
    ),
    (
        MultifacetedBench,
        "multifaceted_bench/train.jsonl",
        lambda r: r.__delitem__(slice(1, None)),
        "no training item is left of 1 rows.*rows without any other answer",
    ),
]


@pytest.mark.parametrize(("task", "name", "change", "message"), BAD_ROWS)
def test_a_bad_row_is_named_with_file_row_and_field(
    task: type[PublicTask],
    name: str,
    change: Callable[[list[dict[str, Any]]], object],
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        task(changed(name, tmp_path, change)).items("eval")
    assert "\n" not in str(caught.value)


def test_lists_of_objects_may_be_objects_of_lists_and_ids_may_be_floats(tmp_path: Path) -> None:
    def turn(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["rubrics"] = {key: [rubric[key] for rubric in row["rubrics"]] for key in row["rubrics"][0]}

    folder = changed("multifaceted_bench/train.jsonl", tmp_path, turn)
    assert MultifacetedBench(folder).items("eval") == MultifacetedBench(DATA).items("eval")
    assert DataRow({"n": 12.0}, "f", 1).key("n") == "12"
    ragged = DataRow({"n": {"a": [1], "b": []}}, "f", 3)
    with pytest.raises(DataError, match="f, row 3: the field 'n' must be a list of objects"):
        ragged.mappings("n")


def test_an_unknown_preferred_response_is_refused(tmp_path: Path) -> None:
    text = (DATA / "community_alignment/community_alignment.csv").read_text(encoding="utf-8")
    (tmp_path / "community_alignment.csv").write_text(text.replace("response_d", "response_e"), encoding="utf-8")
    with pytest.raises(DataError, match="first_turn_preferred_response"):
        CommunityAlignment(tmp_path).items("eval")
