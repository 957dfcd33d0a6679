"""Failures of parts of a run: each is recorded, counted and shown, and the rest of the run completes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, PanicError, SilentDisplay

from mipo_bench.baselines.prompting.plain import Plain
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.core.redaction import redact
from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.planning.plan import Plan, make_plan
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.run.publish import exit_code
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Item, Message, Response, Score, Split
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import seal, to_json
from mipo_bench.reports.render.markdown import to_markdown
from mipo_bench.tasks.embedded.arithmetic import Arithmetic

TOKEN = "hf_" + "a1B2c3D4" * 4
BAD = "eval-0003"


def guess(request: Request) -> str:
    rng = random.Random(request.seed)
    return f"{request.seed % 97} words. Answer: {rng.randint(1, 60)}"


def run(
    folder: Path,
    engine: FakeEngine | None = None,
    change: Callable[[Plan], Plan] = lambda plan: plan,
    display: SilentDisplay | None = None,
) -> Report:
    config = load_config(None, [], {"suite": "math", "limit": 8, "seeds": 2, "baselines": ["plain"]})
    with closing(Store(folder)) as store:
        plan, shown = change(make_plan(config)), display or SilentDisplay()
        return Run(RunContext(config, plan, store, engine or FakeEngine(guess, guess), shown)).execute()


def with_task(task: Any) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, tasks=tuple(replace(t, task=task) for t in plan.tasks))


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def raises(error: BaseException) -> Callable[[], Score]:
    def score() -> Score:
        raise error

    return score


GARBAGE: dict[str, Callable[[], Any]] = {
    "an error": raises(KeyError("bug")),
    "an error without text": raises(UnreadableError()),
    "a panic": raises(PanicError("rust")),
    "an exit": raises(SystemExit(3)),
    "endless recursion": raises(RecursionError()),
    "nothing": lambda: None,
    "a number": lambda: 1.0,
    "not a number": lambda: Score(math.nan),
    "too much": lambda: Score(7.0),
    "a text": lambda: Score("1"),  # type: ignore[arg-type]
    "parts that are none": lambda: Score(1.0, parts=None),  # type: ignore[arg-type]
    "parts without names": lambda: Score(1.0, parts={1: 0.5}),  # type: ignore[dict-item]
    "parts out of range": lambda: Score(1.0, parts={"x": math.inf}),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_a_scorer_that_fails_on_one_item(name: str, tmp_path: Path) -> None:
    class Broken(Arithmetic):
        def score(self, item: Item, response: Response) -> Score:
            return GARBAGE[name]() if item.id == BAD else super().score(item, response)

    report = run(tmp_path, change=with_task(Broken()))
    assert len(report.arms) == 4
    assert all(set(arm.failed) == {BAD} and arm.failed[BAD].startswith("score: ") for arm in report.arms)
    assert all(arm.scores[3] == 0 and len(arm.scores) == 8 for arm in report.arms)
    assert all(e.failed for e in report.estimates)
    assert not report.failures
    assert exit_code(report) == 1


def test_ctrl_c_inside_a_scorer_stops_the_run(tmp_path: Path) -> None:
    class Stopped(Arithmetic):
        def score(self, item: Item, response: Response) -> Score:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, change=with_task(Stopped()))


class Fussy(Plain):
    """Fails on one evaluation item: the result of `answer` is its prompt."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer

    def messages(self, item: Item) -> tuple[Message, ...]:
        return self.answer() if item.id == BAD else super().messages(item)


@pytest.mark.parametrize("name", ["an error", "a panic", "an exit", "nothing", "a number", "an error without text"])
def test_a_baseline_that_fails_on_one_item(name: str, tmp_path: Path) -> None:
    report = run(
        tmp_path, change=lambda plan: replace(plan, baselines={**plan.baselines, "plain": Fussy(GARBAGE[name])})
    )
    assert len(report.arms) == 4
    assert all(set(arm.failed) == {BAD} and arm.failed[BAD].startswith("prompt: ") for arm in report.arms)
    assert exit_code(report) == 1


