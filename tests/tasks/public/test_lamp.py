"""LaMP on small files of the authors' form, with the pitfalls of the real ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from paths import DATA
from sklearn.metrics import f1_score

from mipo_bench.harness.errors import ConfigError, DataError, MissingDataError, NoTrainingError
from mipo_bench.harness.plugins.optional import corpus_parts
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.types import Item, Response, Score, Task
from mipo_bench.tasks.public.lamp.files import Past
from mipo_bench.tasks.public.lamp.labels import linear_macro_f1, linear_rmse, read_label, read_stars
from mipo_bench.tasks.public.lamp.retrieval import latest, nearest
from mipo_bench.tasks.public.public_task import PublicTask

PLUGINS = load_plugins()


def lamp(name: str, folder: Path = DATA) -> PublicTask:
    task = PLUGINS.task(name)
    assert isinstance(task, PublicTask)
    return task.with_data(folder)


def item(name: str, identity: str) -> Item:
    return next(i for split in ("train", "eval") for i in lamp(name).items(split) if i.id == identity)


def scored(name: str, identity: str, text: str) -> Score:
    task = lamp(name)
    assert isinstance(task, Task)
    return task.score(item(name, identity), Response(text, 1, 1, "stop"))


def copied(number: int, folder: Path) -> Path:
    return Path(shutil.copytree(DATA / f"LaMP_{number}", folder / f"LaMP_{number}"))


def changed(file: Path, change: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def test_the_context_has_the_past_in_the_words_of_the_authors_and_the_prompt_is_theirs() -> None:
    one = item("lamp_2", "dev-20")
    assert one.context == (
        "This user has given movies these tags:\n"
        'the tag for the movie: "An undertaker sells the same coffin twice." is "dark comedy"\n'
        'the tag for the movie: "A cook loses a bet and must dance." is "comedy"'
    )
    assert one.prompt.startswith("Which tag does this movie relate to")
    assert (one.target, len(one.options)) == ("dark comedy", 15)
    assert [(shot.prompt.rpartition("description: ")[2], shot.response) for shot in one.demonstrations] == [
        ("An undertaker sells the same coffin twice.", "dark comedy"),
        ("A cook loses a bet and must dance.", "comedy"),
    ]


def test_questions_with_one_past_are_one_user_and_what_is_left_out_is_counted() -> None:
    chess, space, dark = (item("lamp_2", f"dev-{n}") for n in (11, 10, 20))
    assert chess.user_id == space.user_id != dark.user_id
    assert item("lamp_3", "dev-40").user_id == "8"
    left = {name: lamp(f"lamp_{n}").data_used().get(f"left out: {name}") for n, name in LEFT_OUT}
    assert left == {"questions without a past item of their user": 1, **dict.fromkeys(TWO, 2), **dict.fromkeys(ONE, 1)}


TWO = ("past items that their user has twice", "past items with an empty field")
ONE = (
    "questions whose output cannot be scored",
    "training questions of users of the evaluation (is this the time-based split?)",
)
LEFT_OUT = [(1, "questions without a past item of their user"), *((2, name) for name in TWO), (4, ONE[0]), (3, ONE[1])]


def test_a_task_takes_k_past_items_by_bm25_or_the_latest() -> None:
    def first(name: str) -> list[str]:
        found = next(i for i in lamp(name).items("eval") if i.id == "dev-30")
        return [line.split('"')[1] for line in str(found.context).splitlines()[1:]]

    assert first("lamp_3") == ["A bright lamp that lasts.", "The kettle leaks.", "Soft towels."]
    assert first("lamp_3:k=1") == ["A bright lamp that lasts."]
    assert first("lamp_3:k=2:by=recency") == ["The kettle leaks.", "A bright lamp that lasts."]


def past(*texts: str) -> list[Past]:
    return [Past({"text": text}, f"2012-05-0{n}", "here") for n, text in enumerate(texts, 1)]


@pytest.mark.parametrize(
    ("texts", "query", "order"),
    [
        (("red car", "blue car", "blue blue boat"), "Blue boat", (2, 1, 0)),
        (("the of", "and"), "zebra", (0, 1)),  # stop words alone: nothing to search
        (("lions run", "zebras run"), "", (0, 1)),
        (("", "zebras run"), "zebras", (1, 0)),
        (("日本 の", "lions"), "日本", (0, 1)),
    ],
)
def test_bm25_orders_the_past_and_keeps_the_order_of_equals(
    texts: tuple[str, ...], query: str, order: tuple[int, ...]
) -> None:
    items = past(*texts)
    assert nearest(items, ["text"], query, 9) == [items[n] for n in order]


def test_the_latest_of_one_date_stay_in_their_order() -> None:
    items = [Past({}, date, "here") for date in ("2011-12-01", "2012-01-01", "2011-12-01", "2012-01-01T10:00:00")]
    assert latest(items, 3) == [items[1], items[3], items[0]]
    with pytest.raises(DataError, match="here: the field 'date' is 'May', not a date such as 2015-03-31"):
        latest([Past({}, "May", "here")], 1)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        *((text, "[1]") for text in ("[1]", " [1].", "1", '"[1]"', "The related reference is [1].")),
        *((text, None) for text in ("", "[1] or [2]", "I need 1 minute.", "11")),
    ],
)
def test_the_only_label_of_a_response_is_its_answer(text: str, label: str | None) -> None:
    assert read_label(text, ("[1]", "[2]")).value == label


def test_a_label_inside_a_longer_one_does_not_count() -> None:
    tags = ("comedy", "dark comedy", "sci-fi")
    assert read_label("I would say: Dark Comedy", tags).value == "dark comedy"
    assert read_label("dark comedy, not comedy", tags).value is None
    assert read_label("tragicomedy", tags).value is None


@pytest.mark.parametrize(
    ("text", "stars"),
    [
        *(
            (text, "4")
            for text in ("4", "4.", "4.0", "4/5", "4 out of 5", "The score is 4.", "**4**", "Score: 4 (4/5)")
        ),
        *((text, None) for text in ("", "45", "4.5", "between 3 and 4", "6", "good")),
    ],
)
def test_one_whole_number_of_stars_is_read(text: str, stars: str | None) -> None:
    assert read_stars(text).value == stars


def test_the_score_of_stars_falls_with_the_error() -> None:
    values = [scored("lamp_3", "dev-40", text).value for text in ("1", "2", "3", "4", "5", "no idea")]
    assert values == [1, 0.75, 0.5, 0.25, 0, 0]
    assert not scored("lamp_3", "dev-40", "no idea").parsed


def test_mae_and_rmse_are_over_all_items_and_the_unreadable_are_as_wrong_as_they_can_be() -> None:
    task = lamp("lamp_3")
    assert isinstance(task, Task)
    items = [item("lamp_3", name) for name in ("dev-40", "dev-30", "dev-50")]  # 1, 4, 3
    texts = ("2", "?", "3")  # errors 1, 3, 0
    scores = [task.score(i, Response(t, 1, 1, "stop")) for i, t in zip(items, texts, strict=True)]
    parts = corpus_parts(task, items, scores)
    assert sum(parts["mae"]) / 3 == pytest.approx(4 / 3)
    assert sum(parts["rmse"]) / 3 == pytest.approx((10 / 3) ** 0.5)
    assert linear_rmse([0.0, 0.0]) == [0.0, 0.0]


def test_macro_f1_is_that_of_scikit_learn() -> None:
    labels = ["a", "b", "c", "d"]  # nobody gives or wants d
    targets, given = list("aabbcca"), ["a", "b", "b", "b", None, "c", "a"]
    values = linear_macro_f1(targets, given, labels)
    expected = f1_score(targets, [g or "none" for g in given], labels=labels, average="macro", zero_division=0)
    assert sum(values) / len(values) == pytest.approx(expected)


def test_the_spread_of_macro_f1_is_that_of_the_jackknife() -> None:
    targets, given = list("ab" * 60), list("abba" * 30)
    given[7:50] = "a" * 43
    values, n = linear_macro_f1(targets, given, ["a", "b"]), len(targets)
    without = [
        sum(linear_macro_f1(targets[:i] + targets[i + 1 :], given[:i] + given[i + 1 :], ["a", "b"])) / (n - 1)
        for i in range(n)
    ]
    mean, centre = sum(without) / n, sum(values) / n
    jackknife = (n - 1) / n * sum((value - mean) ** 2 for value in without)
    assert sum((value - centre) ** 2 for value in values) / n / (n - 1) == pytest.approx(jackknife, rel=0.03)


def test_rouge_is_the_score_of_generated_texts() -> None:
    score = scored("lamp_4", "dev-140", "Trees for the town")
    assert score.value == pytest.approx(2 * 3 / (4 + 5))  # "Forty Trees for the River"
    assert score.parts == {"rouge_l": pytest.approx(2 / 3)}
    assert scored("lamp_4", "dev-140", "").value == 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("k=0", "'k=0' is no option"),
        ("k", "'k' is no option"),
        ("by=date", "'by=date' is no option"),
        ("shots=2", "'shots=2' is no option"),
        ("k=2:k=3", "'k' is given twice"),
    ],
)
def test_another_option_is_refused_with_those_that_are_there(options: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        PLUGINS.task(f"lamp_3:{options}")
    assert str(error.value) == (
        f"task lamp_3:{options}: {problem}"
        f"{'' if 'twice' in problem else ' of it'}. Options are k=NUMBER from 1 to 100; by=bm25 or recency."
    )


def test_a_task_without_options_says_so() -> None:
    with pytest.raises(ConfigError, match="task 'facts' has no options: write facts in place of facts:k=1"):
        PLUGINS.task("facts:k=1")
    with pytest.raises(ConfigError, match="Options are none: leave the colon out"):
        PLUGINS.task("gsm8k:k=1")


def test_recency_without_dates_is_refused() -> None:
    with pytest.raises(DataError, match=r"train_questions.json, row 1, profile 1: no field 'date'.*leave the option"):
        lamp("lamp_4:by=recency").items("eval")


def test_the_public_test_split_is_not_enough(tmp_path: Path) -> None:
    folder = copied(1, tmp_path)
    for file in folder.glob("dev_*"):
        file.unlink()
    with pytest.raises(MissingDataError, match=r"Found: LaMP_1/test_questions.json.*outputs of its test split are not"):
        lamp("lamp_1", tmp_path).items("eval")


def test_a_folder_without_training_files_is_evaluated(tmp_path: Path) -> None:
    folder = copied(2, tmp_path)
    for file in folder.glob("train_*"):
        file.unlink()
    task = lamp("lamp_2", folder)
    assert len(task.items("eval")) == 3
    with pytest.raises(NoTrainingError, match=r"train_questions\.json"):
        task.items("train")


def _remove_profiles(questions: list[dict[str, Any]]) -> None:
    for question in questions:
        question.pop("profile")


BROKEN: list[tuple[str, Any, str]] = [
    ("dev_questions", _remove_profiles, "no evaluation item is left.*'questions without a past item of their user': 3"),
    ("dev_outputs", lambda found: found["golds"].pop(), "1 of 3 ids are not among the outputs, such as '20'"),
    ("dev_questions", lambda found: found.pop(), "1 of 3 ids are not among the questions, such as '20'"),
    ("dev_questions", lambda found: found.append(found[0]), "row 4: id '10' is already in .*row 1"),
    ("dev_outputs", lambda found: found.update(task="LaMP_3"), "holds the outputs of LaMP_3, not of lamp_2"),
    ("dev_outputs", lambda found: found["golds"][0].pop("output"), "golds.*|the field 'output' is missing"),
    ("dev_questions", lambda found: found[0]["profile"][0].pop("tag"), "profile 1: the field 'tag' is missing"),
    ("dev_questions", lambda found: found[0].update(input="Which tag?"), "has no list of answers such as 'tags:"),
    ("dev_questions", lambda found: found[0].update(profile="none"), "the field 'profile' is 'none', not a list"),
]


@pytest.mark.parametrize(("file", "change", "message"), BROKEN)
def test_broken_files_are_refused_with_the_place(tmp_path: Path, file: str, change: Any, message: str) -> None:
    changed(copied(2, tmp_path) / f"{file}.json", change)
    with pytest.raises(DataError, match=message):
        lamp("lamp_2", tmp_path).items("eval")


def test_outputs_may_be_a_list_or_one_object_on_one_line(tmp_path: Path) -> None:
    file = copied(2, tmp_path) / "dev_outputs.json"
    whole = lamp("lamp_2", tmp_path).items("eval")
    golds = json.loads(file.read_text(encoding="utf-8"))
    for content in (golds, golds["golds"]):
        file.write_text(json.dumps(content), encoding="utf-8")
        assert lamp("lamp_2", tmp_path).items("eval") == whole
