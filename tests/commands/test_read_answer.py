"""`mipo-bench read-answer`: what a task reads from a text, by which rule, and what it leaves out."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from golden_files import Printed, check_golden, run
from hypothesis import given
from hypothesis import strategies as st
from paths import DATA
from task_files import generate_task, write

from mipo_bench.harness.commands.reading.given_texts import Defaults, given_texts
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.evaluation.answer_reader import AnswerReader, GivenText
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.types import Item, Reading, Response, Score
from mipo_bench.tasks.embedded.arithmetic import Arithmetic
from mipo_bench.tasks.public.prefeval import PrefEval

TASKS = """
from dataclasses import replace

from mipo_bench.harness.types import Reading, Score
from mipo_bench.tasks.public.gsm8k import Gsm8k
from mipo_bench.tasks.public.mmlu import Mmlu


def reading(text):
    before, mark, value = text.partition("Answer: ")
    value, turn, _ = value.partition("Question:")
    if not mark:
        return Reading(None, "none", "no answer")
    return Reading(value.strip(), "mark", "a value behind a mark", bool(turn))


class Numbers(Gsm8k):
    name = "numbers"

    def score(self, item, response):
        found = reading(response.text)
        right = found.value is not None and float(found.value) == float(item.target)
        return Score(float(right), parsed=found.value is not None, reading=found)


class Letters(Mmlu):
    name = "letters"

    def score(self, item, response):
        found = reading(response.text)
        return Score(float(found.value == item.target and "a" not in item.options), reading=found)


TASKS = [Numbers, Letters]
"""
"""Tasks on public data that are not there, with readings."""
THINKS = "<think>\nPerhaps 15. Answer: 15\n</think>\n\nAnswer: 18\nQuestion: what else?"
CUT = "<think>\nAnswer: 18, or rather"


@pytest.fixture
def read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], Printed]:
    """Runs `read-answer` with the tasks of TASKS in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write(tmp_path / "mine.py", TASKS)
    return lambda command: run(f"read-answer --include mine.py {command}", capsys)


def rows(*values: object) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


@pytest.mark.parametrize(
    ("golden", "text", "options"),
    [
        ("thinks", THINKS, "--task numbers"),
        ("cut", CUT, "--task numbers"),
        ("none", "I do not know.", "--task numbers"),
        ("letter", "Answer: B", "--task letters --option iron --option neon"),
        ("own-tags", "<<Answer: 15>>Answer: 18", """--task numbers --set 'thought_tags=[["<<", ">>"]]'"""),
        ("json", THINKS, "--task numbers --json"),
        ("no-options", "Answer: B", "--task letters"),
        ("persona", "Answer: B", "--task persona"),
        ("judged", "Answer: B", "--task persona-judged"),
    ],
)
def test_one_text(read: Callable[[str], Printed], golden: str, text: str, options: str) -> None:
    Path("answer.txt").write_text(text, encoding="utf-8")
    command = f"{options} answer.txt"
    check_golden(f"read-answer/{golden}.txt", read(command).text(f"read-answer {command}"))


def test_rows_with_targets_have_a_summary(read: Callable[[str], Printed]) -> None:
    texts = [{"id": "N1", "target": "18", "response": THINKS}, {"id": "N2", "target": 18, "response": CUT}]
    Path("many.jsonl").write_text(rows(*texts, {"item_id": "eval-7", "response": "Answer: 5"}))
    command = "--task numbers many.jsonl"
    check_golden("read-answer/rows.txt", read(command).text(f"read-answer {command}"))
    found = json.loads(read(f"{command} --json").out)
    assert [(a["id"], a["answer"], a["right"]) for a in found["answers"]] == [
        ("N1", "18", True),
        ("N2", None, False),
        ("eval-7", "5", None),
    ]
    assert found["counts"] == {"mark": 2, "none": 1, "thoughts": 1, "thoughts cut": 1, "invented turn": 1}


def test_options_of_a_row_are_its_own(read: Callable[[str], Printed]) -> None:
    texts = [{"response": "Answer: B", "options": ["iron", "neon"], "target": "B"}, {"response": "Answer: B"}]
    Path("many.txt").write_text(rows(*texts))
    assert read("--task letters many.txt").code == 2
    found = json.loads(read("--task letters --option a --option b --json many.txt").out)
    assert [a["right"] for a in found["answers"]] == [True, None]


def test_standard_input(read: Callable[[str], Printed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\ufeffAnswer: 7".encode())))
    assert "answer    7\n" in read("--task numbers -").out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(rows({"response": "Answer: 8"}).encode())))
    assert "8" in read("--task numbers -").out


