"""Prompts out, answers in: `export-prompts`, another program, `run --model`; and the way back from the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from golden_files import run

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.exchange.prompts import PromptRows
from mipo_bench.harness.exchange.responses_file import PROMPT_FIELDS, read_responses
from mipo_bench.harness.generators.chat_template import DEFAULT_CHAT
from mipo_bench.harness.generators.remote import chat_as_json
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.store.upkeep.export import COLUMNS
from mipo_bench.harness.types import Message
from mipo_bench.reports.records.report import ArmRecord, Report
from mipo_bench.reports.records.report_file import load_report

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows_of(file: str) -> list[Row]:
    return [json.loads(line) for line in Path(file).read_text(encoding="ascii").splitlines()]


def write(file: str, rows: list[Row]) -> None:
    Path(file).write_text("".join(json.dumps(row) + "\n" for row in rows))


def scored(report: Report) -> dict[tuple[str, str], ArmRecord]:
    """The arms without what depends on the model and its decoding."""
    same = {"model_digest": "", "sample_seed": 0}
    return {(arm.task, arm.method): arm.model_copy(update=same) for arm in report.arms}


def test_every_prompting_arm_asks_every_item(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("export-prompts p.jsonl --limit 3", capsys)
    rows = rows_of("p.jsonl")
    plan = make_plan(load_config(None, [], {"limit": 3, "recipes": []}))
    assert {(r["task"], r["arm"], r["item_id"]) for r in rows} == {
        (arm.task, arm.method, item.id)
        for task in plan.tasks
        for arm in plan.arms_of(task.task.name, trained=False)
        for item in task.items
    }
    assert (printed.code, printed.out, printed.err) == (0, f"wrote {len(rows)} prompts to p.jsonl\n", "")
    assert {row["arm"] for row in rows} >= {"profile", "profile (A/A)"}
    assert all({m["role"] for m in row["messages"]} <= {"system", "user", "assistant"} for row in rows)
    assert {*rows[0]} <= PROMPT_FIELDS | {"task", "item_id", "arm"}


def test_an_item_is_asked_as_the_run_asks_it(capsys: pytest.CaptureFixture[str]) -> None:
    run("export-prompts p.jsonl --model embedded --task persona --task facts --limit 1 --set decoding.seed=7", capsys)
    rows = {(row["task"], row["arm"]): row for row in rows_of("p.jsonl")}
    profile = rows["persona", "profile"]
    assert [m["role"] for m in profile["messages"]] == ["system", "user"]
    assert profile["prompt"].endswith(f"<|user|>{profile['messages'][1]['content']}<|end|><|assistant|>")
    assert profile["messages"][0]["content"] in profile["prompt"]
    assert (profile["sample_seed"], rows["persona", "profile (A/A)"]["sample_seed"]) == (7, 8)
    assert profile["decoding"] == {"max_new_tokens": 256, "temperature": 0.1, "top_p": 0.9, "stop": []}
    assert profile["seed"] == seed_of("evaluation", "persona", profile["item_id"], 7)
    assert rows["facts", "plain"]["options"] == ["Rome", "Oslo", "Stockholm", "Bogota"]


def test_the_standard_output_has_the_rows_alone(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("export-prompts - --task facts --limit 1", capsys)
    assert [json.loads(line)["task"] for line in printed.out.splitlines()] == ["facts"] * 4
    assert printed.err == "wrote 4 prompts to the standard output\n"
    assert list(Path().iterdir()) == []


def test_baselines_of_several_prompts_are_left_out_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("export-prompts p.jsonl --task persona --limit 1 --baselines all", capsys)
    assert printed.code == 0
    assert "left out: self-refine asks in 3 prompts in turn" in printed.err
    assert "left out: cad compares the probabilities under two prompts" in printed.err
    assert not {"self-refine", "cad"} & {row["arm"] for row in rows_of("p.jsonl")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("p.jsonl --task persona --baselines self-refine,cad", "baseline 'self-refine' asks in 3 prompts in turn"),
        ("p.jsonl --task persona --baselines self-refine,cad", "baseline 'cad' compares the probabilities"),
        ("p.jsonl --recipes mipo-random", "a trained model is asked with the prompts of the reference"),
        ("p.jsonl --model answers.jsonl", "--model answers.jsonl has responses, and prompts are wanted"),
        ("p.jsonl --model ./none", "there is no model folder './none'"),
        ("p.jsonl --task persna", "unknown task 'persna'"),
        (". --task facts", "cannot write .: it is a folder."),
        ("no/such/p.jsonl --task facts", "cannot write no/such/p.jsonl"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_writes_nothing(
    options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(f"export-prompts {options}", capsys)
    assert printed.code == 2
    assert message in printed.err
    assert list(Path().iterdir()) == []


def test_an_old_file_is_replaced_as_a_whole(capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.jsonl").write_text("old\n" * 1000)
    assert run("export-prompts p.jsonl --task facts --limit 1", capsys).code == 0
    assert len(rows_of("p.jsonl")) == 4
    assert [path.name for path in Path().iterdir()] == ["p.jsonl"]


def test_a_prompt_that_fails_is_named_and_the_others_are_written() -> None:
    plan = make_plan(load_config(None, [], {"tasks": ["persona"], "limit": 2, "recipes": []}))
    lost = plan.tasks[0].items[0]

    def render(messages: tuple[Message, ...], context: str | None) -> Any:
        shown = [m for m in messages if lost.context is None or lost.context not in m.content]
        return chat_as_json(shown, context, DEFAULT_CHAT)

    exported = PromptRows(plan, render, rendered=False)  # type: ignore[arg-type]
    rows = list(exported.rows())
    asked = {row["item_id"] for row in rows if row["arm"] == "profile"}
    assert lost.id not in asked
    assert any(line.startswith(f"persona, profile, {lost.id}: ContextLostError") for line in exported.failed)
    stopped: Iterator[Any] = iter(exported.rows())
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]


def test_answers_of_the_same_program_get_the_same_scores(capsys: pytest.CaptureFixture[str]) -> None:
    """The embedded model answers the default suite; its answers, put into the exported prompts, score the same."""
    options = "--limit 3 --set decoding.max_new_tokens=40 --set processes=1"
    assert run(f"run {options} --recipes none --out own --set store=s", capsys).code == 0
    assert run(f"export-prompts p.jsonl {options}", capsys).code == 0
    assert run("store export s.jsonl --store s", capsys).code == 0
    stored = {(row["task"], row["arm"], row["item_id"]): row for row in rows_of("s.jsonl")}
    answered = []
    for row in rows_of("p.jsonl"):
        own = stored.pop((row["task"], row["arm"], row["item_id"]))
        answered.append(row | {name: own[name] for name in ("response", "finish", "n_tokens", "option_logprobs")})
    assert stored == {}
    write("answers.jsonl", answered)
    assert run("run --model answers.jsonl --limit 3 --out given --set store=s", capsys).code == 0
    base, given = load_report(Path("own")), load_report(Path("given"))
    assert scored(given) == scored(base)
    assert any(arm.truncated for arm in base.arms)
    assert {(c.task, c.base, c.method): (c.delta, c.p_value) for c in given.comparisons} == {
        (c.task, c.base, c.method): (c.delta, c.p_value) for c in base.comparisons
    }
    assert given.notes == ["another program generated the responses: their prompts and decoding are unknown"]


def test_an_export_of_the_store_is_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--task arithmetic --limit 4"
    lines = [
        {"item_id": f"eval-000{n}", "arm": arm, "response": f"Answer: {n}", "finish": finish, "train_seed": seed}
        for n in range(4)
        for arm, finish, seed in (
            ("plain", "stop", None),
            ("plain (A/A)", None, None),
            ("mine", "length", 0),
            ("mine", "stop", 1),
        )
    ]
    write("answers.jsonl", lines)
    assert run(f"run --model answers.jsonl {options} --out first --set store=s", capsys).code == 0
    assert run("store export back.jsonl --store s", capsys).code == 0
    assert {*rows_of("back.jsonl")[0]} == {*COLUMNS}
    assert run(f"run --model back.jsonl {options} --out second --set store=s", capsys).code == 0
    first, second = (load_report(Path(name)) for name in ("first", "second"))
    assert second.arms == first.arms
    assert second.comparisons == first.comparisons
    assert [n for n in second.notes if "not used" in n] == []
    for arm in ("plain", "mine"):
        assert (
            run(f"store export {arm}.jsonl --store s --run {first.digest} --task arithmetic --arm {arm}", capsys).code
            == 0
        )
    compared = json.loads(run("compare plain.jsonl mine.jsonl --format json", capsys).out)
    own = next(c for c in first.comparisons if c.family == "primary")
    assert (compared["delta"], compared["p_value"], compared["n_seeds"]) == (own.delta, own.p_value, 2)


def test_fields_of_both_exports_are_known(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    known = {"item_id": "a", "arm": "b", "response": "c"}
    write(str(file), [dict.fromkeys([*PROMPT_FIELDS, *COLUMNS]) | known])
    assert list(read_responses(file).notes(file)) == []
