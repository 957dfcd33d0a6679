"""A judge that is an entailment model: a scripted one, and a small random cross-encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from golden_files import run
from made_judges import ScriptedEntailment, make_entailment_model

from mipo_bench.harness.config.judge_spec import JudgeSpec
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.generators.entailment import Entailed, EntailmentModel, nli_labels
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.judging.assign import load_judge
from mipo_bench.harness.judging.nli_judge import nli_judge, statements_of
from mipo_bench.harness.protocols import Question, Verdict
from mipo_bench.harness.types import Item

ITEM = Item("i", "A drink?", "", "user", "About the user:\nLikes tea. Hates milk!\nIs 40 years old")


def asked(first: str, second: str | None = None, *, rubric: str = "Suit the user.", item: Item = ITEM) -> Question:
    return Question(item, rubric, first, second)


def verdict(question: Question) -> Verdict:
    return dict(nli_judge("script", ScriptedEntailment(), "script").decide([question]))[0]


def test_statements_are_the_bullets_of_the_rubric_else_the_profile_else_the_rubric() -> None:
    bullets = "Judge these:\n- It names a tea. It is short.\n2) It is polite\n* \n- It is polite"
    assert statements_of(asked("x", rubric=bullets)) == ("It names a tea.", "It is short.", "It is polite")
    assert statements_of(asked("x")) == ("Likes tea.", "Hates milk!", "Is 40 years old")
    nobody = Item("i", "A drink?", "")
    assert statements_of(asked("x", rubric="Be kind. Be brief.", item=nobody)) == ("Be kind.", "Be brief.")
    assert statements_of(asked("x", rubric="...", item=nobody)) == ()


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        ("Take tea.", "Take water.", 1.0),
        ("Take water.", "Take tea.", 0.0),
        ("Some tea?", "Take tea.", 0.5),
        ("Take tea.", "not tea", 1.0),
        ("water", "not tea", 1.0),
    ],
)
def test_the_response_that_meets_more_of_the_profile_wins(first: str, second: str, value: float) -> None:
    item = Item("i", "A drink?", "", "user", "Likes tea.")
    assert verdict(asked(first, second, item=item)).value == value
    assert verdict(asked(second, first, item=item)).value == 1 - value


def test_a_rating_is_the_mean_over_the_statements() -> None:
    item = Item("i", "A drink?", "", "user", "Likes tea. Likes cake.")
    found = [verdict(asked(text, item=item)) for text in ("tea and cake", "tea", "water", "not tea, not cake")]
    assert [one.value for one in found] == [1.0, 0.75, 0.5, 0.0]
    assert found[1].text == "2 statements; +0.500"


def test_without_a_statement_there_is_no_verdict() -> None:
    found = verdict(asked("x", "y", rubric="-", item=Item("i", "A drink?", "")))
    assert found == Verdict(None, "neither rubric nor profile has a statement to check")


def test_a_response_is_checked_once_for_all_arms_and_orders() -> None:
    model = ScriptedEntailment()
    judge = nli_judge("script", model, "script")
    for one, other in (("tea", "water"), ("water", "tea"), ("cake", "water")):
        list(judge.decide([asked(one, other)]))
    assert len(model.asked) == len(set(model.asked)) == 3 * 3  # three texts, three statements


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_entailment_model(tmp_path_factory.mktemp("nli") / "cross-encoder")


def probabilities(folder: Path, pairs: list[tuple[str, str]], batch: int) -> list[Entailed]:
    return EntailmentModel(folder, "m", Placement(batch_size=batch)).check(pairs)


PAIRS = [
    ("Tea it is.", "Likes tea."),
    ("x" * 300, "Likes tea."),
    ("y", "long " * 40),
    ("Água", "ü"),
    ("", "Likes tea."),
]


def test_probabilities_do_not_depend_on_the_batch(folder: Path) -> None:
    alone = [probabilities(folder, [pair], 1)[0] for pair in PAIRS]
    together = probabilities(folder, PAIRS, 4)
    for one, other in zip(alone, together, strict=True):
        assert one.entailed == pytest.approx(other.entailed, abs=1e-5)
        assert one.contradicted == pytest.approx(other.contradicted, abs=1e-5)
        assert 0 < one.entailed + one.contradicted < 1
    assert probabilities(folder, [], 4) == []


def test_a_long_response_is_read_in_windows_and_the_best_counts(folder: Path) -> None:
    text, statement = "".join(chr(97 + n % 26) for n in range(120)), "Likes tea."
    room = 64 - 3 - len(statement)  # one token is one letter
    windows = [text[n : n + room] for n in range(0, len(text), room)]
    parts = probabilities(folder, [(window, statement) for window in windows], 8)
    whole = probabilities(folder, [(text, statement)], 8)[0]
    assert len({part.entailed for part in parts}) == len(windows) == 3
    assert whole.entailed == pytest.approx(max(part.entailed for part in parts), abs=1e-6)
    assert whole.contradicted == pytest.approx(max(part.contradicted for part in parts), abs=1e-6)


def test_the_labels_are_found_by_name(tmp_path: Path) -> None:
    two = make_entailment_model(tmp_path / "two", ("ENTAILMENT", "not_entailment"))
    assert (nli_labels(two, "two").entailment, nli_labels(two, "two").contradiction) == (0, None)
    assert probabilities(two, [("tea", "tea")], 1)[0].contradicted == 0


@pytest.mark.parametrize("labels", [("LABEL_0", "LABEL_1"), ("positive", "negative"), ("entailment", "is_entailed")])
def test_a_classifier_of_something_else_is_refused(labels: tuple[str, str], tmp_path: Path) -> None:
    other = make_entailment_model(tmp_path / "other", labels)
    with pytest.raises(ModelError) as error:
        load_judge(JudgeSpec.parse(f"nli:{other}"), load_config(None, [], {}))
    shown = "none" if "LABEL_0" in labels else ", ".join(labels).lower()  # transformers does not save its own names
    assert f"is no entailment model: it is BertForSequenceClassification with the labels {shown}." in str(error.value)


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ("nli:", "write it as nli:MODEL"),
        ("nli:./none", "there is no model folder './none'"),
        ("nli:embedded", "is no entailment model: it is LlamaForCausalLM with the labels"),
        ("nli:empty", "there is no model folder 'empty'"),
        ("nli:./bare", "has no readable config.json"),
    ],
)
def test_what_is_no_entailment_model_is_refused_with_one_message(
    judge: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bare").mkdir()
    printed = run(f"run --task persona-judged --judge {judge} --recipes none", capsys)
    assert printed.code == 2
    assert message in printed.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bare"]


def test_a_damaged_model_is_refused_when_it_is_loaded(folder: Path, tmp_path: Path) -> None:
    damaged = make_entailment_model(tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"nli:m cannot be loaded"):
        probabilities(damaged, [("tea", "tea")], 1)


def test_check_judge_and_a_run_take_it_as_any_judge(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    checked = run(f"check-judge --task persona-judged --judge nli:{folder} --limit 4", capsys)
    assert checked.code in (0, 1)
    assert "same verdict in both orders" in checked.out
    validated = "--set judge.validation_file=judge-validation.json"
    command = f"run --task persona-judged --judge nli:{folder} --recipes none --limit 2 --baselines profile,no-context"
    assert run(f"{command} {validated} --set information.arms=none --out out", capsys).code == 0
    report = json.loads(Path("out/report.json").read_text())
    (judge,) = report["judges"]
    assert (judge["kind"], judge["name"], judge["temperature"]) == ("nli", f"nli:{folder}", None)
    assert judge["consistency"]["consistent"] in (None, 1.0)  # the order of the responses plays no role
    assert judge["validation"]["labels"] == "persona-judged"
