"""Files of lm-eval as people write them: groups, shots, golds, names, byte-order marks, and `check-task` on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from golden_files import run
from task_files import CHOICE, GENERATE, generate_task, write_task

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError, PluginError
from mipo_bench.harness.evaluation.scoring import ArmResponses, score_arm
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.types import Response
from mipo_bench.tasks.lm_eval.family import lm_eval_task
from mipo_bench.tasks.reading.thoughts import Answer

LETTERS = CHOICE | {
    "doc_to_choice": ["A", "B"],
    "doc_to_target": "letter",
    "training_split": None,
    "fewshot_split": None,
    "metric_list": CHOICE["metric_list"][:1],
}


def letters(folder: Path, *golds: Any, **settings: Any) -> Path:
    rows = [{"question": f"Which is {n}?", "letter": gold} for n, gold in enumerate(golds)]
    return write_task(folder, "letters", {"test": rows}, LETTERS | settings)


def refused(asked: object) -> str:
    with pytest.raises(PluginError) as caught:
        _ = lm_eval_task(str(asked)).items("eval")
    return str(caught.value)


def test_a_task_file_is_checked_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks").mkdir()
    generate_task(tmp_path / "tasks", 4, training_split=None, fewshot_split=None)
    done = run("check-task lm-eval:tasks/local_sums.yaml", capsys)
    assert done.code == 0
    assert done.out.endswith("lm-eval:local_sums: all checks passed.\n")


@pytest.mark.parametrize("command", ["check-task {}", "run --recipes none --task {}"])
def test_a_task_file_without_its_family_is_hinted_at(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(command.format("tasks/mine.yaml"), capsys)
    assert done.code == 2
    assert done.err == "mipo-bench: 'tasks/mine.yaml' is a task file of lm-eval: write lm-eval:tasks/mine.yaml\n"


def test_the_members_of_a_group_in_a_file_are_listed_as_they_can_be_asked_for(tmp_path: Path) -> None:
    path = generate_task(tmp_path, 2)
    group = tmp_path / "group.yaml"
    for entries in ("[local_sums, gsm8k]", "[{task: local_sums, num_fewshot: 2}, gsm8k]"):
        group.write_text(f"group: mine\ntask: {entries}\n")
        assert refused(group).endswith(f": 2 tasks; give them one by one: lm-eval:{path}, lm-eval:gsm8k.")


def test_more_shots_than_documents_are_refused(tmp_path: Path) -> None:
    path = generate_task(tmp_path, 6)
    assert len(lm_eval_task(f"{path}@5").items("eval")) == 6
    assert "8 shots cannot be drawn from 6 documents" in refused(f"{path}@8")
    own = generate_task(tmp_path, 6, fewshot_split="test", training_split=None)
    assert "6 shots cannot be drawn from 6 documents, of which none is its own shot" in refused(f"{own}@6")
    assert len(lm_eval_task(f"{own}@5").items("eval")) == 6


@pytest.mark.parametrize("gold", ["A) ", "E", "", -1])
def test_a_task_without_any_right_option_is_refused(gold: Any, tmp_path: Path) -> None:
    message = refused(letters(tmp_path, gold, gold))
    assert f"no right option in any of 2 documents: the gold {gold!r} is none of the options 'A', 'B'" in message


def test_a_gold_beyond_the_options_of_the_first_document_is_suspected(tmp_path: Path) -> None:
    assert "the gold of the first document is none of its options, which count from 0" in refused(letters(tmp_path, 2))
    assert len(lm_eval_task(str(letters(tmp_path, 1, 2))).items("eval")) == 2


def test_a_document_without_a_right_option_fails_by_name_and_the_others_are_scored(tmp_path: Path) -> None:
    task = lm_eval_task(str(letters(tmp_path, "A", "E", "B")))
    items = task.items("eval")
    likely = Response("", 1, 1, "stop", (-1.0, -2.0))
    responses, answers = dict.fromkeys("012", likely), dict.fromkeys("012", Answer(""))
    found = score_arm(task, items, ArmResponses(Arm(task.name, "plain"), responses, answers, {}, "d"))
    assert found.scores == [1.0, 0.0, 0.0]
    assert found.failed == {"1": "score: ValueError: the gold 'E' is none of the options 'A', 'B'"}


def test_one_of_several_golds_is_enough(tmp_path: Path) -> None:
    path = letters(tmp_path, [1, 0], [1], doc_to_target="{{letter}}", metric_list=LETTERS["metric_list"])
    assert len(lm_eval_task(str(path)).items("eval")) == 2


def test_a_metric_without_a_figure_for_one_document_is_named(tmp_path: Path) -> None:
    mean = {"aggregation": "mean", "higher_is_better": True}
    path = generate_task(tmp_path, 2, metric_list=[{"metric": "bleu", **mean}])
    assert refused(path).endswith("item by item: bleu is no number for the target of the first document.")
    path = generate_task(tmp_path, 2, metric_list=[{"metric": "bleu", **mean}, *GENERATE["metric_list"]])
    assert "without bleu" in lm_eval_task(str(path)).description


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"doc_to_txt": "{{question}}"}, "unknown setting of a task 'doc_to_txt'. Did you mean 'doc_to_text'"),
        ({"doc_to_text": "{{quesiton}}"}, "'quesiton' is undefined: a template of the file names a field that"),
        ({"include": "absent.yaml"}, "absent.yaml'. Data files are looked for from the current folder, included ones"),
        ({"dataset_kwargs": {"data_files": {"test": "absent.jsonl"}}}, "Data files are looked for from the current"),
        ({"task": None}, "does not name its task. Add a line `task: NAME`."),
    ],
)
def test_a_mistake_in_a_file_is_named(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in refused(generate_task(tmp_path, 2, **settings))


def test_a_line_of_the_data_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = generate_task(tmp_path, 2)
    (tmp_path / "local_sums-test.jsonl").write_text('{"question": "1 + 1", "answer": "2"}\n{"question": \n')
    assert "its data cannot be read: JSON parse error: Invalid value. in row 1" in refused(path)


@pytest.mark.parametrize("name", ["mine.YAML", "my own sums.yml", "mine.Yml"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_endings_blanks_and_byte_order_marks_do_not_matter(name: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(generate_task(tmp_path, 3).read_text(), encoding=encoding)
    task = lm_eval_task(str(path))
    assert task.name == "lm-eval:local_sums"
    assert len(task.items("eval")) == 3
    assert f"local_sums from {name}, scored by" in task.description


def test_a_file_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    generate_task(tmp_path, 3)
    assert len(lm_eval_task("~/local_sums.yaml").items("eval")) == 3


def test_without_stop_strings_a_response_ends_as_in_lm_eval(tmp_path: Path) -> None:
    task = lm_eval_task(str(generate_task(tmp_path, 2, generation_kwargs={"do_sample": False, "max_gen_toks": 9})))
    assert (task.decoding.stop, task.decoding.max_new_tokens) == (("\n\n",), 9)


def test_two_files_with_one_name_are_refused_unless_they_are_the_same_task(tmp_path: Path) -> None:
    one = generate_task(tmp_path, 3)
    copy = tmp_path / "copy.yaml"
    copy.write_text(one.read_text())
    asked = (f"lm-eval:{one}", f"lm-eval:{copy}")
    assert len(make_plan(RunConfig(tasks=asked, recipes=())).tasks) == 1
    copy.write_text(one.read_text().replace("{{question}}", "Please: {{question}}"))
    with pytest.raises(ConfigError, match=r"copy\.yaml is another task that is called 'lm-eval:local_sums', too"):
        make_plan(RunConfig(tasks=asked, recipes=()))


def test_a_group_member_in_json_is_no_task_file(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text(json.dumps({"task": "x"}))
    group = tmp_path / "group.yaml"
    group.write_text("group: mine\ntask: [x]\n")
    assert refused(group).endswith("one by one: lm-eval:x.")
