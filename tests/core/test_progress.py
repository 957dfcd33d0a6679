"""The progress display: figures and time left in simulated stages with a clock that the test sets."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from rich.console import Console

from mipo_bench.harness.core.pace import Kind, Work
from mipo_bench.harness.core.progress import (
    LiveDisplay,
    PlainDisplay,
    SilentDisplay,
    Stage,
    current_stage,
    rounded_time,
)

LIMIT = 256
PLAIN = Kind("task plain", LIMIT)
Draw = Callable[[random.Random], float]
DRAWS: dict[str, Draw] = {
    "alike": lambda r: r.gauss(80, 20),
    "very different": lambda r: r.expovariate(1 / 80),
    "some never end": lambda r: r.gauss(60, 10) if r.random() < 0.7 else LIMIT,
    "a few are long": lambda r: r.lognormvariate(4, 1),
}


@dataclass
class Clock:
    """A clock that stands still until the test moves it."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Shown:
    """The time left that was shown at a moment, and the one that turned out."""

    shown: float | None
    true: float


def decoded_stage(draw: Draw, responses: int, slots: int, seed: int) -> list[Shown]:
    """A stage that reads each prompt in 0.3 s when a slot is free, and takes 0.2 s for a decoding step."""
    clock, numbers = Clock(), random.Random(seed)
    stage = Stage("task plain: evaluation", "responses", clock)
    stage.total = responses
    stage.expect(Work(responses, 500 * responses, {PLAIN: responses}))
    waiting = [min(LIMIT, max(1, int(draw(numbers)))) for _ in range(responses)]
    running: list[tuple[int, int]] = []
    shown: list[tuple[float, float | None]] = []
    while waiting or running:
        while waiting and len(running) < slots:
            clock.now += 0.3
            stage.read(500)
            running.append((0, waiting.pop()))
        clock.now += 0.2
        running = [(tokens + 1, length) for tokens, length in running]
        ended = [tokens for tokens, length in running if tokens == length]
        running = [(tokens, length) for tokens, length in running if tokens < length]
        stage.decode([(PLAIN, tokens) for tokens, _ in running], [(PLAIN, tokens) for tokens in ended])
        for tokens in ended:
            stage.tick(1, tokens)
        shown.append((clock.now, stage.pace.left()))
    return [Shown(left, clock.now - now) for now, left in shown]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
