"""The public tasks on small files with invented rows, which contain the known pitfalls of the data sets."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from paths import DATA
from rouge_score.rouge_scorer import RougeScorer

from mipo_bench.harness.errors import DataError
from mipo_bench.harness.plugins.optional import objective_of
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.types import Item, JudgedTask, Response, SteppedBaseline, Task
from mipo_bench.tasks.public.community_alignment import CommunityAlignment
from mipo_bench.tasks.public.gsm8k import Gsm8k
from mipo_bench.tasks.public.preference_task import PreferenceTask, word_f1
from mipo_bench.tasks.public.public_task import PublicTask

PLUGINS = load_plugins()
TASKS: dict[str, PublicTask] = {
    name: task.with_data(DATA) for name, task in PLUGINS.tasks.items() if isinstance(task, PublicTask)
}
JUDGED = {name: task for name, task in TASKS.items() if isinstance(task, PreferenceTask)}
EXACT = {name: task for name, task in TASKS.items() if name not in JUDGED}


def as_task(name: str) -> Task:
    task = TASKS[name]
    assert isinstance(task, Task)
    return task


def item(name: str, identity: str) -> Item:
    return next(i for i in (*TASKS[name].items("train"), *TASKS[name].items("eval")) if i.id == identity)


def answered(text: str) -> Response:
    return Response(text, 1, 1, "stop")


def test_every_public_data_set_is_a_task_for_real_models() -> None:
    lamp = {f"lamp_{number}" for number in range(1, 8)}
    choices = {"arc_challenge", "arc_easy", "commonsense_qa", "mmlu", "prefeval"}
    assert set(EXACT) == {*choices, *lamp, "gsm8k", "svamp"}
    assert set(JUDGED) == {"community_alignment", "multifaceted_bench", "prefeval_open", "prism"}
    assert all(task.meant_for == "real" and task.uses_data and task.licence and task.source for task in TASKS.values())


@pytest.mark.parametrize("name", TASKS)
def test_splits_share_no_user_and_no_prompt(name: str) -> None:
    train, held = TASKS[name].items("train"), TASKS[name].items("eval")
    assert train
    assert held
    assert len({i.id for i in (*train, *held)}) == len(train) + len(held)
    asked = {i.prompt for i in held}
    assert not asked & {i.prompt for i in train}
    assert not asked & {t.prompt for i in train for t in i.demonstrations}
    assert not {i.user_id for i in train if i.user_id} & {i.user_id for i in held}


@pytest.mark.parametrize("name", TASKS)
def test_ids_do_not_depend_on_the_process_or_the_order_of_rows(name: str, tmp_path: Path) -> None:
    again = TASKS[name].with_data(DATA)
    assert again.items("eval") == TASKS[name].items("eval")
    for file in (f for f in DATA.rglob("*.jsonl") if f.parts[len(DATA.parts)] == name):
        lines = file.read_text(encoding="utf-8").splitlines()
        copy = tmp_path / file.relative_to(DATA)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("\n".join(reversed(lines)), encoding="utf-8")
    if name in EXACT and list(tmp_path.iterdir()):
        turned = TASKS[name].with_data(tmp_path)
        assert {(i.id, i.prompt, i.target) for i in turned.items("eval")} == {
            (i.id, i.prompt, i.target) for i in TASKS[name].items("eval")
        }


@pytest.mark.parametrize("name", EXACT)
def test_gold_scores_one_and_wrong_scores_zero(name: str) -> None:
    task = as_task(name)
    for one in (*task.items("train"), *task.items("eval")):
        gold, wrong = (task.score(one, answered(f(one))) for f in (task.gold, task.wrong))
        assert (gold.value, wrong.value) == (1.0, 0.0), one
        assert gold.parsed


@pytest.mark.parametrize("name", JUDGED)
def test_judged_tasks_have_labels_and_a_rubric(name: str) -> None:
    task = as_task(name)
    assert isinstance(task, JudgedTask)
    for one in (*task.items("train"), *task.items("eval")):
        gold, wrong = (task.score(one, answered(f(one))) for f in (task.gold, task.wrong))
        assert gold.value == 1.0
        assert 0 <= wrong.value < 1
        assert one.context
        assert one.user_id
        assert len(task.rubric(one)) > 40
    assert not task.score(task.items("eval")[0], answered(" ")).parsed


@pytest.mark.parametrize("name", TASKS)
def test_every_prompting_baseline_that_applies_can_ask_every_item(name: str) -> None:
    task = as_task(name)
    items = task.items("eval")
    names = {b.name for b in PLUGINS.baselines.values() if b.applies(task, items[0])}
    assert task.reference in names
    assert "few-shot" in names or name in ("multifaceted_bench", "lamp_1", "lamp_7", "prefeval_open")
    for baseline in (PLUGINS.baselines[n] for n in names):
        for one in items:
            text = "\n".join(m.content for m in baseline.messages(one))
            assert not baseline.uses_context or (one.context or "") in text
            if isinstance(baseline, SteppedBaseline):
                said = ["said before"] * (baseline.steps - 1)
                text = "\n".join(m.content for m in baseline.follow_up(one, said))
            assert one.prompt in text


@pytest.mark.parametrize("name", TASKS)
def test_mipo_recipes_find_contrasts(name: str) -> None:
    task = as_task(name)
    items = task.items("train")
    recipes = [r for r in PLUGINS.recipes.values() if r.applies(task, items[0]) and objective_of(r) != "grpo"]
    assert recipes
    for recipe in recipes:
        contrasts = recipe.contrasts(items, random.Random(1))
        assert all((c.prompt, c.context) != (i.prompt, i.context) for c, i in zip(contrasts, items, strict=True))


def test_gsm8k_reads_signs_separators_and_decimals_and_drops_the_marks() -> None:
    task = TASKS["gsm8k"]
    targets = {i.prompt.split("?")[0][:20]: i.target for i in (*task.items("train"), *task.items("eval"))}
    assert set(targets.values()) == {
        "2000",
        "30",
        "-13",
        "1.5",
        "1200",
        "15",
        "42",
        "8",
        "9",
        "-7",
        "0.75",
        "1000",
        "7",
    }
    shown = [turn for i in task.items("eval") for turn in i.demonstrations]
    assert not any("<<" in turn.response for turn in shown)
    assert "1000 jars" not in str(shown)
    assert all("#### " in turn.response for turn in shown)
    assert task.data_used()["left out: training items with an evaluation prompt"] == 1


def test_svamp_reads_answers_that_are_numbers_or_texts() -> None:
    targets = {i.id: i.target for i in TASKS["svamp"].items("eval")}
    assert targets == {"chal-101": "23", "chal-102": "12.5", "chal-103": "12", "chal-104": "1200"}
    bare = next(t for i in TASKS["svamp"].items("eval") for t in i.demonstrations if "cook" in t.prompt)
    assert bare.response == "#### 33"


def test_mmlu_takes_demonstrations_of_the_subject_and_keeps_repeated_questions_apart() -> None:
    held = TASKS["mmlu"].items("eval")
    assert [i.target for i in held] == ["B", "C", "B", "B", "B"]
    assert held[3].id == f"{held[2].id}-2"
    gas = next(i for i in held if "noble gas" in i.prompt)
    assert {t.prompt.split("\n")[0] for t in gas.demonstrations} == {
        "Which particle has no charge?",
        "What is the symbol of sodium?",
    }
    virus = next(i for i in held if "statement" in i.prompt)
    assert len(virus.demonstrations) == 4
    assert len(TASKS["mmlu"].items("train")) == 4


def test_arc_turns_numbered_keys_into_letters_and_takes_three_to_five_options() -> None:
    held = {i.id: (i.target, len(i.options)) for i in TASKS["arc_challenge"].items("eval")}
    assert held == {"V_1": ("A", 4), "V_2": ("C", 3), "V_3": ("A", 5), "V_4": ("C", 4)}
    assert item("arc_challenge", "V_2").prompt.splitlines()[1:4] == ["A. moon", "B. mirror", "C. candle"]
    task = as_task("arc_challenge")
    assert task.score(item("arc_challenge", "V_3"), answered("It is volcanoes.")).value == 0
    assert task.score(item("arc_challenge", "V_2"), answered("A candle, clearly.")).value == 1


def test_prism_takes_profiles_and_openings_and_counts_what_it_leaves_out() -> None:
    task = TASKS["prism"]
    baker = item("prism", "c2")
    assert baker.user_id == "user15"
    assert "In their own words: I run a small bakery" in str(baker.context)
    assert "factuality 95, values 90" in str(baker.context)
    # the second conversation is not shown, because its prompt is an evaluation prompt of another user
    assert [t.prompt for t in baker.demonstrations] == ["How should I spend a rainy Sunday?"]
    chosen, rejected = json.loads(baker.target).values()
    assert chosen.startswith("Prices rise")
    assert rejected == "Inflation is a number."
    shown = str([*task.items("train"), *task.items("eval")])
    assert "EMPTY STRING" not in shown
    assert "Prefer not to say" not in shown
    assert "Unknown" not in shown
    used = {k.removeprefix("left out: "): v for k, v in task.data_used().items() if k.startswith("left out")}
    assert used == {
        "blank prompts": 1,
        "conversations of users about whom nothing is known": 1,
        "conversations that are a user's past": 14,
        "conversations without a chosen response": 1,
        "conversations without another response": 1,
        "training items with an evaluation prompt": 1,
        "users without conversations": 1,
    }


def test_community_alignment_cleans_responses_and_splits_users_and_prompts() -> None:
    task = TASKS["community_alignment"]
    every = (*task.items("train"), *task.items("eval"))
    assert "end_of_text" not in str(every)
    assert all(json.loads(i.target)["chosen"] != json.loads(i.target)["rejected"] for i in every)
    first = task.items("eval")[0]
    assert "Because: It is short, and it is kind." in str(first.context)
    assert "Politics" not in str(first.context)
    assert "¿" not in str(every)
    used = task.data_used()
    assert used["left out: conversations in other languages"] == 1
    assert used["left out: conversations whose candidates are alike"] == 1
    assert used["left out: conversations without a preferred response"] == 2
    assert used["left out: conversations without a first prompt"] == 1
    total = sum(int(n) for k, n in used.items() if k.startswith("left out")) + len(every)
    assert total == len((DATA / "community_alignment/community_alignment.csv").read_bytes().split(b"\r\n1")) - 1


def test_another_language_is_a_subclass_away() -> None:
    class Spanish(CommunityAlignment):
        name = "community_alignment"
        language = "es"

    with pytest.raises(DataError, match=r"no training item is left of 46 rows.*'conversations in other languages': 45"):
        Spanish(DATA).items("eval")


def test_multifaceted_bench_splits_by_prompt_and_judges_by_the_rubrics() -> None:
    task = TASKS["multifaceted_bench"]
    assert isinstance(task, PreferenceTask)
    one = next(i for i in task.items("eval") if i.prompt == "Why do bridges need gaps?")
    assert task.gold(one) != task.wrong(one)
    assert "bridges" in task.wrong(one)
    assert "5: It does suit its reader, whoever asks about why do bridges need gaps throughout." in task.rubric(one)
    assert task.data_used()["items whose `wrong` answers another prompt"] == 1
    assert task.data_used()["left out: training rows with a system message of the evaluation"] == 1
    prompts = [{i.prompt for i in task.items(split)} for split in ("train", "eval")]
    assert len(prompts[0] | prompts[1]) == 7


def test_the_digest_is_of_the_content_and_names_no_folder() -> None:
    used = TASKS["svamp"].data_used()
    assert used["dataset"] == "ChilleD/SVAMP"
    assert len(str(used["digest"])) == 64
    assert str(DATA) not in str(used)


@pytest.mark.parametrize(
    ("text", "reference", "value"),
    [("a b c", "a b c", 1.0), ("a b", "a b c d", 2 / 3), ("", "a", 0.0), ("x", "a", 0.0), ("a a", "A!", 2 / 3)],
)
def test_word_f1_is_rouge1_on_ascii_words(text: str, reference: str, value: float) -> None:
    assert word_f1(text, reference) == pytest.approx(value)
    assert RougeScorer(["rouge1"]).score(reference, text)["rouge1"].fmeasure == pytest.approx(value)


def test_word_f1_reads_every_script() -> None:
    assert word_f1("né à Köln", "né à Köln") == word_f1("ライオン", "ライオン") == 1
    assert word_f1("né à Paris", "né à Köln") == pytest.approx(2 / 3)


def cpu_seconds(rows: int, folder: Path) -> float:
    """CPU time to load both splits of so many rows and to make the messages of every baseline that applies."""
    folder.mkdir()
    for split in ("train", "test"):
        lines = (json.dumps({"question": f"{split} {n} and one?", "answer": f"So #### {n + 1}"}) for n in range(rows))
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    start = time.process_time()
    task: Task = Gsm8k(folder)
    items = task.items("eval")
    assert len(items) == rows
    for baseline in (b for b in PLUGINS.baselines.values() if b.applies(task, items[0])):
        for one in items:
            assert baseline.messages(one)
    return time.process_time() - start


@pytest.mark.slow
def test_ten_thousand_items_load_and_render_in_time_and_not_quadratically(tmp_path: Path) -> None:
    quarter, whole = (cpu_seconds(rows, tmp_path / str(rows)) for rows in (2_500, 10_000))
    assert whole < 5
    assert whole < 10 * quarter
