"""The judge of a run, errors before any work begins, and `check-judge` from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from golden_files import check_golden, run
from made_judges import Letters
from openai_server import serving

from mipo_bench.harness.config.judge_spec import JudgeSpec
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.errors import ConfigError, ModelError
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.judging.assign import check_judge, load_judge, load_judges
from mipo_bench.harness.judging.prompt import JUDGE_PROMPT_VERSION
from mipo_bench.tasks.embedded.persona import Persona
from mipo_bench.tasks.embedded.persona_judged import PersonaJudged
from mipo_bench.tasks.reading.thoughts import THOUGHT_TAGS


class Opinion(Letters):
    """A judged task whose rules do not decide."""

    name = "opinion"
    rules_decide = False


def config(*settings: str, judge: str | None = None, **options: Any) -> RunConfig:
    return load_config(None, [*settings, *([f"judge.name={json.dumps(judge)}"] if judge else [])], options)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("rules", JudgeSpec("rules")),
        ("file:a b/v.jsonl", JudgeSpec("file", path=Path("a b/v.jsonl"))),
        ("openai:org/m@v2@http://h:1/v1", JudgeSpec("server", model="org/m@v2", url="http://h:1/v1")),
        ("org/model", JudgeSpec("model", model="org/model")),
        ("./rules", JudgeSpec("model", model="./rules")),
    ],
)
def test_the_name_of_a_judge_is_parsed_once(text: str, spec: JudgeSpec) -> None:
    assert config(judge=text).judge.spec == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("openai:model", "write it as openai:MODEL@URL"),
        ("openai:@http://h/v1", "write it as openai:MODEL@URL"),
        ("file:", "write it as file:PATH"),
        (" ", "write rules, file:PATH, nli:MODEL, openai:MODEL@URL"),
    ],
)
def test_a_name_that_is_no_judge_is_refused_with_the_configuration(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"judge\.name = '{text}': {message}"):
        config(judge=text)


def test_rules_judge_where_the_task_lets_them_and_nobody_asked_for_another() -> None:
    found = load_judges(config(), [PersonaJudged(), Persona()])
    assert [(name, a.kind, a.judge.name) for name, a in found.items()] == [("persona-judged", "rules", "rules")]
    assert load_judges(config(), [Persona()]) == {}
    assert load_judges(config(judge="rules"), [Opinion()])["opinion"].kind == "rules"


@pytest.mark.parametrize(
    ("judge", "error", "message"),
    [
        (None, ConfigError, "only a judge can score opinion. Name one with --judge"),
        ("file:none.jsonl", ConfigError, "cannot read the file of verdicts none.jsonl"),
        ("openai:model@localhost", ConfigError, "is not usable"),
        ("./no-such-model", ModelError, "there is no model folder './no-such-model'"),
        ("judge", ModelError, "there is no model folder 'judge'"),
    ],
)
def test_what_cannot_judge_is_refused_before_anything_is_loaded(
    judge: str | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_judge(config(judge=judge), [Opinion()])
    check_judge(config(judge=judge), [Persona()])


def test_a_file_of_verdicts_and_a_server_are_judges(tmp_path: Path) -> None:
    file = tmp_path / "v.jsonl"
    file.write_text(json.dumps({"prompt": "p", "a": "x", "b": "y", "label": "a"}))
    assert load_judge(JudgeSpec.parse(f"file:{file}"), config()).judge.name == "v.jsonl"
    with serving(lambda _: "Verdict: first") as server:
        found = load_judge(JudgeSpec.parse(f"openai:org/Some-Judge-7B@{server.url}"), config())
        other = load_judge(JudgeSpec.parse(f"openai:org/Some-Judge-7B@{server.url}"), config("judge.temperature=0"))
    assert (found.kind, found.judge.name, found.notes) == ("server", "org/Some-Judge-7B", ())
    assert found.judge.digest != other.judge.digest
    key = [
        "judge",
        JUDGE_PROMPT_VERSION,
        f"org/Some-Judge-7B at {server.url}",
        0.1,
        0.9,
        256,
        *sorted(map(str, THOUGHT_TAGS)),
    ]  # stored verdicts depend on it
    assert found.judge.digest == digest(key)
    with pytest.raises(ModelError, match="cannot be reached"):
        load_judge(JudgeSpec.parse(f"openai:m@{server.url}"), config())


@pytest.mark.parametrize(
    ("model", "judge", "shared"),
    [
        ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-14B-Instruct", "qwen"),
        ("meta-llama/Llama-3.2-1B-Instruct", "my/llama-3-8b-chat", "llama"),
        ("Qwen/Qwen2.5-1.5B-Instruct", "meta-llama/Llama-3-8B-Instruct", None),
    ],
)
def test_judge_and_model_of_one_family_are_flagged_by_name(
    tmp_path: Path, model: str, judge: str, shared: str | None
) -> None:
    with serving(lambda _: "ok") as server:
        notes = load_judge(JudgeSpec.parse(f"openai:{judge}@{server.url}"), config(model=model)).notes
    assert bool(notes) == bool(shared)
    assert not shared or shared in notes[0]


def test_the_judged_model_and_its_architecture_are_flagged(tmp_path: Path) -> None:
    same = load_judge(JudgeSpec.parse("embedded"), config())
    assert same.notes == ("the judge is the judged model itself and may prefer its own style",)
    folder = tmp_path / "other"
    shutil.copytree(embedded_folder(), folder)
    changed = json.loads((folder / "config.json").read_text()) | {"rms_norm_eps": 1e-4}
    (folder / "config.json").write_text(json.dumps(changed))
    cousin = load_judge(JudgeSpec.parse(str(folder)), config())
    assert cousin.notes == ("judge and judged model have one architecture (llama): perhaps one family",)
    assert cousin.judge.digest != same.judge.digest


def test_a_validation_belongs_to_one_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("check-judge --task persona-judged --limit 12", capsys).code == 0
    validated = "judge.validation_file=judge-validation.json"
    found = load_judges(config(validated), [PersonaJudged()])["persona-judged"].validation
    assert found
    assert (found.labels, found.n_items, found.kappa, found.accuracy) == ("persona-judged", 12, 1.0, 1.0)
    with pytest.raises(ConfigError, match=r"is about the judge 'rules' .* pairwise\), not about 'rules' .* pointwise"):
        load_judges(config(validated, "judge.protocol=pointwise"), [PersonaJudged()])
    with pytest.raises(ConfigError, match="is about the judge"):
        load_judges(config(validated, judge="rules"), [Opinion()])
    Path("judge-validation.json").write_text("{}")
    with pytest.raises(ConfigError, match="is not a file that `mipo-bench check-judge` wrote"):
        load_judges(config(validated), [PersonaJudged()])


ROWS = [
    {"prompt": "p1", "context": "c1", "a": "long answer", "b": "short", "label": "a", "user": "u1"},
    {"prompt": "p2", "context": "c2", "a": "no", "b": "a long answer", "label": "b", "user": "u2"},
    {"prompt": "p3", "context": "c3", "a": "yes", "b": "a long answer", "label": "a", "user": "u3"},
    {"prompt": "p4", "a": "medium", "b": "medium!", "label": "b", "user": "u3"},
]


def longest(body: dict[str, Any]) -> str:
    """A judge behind a server that prefers longer responses; an empty body tests the connection."""
    if not body:
        return "here"
    texts = [part.partition("\n")[2] for part in body["messages"][-1]["content"].split("BEGIN ")[1:]]
    first, second = (len(text.rpartition("\nEND")[0]) for text in texts[-2:])
    return "Verdict: first" if first > second else "Verdict: second"


def test_check_judge_prints_and_writes_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    Path("labels.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    with serving(longest) as server:
        printed = run(f"check-judge --labels labels.jsonl --judge openai:judge@{server.url}", capsys)
        asked = len(server.asked)
        again = run(f"check-judge --labels labels.jsonl --judge openai:judge@{server.url}", capsys)
        assert len(server.asked) == asked == 2 * 8  # eight questions, each asked again once
    digest = json.loads(Path("judge-validation.json").read_text())["digest"][:10]
    text = printed.text("check-judge --labels labels.jsonl --judge openai:judge@URL").replace(digest, "0123456789")
    check_golden("check-judge/labels.txt", text.partition("--- stderr")[0])
    assert again.out == printed.out
    assert (printed.code, again.code) == (1, 1)  # three of four right is not significantly better than chance
    record = json.loads(Path("judge-validation.json").read_text())["validation"]
    assert record["accuracy"] == 0.75
    assert record["kappa"] == pytest.approx(0.5)
    assert record["n_clusters"] == 3


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("check-judge", "name one judged task with --task"),
        ("check-judge --task persona", "has its own score and needs no judge"),
        ("check-judge --labels none.jsonl", "--labels needs a judge"),
        ("check-judge --labels none.jsonl --judge rules", "cannot read the file"),
        ("check-judge --labels empty.jsonl --judge file:empty.jsonl", "holds no comparison"),
        ("check-judge --labels rows.jsonl --judge rules", "rules belong to a task"),
        ("check-judge --labels rows.jsonl --task persona-judged --judge rules", "exclude each other"),
        ("run --task persona-judged --judge file:none.jsonl", "cannot read the file of verdicts"),
    ],
)
def test_check_judge_refuses_what_it_cannot_use(
    command: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.jsonl").write_text("\n")
    Path("rows.jsonl").write_text(json.dumps(ROWS[0]))
    printed = run(command, capsys)
    assert printed.code == 2
    assert message in printed.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.jsonl", "rows.jsonl"]


def test_a_small_model_that_cannot_judge_is_counted_and_the_check_still_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The embedded model never answers in the required form; the report says that no verdict could be read."""
    monkeypatch.chdir(tmp_path)
    command = "check-judge --task persona-judged --judge embedded --limit 3 --set judge.max_new_tokens=8"
    printed = run(command, capsys)
    assert printed.code == 1
    assert "6 (100%)" in printed.out
    record = json.loads(Path("judge-validation.json").read_text())["validation"]
    assert (record["n_items"], record["kappa"], record["accuracy"]) == (3, 0.0, 0.5)