def test_time_left_is_right_by_a_factor_of_two(draw: Draw, seed: int) -> None:
    moments = decoded_stage(draw, 400, 32, seed)
    middle = moments[len(moments) // 6 : -len(moments) // 8]
    assert all(m.shown is not None and m.true / 2 <= m.shown <= 2 * m.true for m in middle)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
def test_a_single_batch_shows_no_time_before_a_third_has_ended_and_is_never_far_off(draw: Draw, seed: int) -> None:
    moments = decoded_stage(draw, 24, 24, seed)
    assert moments[5].shown is None
    known = [m for m in moments[: -len(moments) // 10] if m.shown is not None]
    assert len(known) > len(moments) // 6
    assert all(m.true / 3 <= (m.shown or 0) <= 6 * m.true for m in known)


def test_time_left_of_likelihoods_goes_by_their_length_as_long_ones_come_first() -> None:
    clock = Clock()
    stage = Stage("task: guards", "prompts", clock)
    sizes = [4000] * 50 + [200] * 250
    stage.total = len(sizes)
    stage.expect(Work(len(sizes), characters=sum(sizes)))
    for n, size in enumerate(sizes):
        clock.now += size / 1000
        stage.read(size, scored=10)
        left = stage.pace.left()
        assert left == pytest.approx(sum(sizes[n + 1 :]) / 1000, abs=1)  # it is estimated once a second
        stage.tick(1, 10)
    assert stage.tokens == 10 * len(sizes)


def steps_stage(clock: Clock) -> Stage:
    """Two of ten steps of 30 s, after the model took 100 s to load."""
    stage = Stage("task mipo seed 0: training", "steps", clock)
    with stage.doing("loading the model"):
        clock.now += 100
    stage.total = 10
    stage.expect(Work(10))
    for _ in range(2):
        clock.now += 30
        stage.tick(1)
    return stage


def test_steps_are_even_and_the_loading_of_the_model_is_none_of_them() -> None:
    clock = Clock()
    stage = steps_stage(clock)
    assert stage.pace.left() == pytest.approx(240)
    clock.now += 20
    assert stage.pace.left() == pytest.approx(220)
    clock.now += 500
    assert stage.pace.left() == pytest.approx(210)
    assert stage.figures == "290.0 s each, about 4 min left in this stage"


def test_an_estimate_from_a_hundred_replies_does_not_wait_for_a_tenth_of_many() -> None:
    clock = Clock()
    stage = Stage("task plain: evaluation", "responses", clock)
    stage.expect(Work(60_000))
    for n in range(100):
        assert stage.pace.left() is None, n
        clock.now += 1
        stage.tick(1, 20)
    assert stage.pace.left() == pytest.approx(59_900)


def test_processes_share_the_work_that_is_left() -> None:
    clock = Clock()
    stage = Stage("task plain: evaluation", "responses", clock)
    stage.total = 40
    stage.expect(Work(40), processes=2)
    clock.now += 100
    stage.tick(10)
    assert stage.pace.left() == pytest.approx(150)
    clock.now += 1
    stage.find(10, Work(10))
    assert stage.done == 20
    assert stage.pace.left() == pytest.approx(99.5)


def test_figures_of_a_stage_from_loading_to_its_end() -> None:
    clock = Clock()
    stage = Stage("task plain: evaluation", "responses", clock)
    stage.total = 8
    stage.find(2)
    assert stage.figures == "0 s so far"
    kind = Kind("task plain", 20)
    stage.expect(Work(6, 600, {kind: 6}))
    with stage.doing("loading the model"):
        clock.now += 12
        assert stage.figures == "loading the model, 12 s so far"
    clock.now += 3
    stage.read(300)
    assert stage.figures == "50% of the prompts read, 15 s so far, about 3 s left for the prompts alone"
    stage.read(300)
    for n in range(1, 6):
        clock.now += 2
        stage.decode([(kind, n)] * 6, [])
    assert stage.figures == "30 tokens, 2 tok/s, 25 s so far, at most 30 s left in this stage"
    clock.now += 2
    stage.decode([(kind, 6)] * 2, [(kind, 6)] * 4)
    stage.tick(4, 24)
    assert (stage.count, stage.figures) == ("6/8 responses", "36 tokens, 2 tok/s, about 20 s left in this stage")


def test_before_responses_have_ended_the_time_left_has_limits() -> None:
    clock, kind = Clock(), Kind("task plain", 100)
    stage = Stage("task plain: evaluation", "responses", clock)
    stage.expect(Work(20, 2000, {kind: 20}))
    clock.now += 30
    stage.read(1000)
    clock.now += 2
    stage.decode([(kind, 1)] * 10, [])
    assert stage.figures == "10 tokens, 0 tok/s, 32 s so far, about 30 s to 7 min left in this stage"


def test_a_time_is_as_exact_as_it_can_be_known() -> None:
    seconds = (0.0, 4.4, 44.0, 89.0, 100.0, 3000.0, 5399.0, 9000.0)
    assert [rounded_time(s) for s in seconds] == ["1 s", "4 s", "40 s", "90 s", "2 min", "50 min", "90 min", "2.5 h"]


def test_plain_lines_come_also_while_nothing_is_counted() -> None:
    out = io.StringIO()
    display = PlainDisplay(Console(file=out, width=80), every=0.05)
    with display.stage("task plain: evaluation", "responses") as stage:
        stage.total = 3
        time.sleep(0.28)
        stage.decode([(PLAIN, 1)] * 2, [(PLAIN, 1)])
        stage.tick(1, 1)
    *waiting, last = out.getvalue().splitlines()
    assert 2 <= len(waiting) <= 5
    assert set(waiting) == {"task plain: evaluation: 0/3 responses, 0 s so far"}
    assert last.startswith("task plain: evaluation: 1/3 responses, ")
    assert "left" not in last


def test_a_stage_from_the_store_leaves_no_line() -> None:
    out = io.StringIO()
    for display in (PlainDisplay(Console(file=out)), LiveDisplay(Console(file=out))):
        with display.stage("task plain: evaluation", "responses") as stage:
            stage.total = 3
            stage.find(3)
    assert out.getvalue().strip() == ""


def test_the_live_line_moves_before_a_result_is_finished() -> None:
    out = io.StringIO()
    display = LiveDisplay(Console(file=out, force_terminal=True, width=120))
    with display.stage("task plain: evaluation", "responses") as stage:
        stage.total = 3
        stage.expect(Work(3, 30, {Kind("task plain", 500): 3}))
        stage.decode([(Kind("task plain", 500), tokens) for tokens in (400, 400, 434)], [])
        time.sleep(0.3)
    assert "0/3 responses, 1,234 tokens" in out.getvalue()


def test_code_deep_below_counts_on_the_stage_that_is_shown() -> None:
    with SilentDisplay().stage("outer", "responses") as outer:
        with SilentDisplay().stage("inner", "prompts") as inner:
            assert current_stage() is inner
        assert current_stage() is outer
    current_stage().tick(1, 10)  # nobody sees it
    assert outer.tokens == 0