def test_an_item_has_options_and_target(read: Callable[[str], Printed]) -> None:
    Path("mine.py").write_text(
        TASKS + "from mipo_bench.tasks.embedded.facts import Facts\nclass L(Letters, Facts):\n"
        "    name = 'l'\n    items, uses_data = Facts.items, False\nTASKS = [L]\n"
    )
    item = load_plugins([Path("mine.py")]).tasks["l"].items("eval")[3]
    Path("answer.txt").write_text(f"Answer: {item.target}")
    printed = read(f"--task l --item {item.id} answer.txt")
    assert f"right     yes, the target is {item.target}\n" in printed.out
    Path("answer.jsonl").write_text(rows({"response": "Answer: Z", "item_id": item.id}))
    assert json.loads(read("--task l --json answer.jsonl").out)["answers"][0]["right"] is False
    printed = read("--task l --item nobody answer.txt")
    assert (printed.code, "has no evaluation item 'nobody'" in printed.err) == (2, True)


def test_a_task_of_lm_eval_says_what_its_filters_read(read: Callable[[str], Printed], tmp_path: Path) -> None:
    path = generate_task(tmp_path, size=2)
    Path("answer.txt").write_text("<think>Answer: 3</think>14 + 9 makes 23.")
    printed = read(f"--task lm-eval:{path} answer.txt")
    assert printed.out.splitlines()[:4] == [
        "answer    [invalid]",
        "filter    after-answer: [invalid]",
        "filter    last-number: 23",
        "filter    whole: 14 + 9 makes 23.",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no rows"),
        (b"[1]\n", "a row must be an object"),
        (b'{"response": null}', 'a text "response"'),
        (b'{"response": "a"}\nAnswer', "line 2 is not JSON"),
        (b'{"response": "a", "options": "B"}', '"options" must be a list of two texts or more'),
        (b'{"response": "a", "target": true}', "'target' must be a text or a number"),
        (b'{"response": "Answer: 1", "target": "one"}', "the target 'one'"),
        (b'{"response": "\xff"}', "0xff is not UTF-8"),
    ],
)
def test_bad_rows_are_named(read: Callable[[str], Printed], content: bytes, message: str) -> None:
    Path("bad.jsonl").write_bytes(content)
    printed = read("--task numbers bad.jsonl")
    assert printed.code == 2
    assert message in printed.err
    assert "Traceback" not in printed.err


ROW = st.dictionaries(
    st.sampled_from(["response", "options", "target", "item_id", "id", "else"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=3),
)


@given(st.binary() | st.lists(ROW).map(lambda found: "\n".join(map(json.dumps, found)).encode()), st.booleans())
def test_any_input_is_read_or_refused_with_a_message(data: bytes, jsonl: bool) -> None:
    name = "input.jsonl" if jsonl else "input"
    message = ""
    try:
        found = given_texts(data, name, Defaults(("a", "b")))
    except ConfigError as error:
        message = str(error)
    assert name in message or found.rows or len(found.texts) == 1


def test_odd_texts_are_printed(read: Callable[[str], Printed]) -> None:
    odd = ["Answer: \ud800", "Answer: \x1b[31m", "<think>\u2028</think>Answer: [1]", "Answer: " + "9" * 5000]
    Path("odd.jsonl").write_text(rows(*({"response": text, "id": 3.0} for text in odd)))
    printed = read("--task letters --option b --option c odd.jsonl")
    assert (printed.code, "\x1b" in printed.out) == (0, False)
    assert "3.0" not in printed.out
    assert len(json.loads(read("--task letters --option b --option c --json odd.jsonl").out)["answers"]) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--task numbers absent.txt", "No such file"),
        ("--task numbers .", "it is a folder"),
        ("--task nothing mine.py", "unknown task 'nothing'"),
        ("--task numbers --data arithmetic=. mine.py", "no task 'arithmetic' of this run reads data"),
        ("--task numbers --set thought_tags=5 mine.py", "thought_tags"),
    ],
)
def test_wrong_usage(read: Callable[[str], Printed], arguments: str, message: str) -> None:
    printed = read(arguments)
    assert (printed.code, message in printed.err) == (2, True)


class Fails(Arithmetic):
    """A task whose scorer needs more than the text."""

    def score(self, item: Item, response: Response) -> Score:
        if not item.prompt:
            raise KeyError(item.id)
        return Score(1.0, reading=Reading(item.target, "mark", "a rule"))


def test_a_personalized_choice_is_read_with_its_own_options_alone() -> None:
    reader = AnswerReader(PrefEval(DATA))
    found = reader.read(GivenText("a text", "I would take the tea.", options=("the coffee", "the tea")))
    assert found.reading is not None
    assert (found.reading.value, found.right) == ("B", None)
    with pytest.raises(ConfigError, match="chooses among options, and none are given"):
        reader.read(GivenText("a text", "Answer: B"))


def test_a_scorer_that_needs_an_item_says_so() -> None:
    with pytest.raises(ConfigError, match=r"KeyError: 'text'\. Name an item of the task with --item"):
        AnswerReader(Fails()).read(GivenText("a text", "5"))
    first = Fails().items("eval")[0]
    assert AnswerReader(Fails()).read(GivenText("a text", "5", item=first.id)).right