@pytest.mark.parametrize("error", [KeyError("bug"), PanicError("rust"), SystemExit(3)])
def test_a_recipe_that_fails_loses_its_arms_alone(error: BaseException, tmp_path: Path) -> None:
    class Broken:
        name, description = "mipo-random", "broken"

        def applies(self, task: object, item: Item) -> bool:
            return True

        def contrasts(self, items: Sequence[Item], rng: random.Random) -> list[Item]:
            raise error

    def change(plan: Plan) -> Plan:
        return replace(plan, recipes={**plan.recipes, "mipo-random": Broken()})

    display = SilentDisplay()
    report = run(tmp_path, change=change, display=display)
    assert not any("joint stream failed" in line for line in display.lines)
    assert {(h.method, h.train_seed, h.stage, h.error) for h in report.failures} == {
        ("mipo-random", seed, "pairs", type(error).__name__) for seed in (0, 1)
    }
    assert len(report.arms) == 2
    assert exit_code(report) == 1
    assert "mipo-random seed 0 failed at pairs" in to_markdown(report)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "eval-0001"}, "'eval-0001': more than one item has this id"),
        ({"context": "a\ud800"}, "half a character"),
        ({"prompt": None}, "its prompt is no text"),
    ],
)
def test_items_that_do_not_fit_into_a_report_are_refused_before_anything_runs(
    change: dict[str, str | None], reason: str
) -> None:
    class Broken(Arithmetic):
        def items(self, split: Split) -> tuple[Item, ...]:
            first, *rest = super().items(split)
            return (replace(first, **change), *rest)  # type: ignore[arg-type]

    plugins = load_plugins()
    with pytest.raises(PluginError, match=reason):
        make_plan(load_config(None, [], {"tasks": ["arithmetic"]}), replace(plugins, tasks={"arithmetic": Broken()}))


def test_a_task_without_items_is_refused_before_anything_runs() -> None:
    class Broken(Arithmetic):
        def items(self, split: Split) -> tuple[Item, ...]:
            raise OSError("no data")

    from mipo_bench.harness.planning import plan as plans

    with pytest.raises(PluginError, match="OSError: no data"):
        plans._guarded(Broken(), load_config(None, [], {}), {}, {})


def test_empty_and_endless_responses_are_counted(tmp_path: Path) -> None:
    class Odd(FakeEngine):
        def __post_init__(self) -> None:
            super().__post_init__()
            usual = self._base._one

            def one(request: Request) -> Response:
                kinds = (Response("", 5, 0, "stop"), Response("and on " * 9, 5, 99, "length"), usual(request))
                return usual(request) if request.decoding.temperature == 1 else kinds[request.seed % 3]

            self._base._one = one  # type: ignore[method-assign]

    report = run(tmp_path, Odd(guess, guess))
    plain = report.arms[0]
    assert plain.truncated
    assert len(plain.unparsed) > len(plain.truncated)
    assert not plain.failed
    assert len(plain.scores) == 8
    estimate = next(e for e in report.estimates if e.method == "plain")
    assert (estimate.truncated, estimate.unparsed) == (len(plain.truncated), len(plain.unparsed))
    assert exit_code(report) == 0


def test_keys_reach_neither_report_nor_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "correct horse battery")

    class Leaking(Arithmetic):
        def score(self, item: Item, response: Response) -> Score:
            raise ValueError(f"401 for Bearer {TOKEN} and correct horse battery")

    engine = FakeEngine(guess, guess, fail={("arithmetic", "mipo-random", 0)}, failure=f"refused {TOKEN}")
    report = run(tmp_path, engine, with_task(Leaking()))
    text = to_json(seal(report))
    assert "score: ValueError: 401 for Bearer" in text
    assert "refused [key]" in text
    files = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    for secret in (TOKEN, "correct horse battery"):
        assert secret not in text
        assert not any(secret.encode() in content for content in files)


@pytest.mark.parametrize(
    "text",
    [
        f"token {TOKEN}.",
        "sk-proj-abcdefghijklmnopqrstuvwx",
        "https://someone:hunter2hunter2@example.org/v1",
        "Authorization: Bearer abcdefghijklmnopqrstuvwxyz",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    ],
)
def test_texts_in_the_form_of_a_key_are_redacted(text: str) -> None:
    assert "[key]" in redact(text)
    assert redact(redact(text)) == redact(text)


def test_a_key_that_begins_with_another_key_leaves_no_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_FIRST_TOKEN", "abcdefgh")
    monkeypatch.setenv("ANOTHER_TOKEN", "abcdefgh-tail")
    assert redact("sent abcdefgh-tail") == "sent [ANOTHER_TOKEN]"


@pytest.mark.parametrize("text", ["sk-short", "hf_hub", "https://example.org:8000/v1", "a:b@c", "task-specific-" * 9])
def test_ordinary_texts_stay(text: str) -> None:
    assert redact(text) == text
