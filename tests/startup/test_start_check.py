"""The start-up check: models and chat templates that are refused or noted before anything is computed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_models import DROPS_THOUGHTS, PLAIN, THINKS_UNLESS_OFF, make_chat_model, make_encoder_decoder

from mipo_bench.harness.cli import main
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.core.progress import SilentDisplay
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.generators.model_folder import embedded_folder, resolve_model
from mipo_bench.harness.generators.placement import resolve_placement
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.run.preflight import can_start, examine
from mipo_bench.harness.run.session import execute, prepare
from mipo_bench.harness.startup.check import check_start

NO_TRAINING: dict[str, Any] = {"recipes": ()}
DATED = "<|turn|>system\nToday is {{ strftime_now('%d %B %Y') }}.<|end|>\n" + PLAIN


def notes_of(folder: Path, **options: Any) -> list[str]:
    """The notes of the check on a short run with this model. Raises ModelError."""
    given = {"model": str(folder), "tasks": ("arithmetic",), "limit": 3, "baselines": ("plain",), **options}
    config = load_config(None, [], given)
    return check_start(resolve_model(config.model, config.store), resolve_placement(config), config, make_plan(config))


def problem_of(folder: Path, **options: Any) -> str:
    with pytest.raises(ModelError) as refused:
        notes_of(folder, **options)
    return str(refused.value)


def test_a_model_without_problems_has_no_notes(tmp_path: Path) -> None:
    assert notes_of(embedded_folder(), baselines=None) == []
    assert notes_of(make_chat_model(tmp_path)) == []


def test_a_broken_template_is_refused_with_the_reason_of_jinja(tmp_path: Path) -> None:
    found = problem_of(make_chat_model(tmp_path, "{% for m in messages %}{{ m.content "))
    assert "unexpected end of template" in found
    assert str(tmp_path) in found


def test_one_of_several_named_templates_can_be_chosen(tmp_path: Path) -> None:
    folder = make_chat_model(tmp_path, {"chat": PLAIN, "tool_use": "TOOLS" + PLAIN})
    found = problem_of(folder)
    assert "chat, tool_use" in found
    assert "--set chat.template.chat_template=chat" in found
    assert notes_of(folder, chat={"template": {"chat_template": "chat"}}) == []
    assert "none of them called 'chatt'" in problem_of(folder, chat={"template": {"chat_template": "chatt"}})


def test_a_template_that_adds_thoughts_is_not_trained_with(tmp_path: Path) -> None:
    folder = make_chat_model(tmp_path, THINKS_UNLESS_OFF)
    assert "Give --set chat.template.enable_thinking=false" in problem_of(folder)
    assert notes_of(folder, chat={"template": {"enable_thinking": False}}) == []
    (note,) = notes_of(folder, **NO_TRAINING)
    assert "switch it off with --set chat.template.enable_thinking=false" in note


def test_a_template_that_drops_thoughts_is_not_trained_with(tmp_path: Path) -> None:
    folder = make_chat_model(tmp_path, DROPS_THOUGHTS)
    found = problem_of(folder)
    assert "drops the thoughts of a finished chat" in found
    assert "--recipes none" in found
    assert "enable_thinking" not in found
    (note,) = notes_of(folder, **NO_TRAINING)
    assert "--set decoding.max_new_tokens" in note


def test_an_end_token_that_the_files_do_not_name_is_noted(tmp_path: Path) -> None:
    (note,) = notes_of(make_chat_model(tmp_path, generation={"eos_token_id": 1}))
    assert "ends a turn with '<|end|>'" in note


def test_a_model_without_any_end_token_is_noted(tmp_path: Path) -> None:
    bare = PLAIN.replace("<|end|>", "").replace("<|turn|>", "# ")
    folder = make_chat_model(tmp_path, bare, names={}, generation={}, bos_token_id=None, eos_token_id=None)
    assert notes_of(folder, **NO_TRAINING)[-1] == "no end token is known: every response runs to its token limit"


def test_a_pad_token_without_an_embedding_is_replaced_with_a_note(tmp_path: Path) -> None:
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<|further|>"}
    (note,) = notes_of(make_chat_model(tmp_path, names=names, further=("<|further|>",)))
    assert note.startswith("the pad token '<|further|>' has no embedding")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (PLAIN.replace("<|turn|>", "<|further|>"), "the token '<|further|>' of the chat template has the number 261"),
        (PLAIN, "the prompt of item 'eval-0000' holds '<|further|>'"),
    ],
)
def test_tokens_without_an_embedding_are_refused(template: str, message: str, tmp_path: Path) -> None:
    task = tmp_path / "odd.py"
    task.write_text(ODD_TASK)
    folder = make_chat_model(tmp_path / "model", template, further=("<|further|>",))
    assert message in problem_of(folder, include=[str(task)], tasks=("odd",), **NO_TRAINING)


ODD_TASK = '''
from mipo_bench.harness.types import Item, Score

class Odd:
    """A prompt with the text of a token."""
    name, suite, reference, max_new_tokens = "odd", "math", "plain", 8
    version, description, binary, reasoning = 1, "odd", True, False
    def items(self, split):
        return [Item("eval-0000", "what is <|further|>?", "1")] if split == "eval" else []
    def score(self, item, response):
        return Score(float(response.text == item.target))
    def gold(self, item):
        return item.target
    def wrong(self, item):
        return item.target + "0"

TASKS = [Odd]
'''


def test_a_tokenizer_without_its_files_is_refused(tmp_path: Path) -> None:
    folder = make_chat_model(tmp_path)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    vocabulary["model"]["vocab"] = {"a": 0}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    assert "the tokenizer does not know plain text" in problem_of(folder)


def test_prompts_beyond_the_window_are_refused_or_noted(tmp_path: Path) -> None:
    folder = make_chat_model(tmp_path, max_position_embeddings=300)
    found = problem_of(folder, **NO_TRAINING)
    assert "arithmetic plain: 3 of 3 prompts" in found
    assert "256 new tokens in the window of 300 tokens" in found
    assert notes_of(folder, decoding={"max_new_tokens": 8}, **NO_TRAINING) == []
    (note,) = notes_of(folder, overflow=1.0, **NO_TRAINING)
    assert note.endswith("they score 0")


def test_the_date_of_a_template_is_noted(tmp_path: Path) -> None:
    (note,) = notes_of(make_chat_model(tmp_path, DATED))
    assert "prompts show 26 July 2024" in note
    (note,) = notes_of(make_chat_model(tmp_path, DATED.replace("'%d %B %Y'", "date_format or '%d'")))
    assert "prompts change with the day" in note


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    folder = make_chat_model(tmp_path, THINKS_UNLESS_OFF.replace("<|turn|>", "<|further|>"), further=("<|further|>",))
    lines = problem_of(folder).splitlines()
    assert lines[0] == f"the run cannot start with the model {str(folder)!r}:"
    assert [line[:12] for line in lines[1:]] == ["- the token ", "- the chat t"]


def reward_model(folder: Path) -> Path:
    config = json.loads((make_chat_model(folder) / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["Qwen2ForSequenceClassification"]}))
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_encoder_decoder, "is an encoder-decoder (t5)"),
        (reward_model, "Qwen2ForSequenceClassification is no causal language model"),
    ],
)
def test_other_architectures_are_refused_in_one_line(
    make: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    found = problem_of(make(tmp_path))
    assert message in found
    assert len(found.splitlines()) == 1
    assert len(found) < 400


def test_doctor_lists_what_a_run_would_refuse(tmp_path: Path) -> None:
    folder = make_chat_model(tmp_path / "model", THINKS_UNLESS_OFF, generation={"eos_token_id": 1})
    given = {"model": str(folder), "tasks": ("arithmetic",), "limit": 3, "out": tmp_path / "out"}
    found = list(examine(load_config(None, [f"store={tmp_path / 'store'}"], given)))
    states = [(finding.state, finding.text[:30]) for finding in found if finding.what == "chat"]
    assert states == [("warn", "the chat template ends a turn "), ("fail", "the chat template cannot be tr")]
    assert not can_start(found)


def test_a_refused_run_exits_with_2_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_chat_model(tmp_path / "model", DROPS_THOUGHTS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--model", str(folder), "--task", "arithmetic", "--limit", "3"])
    assert stopped.value.code == 2
    assert "drops the thoughts" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_the_notes_are_in_the_report(tmp_path: Path) -> None:
    folder = make_chat_model(tmp_path / "model", generation={"eos_token_id": 1})
    given = {"model": str(folder), "tasks": ("arithmetic",), "limit": 2, "recipes": (), "baselines": ("plain",)}
    settings = [f"store={tmp_path / 'store'}", "decoding.max_new_tokens=4", "noise_floor=false", "threads=1"]
    config = load_config(None, settings, {**given, "out": tmp_path / "out"})
    report = execute(prepare(config), SilentDisplay()).report
    assert report is not None
    assert any("ends a turn with '<|end|>'" in note for note in report.notes)
    assert resolve_placement(config).device == "cpu"
