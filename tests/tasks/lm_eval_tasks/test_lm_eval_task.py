"""lm-eval tasks without a model: items, decoding, scoring, and error messages."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeGenerator
from task_files import CHOICE, GENERATE, choice_task, generate_task, write_task

from mipo_bench.baselines.prompting.few_shot import FewShot
from mipo_bench.baselines.prompting.plain import Plain
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError, PluginError
from mipo_bench.harness.evaluation.scoring import describe_task
from mipo_bench.harness.generators.chat_template import prompt_of
from mipo_bench.harness.planning.plan import decoding_of, make_plan
from mipo_bench.harness.types import Decoding, ExternalTask, Item, Response
from mipo_bench.tasks.lm_eval.family import lm_eval_task
from mipo_bench.tasks.lm_eval.index import find_file
from mipo_bench.tasks.reading.letters import read_name


def said(text: str, logprobs: tuple[float, ...] | None = None) -> Response:
    return Response(text, 1, 1, "stop", logprobs)


def messages(item: Item, shots: bool = False) -> str:
    return prompt_of(FewShot() if shots else Plain(), item, FakeGenerator("fake", lambda _: "")).text


def test_a_multiple_choice_file_becomes_a_task(tmp_path: Path) -> None:
    task = lm_eval_task(str(choice_task(tmp_path)))
    assert isinstance(task, ExternalTask)
    assert (task.name, task.suite, task.version, task.binary) == ("lm-eval:local_facts", "choice", 1, True)
    assert (task.reference, task.decoding) == ("plain", Decoding(0, 0.0))
    items = task.items("eval")
    assert [item.id for item in items] == [str(n) for n in range(12)]
    assert [item.id for item in task.items("train")] == [f"train-{n}" for n in range(12)]
    first = items[0]
    assert first.target in first.options
    assert messages(first) == f"<system>Answer with what the question asks for.\n\n<user>{first.prompt}<assistant>"


def test_options_are_scored_by_their_log_probability(tmp_path: Path) -> None:
    task = lm_eval_task(str(choice_task(tmp_path)))
    for item in task.items("eval"):
        right = item.options.index(item.target)
        likely = tuple(-1.0 if n == right else -2.0 for n in range(4))
        assert task.score(item, said("", likely)).value == 1.0
        assert task.score(item, said("", tuple(-3 - x for x in likely))).value == 0.0


def test_acc_norm_divides_by_the_characters_of_an_option(tmp_path: Path) -> None:
    rows = {"test": [{"question": "Which?", "choices": ["ab", "abcdefgh"], "gold": 1}]}
    settings = CHOICE | {"training_split": None, "fewshot_split": None}
    task = lm_eval_task(str(write_task(tmp_path, "lengths", rows, settings)))
    score = task.score(task.items("eval")[0], said("", (-2.0, -4.0)))
    assert (score.value, score.parts) == (0.0, {"acc_norm": 1.0})


@pytest.mark.parametrize("write", [choice_task, generate_task])
def test_gold_scores_one_and_a_wrong_answer_nothing(write: Any, tmp_path: Path) -> None:
    task = lm_eval_task(str(write(tmp_path)))
    for item in (*task.items("eval"), *task.items("train")):
        assert task.score(item, said(task.gold(item))).value == 1.0
        assert task.score(item, said(task.wrong(item))).value == 0.0


@pytest.mark.parametrize("text", ["", "\x00", "[invalid]", "9" * 5000, "ab\ncd" * 100, "{{question}}"])
@pytest.mark.parametrize("write", [choice_task, generate_task])
def test_no_text_breaks_the_scorer(write: Any, text: str, tmp_path: Path) -> None:
    task = lm_eval_task(str(write(tmp_path, 2)))
    score = task.score(task.items("eval")[0], said(text))
    assert score.value == 0.0
    assert not score.parsed


def test_a_generate_task_is_decoded_as_its_file_says(tmp_path: Path) -> None:
    task = lm_eval_task(str(generate_task(tmp_path)))
    assert task.decoding == Decoding(60, 0.0, 1.0, ("\n\n", " coins"), verbatim=True)
    assert decoding_of(task, RunConfig()) == task.decoding
    assert decoding_of(task, RunConfig.model_validate({"decoding": {"max_new_tokens": 7}})).max_new_tokens == 7
    score = task.score(task.items("eval")[0], said(task.gold(task.items("eval")[0])))
    assert score.parts == {"exact_match (last-number)": 1.0, "exact_match (whole)": 1.0}


def test_shots_are_earlier_turns_and_never_the_document_itself(tmp_path: Path) -> None:
    task = lm_eval_task(f"{generate_task(tmp_path, 6)}@3")
    assert (task.name, task.reference) == ("lm-eval:local_sums-3shot", "few-shot")
    for item in (*task.items("eval"), *task.items("train")):
        assert len(item.demonstrations) == 3
        assert item.prompt not in [turn.prompt for turn in item.demonstrations]
        assert messages(item, shots=True).count("<assistant>") == 4
    assert lm_eval_task(f"{tmp_path}/local_sums.yaml-3shot").items("train") == task.items("train")


def test_training_documents_that_are_asked_in_the_evaluation_are_left_out(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n}?", "answer": f"Answer: {n}"} for n in range(6)]
    path = write_task(tmp_path, "shared", {"test": rows[:3], "train": rows}, GENERATE)
    assert [item.id for item in lm_eval_task(str(path)).items("train")] == ["train-3", "train-4", "train-5"]


def test_a_task_without_a_training_split_has_no_training_items_and_no_recipes(tmp_path: Path) -> None:
    path = choice_task(tmp_path, training_split=None)
    assert lm_eval_task(str(path)).items("train") == ()
    named: dict[str, Any] = {"tasks": (f"lm-eval:{path}",)}
    assert make_plan(RunConfig(**named)).tasks[0].recipes == ()
    with pytest.raises(ConfigError, match=r"Without training items, and so without recipes: lm-eval:local_facts\."):
        make_plan(RunConfig(**named, recipes=("mipo-random",)))


def test_the_beginning_of_the_response_is_part_of_the_prompt(tmp_path: Path) -> None:
    task = lm_eval_task(str(choice_task(tmp_path, gen_prefix="The answer is")))
    item = task.items("eval")[0]
    assert messages(item).endswith("<assistant>The answer is<assistant>")
    assert item.options[0].startswith(" ")
    assert task.items("train") == ()


def test_a_changed_metric_changes_the_scorer_and_a_changed_prompt_the_items(tmp_path: Path) -> None:
    def record(**settings: Any) -> tuple[str, list[str]]:
        task = lm_eval_task(str(choice_task(tmp_path, **settings)))
        found = describe_task(task, "plain", task.items("eval"))
        return found.scorer_hash, found.prompt_hashes

    same, metric = record(), record(metric_list=CHOICE["metric_list"][:1])
    prompt = record(description="Other words.")
    assert record() == same
    assert metric[0] != same[0]
    assert metric[1] == same[1]
    assert prompt[0] == same[0]
    assert all(a != b for a, b in zip(prompt[1], same[1], strict=True))


def test_metrics_of_a_corpus_are_left_out_by_name_or_refused(tmp_path: Path) -> None:
    with_f1 = [{"metric": "mcc"}, *CHOICE["metric_list"]]
    task = lm_eval_task(str(choice_task(tmp_path, metric_list=with_f1)))
    assert task.description.endswith("scored by acc; without mcc, which is defined only for the whole corpus")
    with pytest.raises(PluginError, match=r"item by item: mcc is defined only for the whole corpus\.$"):
        lm_eval_task(str(choice_task(tmp_path, metric_list=[{"metric": "mcc"}])))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output_type": "loglikelihood", "metric_list": [{"metric": "acc"}]}, "cannot score its first document"),
        ({"unsafe_code": True}, "runs code that the model wrote. Where that can do no harm"),
        ({"test_split": "absent"}, "its data have no split 'absent'"),
        ({"doc_to_text": "{{question"}, "cannot be loaded: TemplateSyntaxError"),
        pytest.param(
            {"metric_list": [{"metric": "no_such", "aggregation": "mean", "higher_is_better": True}]},
            "names the metric 'no_such', which lm-eval does not have",
            marks=pytest.mark.training,  # lm-eval loads another library to look for it
        ),
        ({"output_type": "nonsense"}, "invalid output_type 'nonsense'"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_reason(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = generate_task(tmp_path, 3, **settings)
    with pytest.raises(PluginError) as caught:
        lm_eval_task(str(path))
    assert message in str(caught.value)
    assert "lm-eval:" in str(caught.value)


def test_broken_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    for text, message in (
        ("task: [", "is not valid YAML"),
        ("- 1\n", "does not name its task"),
        ("", "does not name its task"),
        (
            "group: g\ntask: [a, b]\n",
            r"no figure \(aggregate_metric_list\): 2 tasks; give them one by one: lm-eval:a, lm-eval:b",
        ),
    ):
        file.write_text(text)
        with pytest.raises(PluginError, match=message):
            lm_eval_task(str(file))
    with pytest.raises(PluginError, match=r"there is no file .*absent\.yaml"):
        lm_eval_task(str(tmp_path / "absent.yaml"))
    with pytest.raises(PluginError, match="lm-eval:NAME"):
        lm_eval_task("")


@pytest.mark.slow
def test_built_in_names_are_found_or_suggested() -> None:
    assert find_file("gsm8k").name == "gsm8k.yaml"
    with pytest.raises(PluginError, match="Did you mean lm-eval:arc_easy"):
        find_file("arc_esy")


@pytest.mark.training
def test_groups_and_tags_are_opened_up() -> None:
    assert find_file("mmlu").name == "_mmlu.yaml"
    with pytest.raises(PluginError, match=r"a tag, which .* of 2 tasks.*lm-eval:arc_challenge, lm-eval:arc_easy\."):
        find_file("ai2_arc")


@pytest.mark.slow
def test_data_out_of_reach_are_named_with_the_remedy(tmp_path: Path) -> None:
    settings = GENERATE | {"task": "away", "dataset_path": "nobody/no-such-data"}
    (tmp_path / "away.yaml").write_text(json.dumps(settings))
    script = (
        "import sys; from mipo_bench.tasks.lm_eval.family import lm_eval_task\n"
        "try:\n    lm_eval_task(sys.argv[1])\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run(  # offline is decided when the library is imported
        [sys.executable, "-c", script, str(tmp_path / "away.yaml")],
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("PluginError lm-eval:")
    assert "its data (nobody/no-such-data) are in no Hugging Face cache and cannot be downloaded" in done.stdout


@pytest.mark.parametrize(
    ("text", "options", "index"),
    [
        ("Paris", ("Rome", "Paris"), 1),
        (" paris. ", ("Rome", "Paris"), 1),
        ("The capital is Paris, of course", ("Rome", "Paris"), 1),
        ("Rome or Paris", ("Rome", "Paris"), None),
        ("Not Rome. The answer is Paris", ("Rome", "Paris"), 1),
        ("B", ("A", "B"), 1),
        ("B. A river", ("A", "B"), 1),
        ("(A)", ("A", "B"), 0),
        ("I do not know", ("A", "B"), None),
        ("", ("A", "B"), None),
    ],
)
def test_a_generated_answer_names_an_option(text: str, options: tuple[str, ...], index: int | None) -> None:
    assert read_name(text, options).value == (None if index is None else options[index])


@pytest.mark.training
def test_ten_thousand_documents_are_loaded_and_rendered_within_five_seconds(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} plus 1?", "answer": f"Answer: {n + 1}"} for n in range(10_000)]
    path = write_task(tmp_path, "large", {"test": rows, "train": rows[:50]}, GENERATE)
    start = time.process_time()
    items = lm_eval_task(str(path)).items("eval")
    assert len(items) == 10_000
    assert messages(items[-1]) == "<user>What is 9999 plus 1?<assistant>"
    assert time.process_time() - start < 5
