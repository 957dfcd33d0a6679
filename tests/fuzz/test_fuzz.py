"""Changed inputs of every reader, drawn by hypothesis: they are read, or refused with one short message.

`fuzz.py` reads many more of them by hand.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import pytest
from fuzz import READERS, run
from fuzzed_readers import ANSWERS, OPTIONS, Fuzzed, was_read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import prose

from mipo_bench.harness.errors import DataError
from mipo_bench.tasks.answers import chosen_letter, final_number

EXAMPLES = int(os.environ.get("MIPO_BENCH_FUZZ_EXAMPLES", "200"))
many = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
RANDOMS = st.randoms(use_true_random=False)
"""The random numbers behind an input; hypothesis makes them simpler until the fault is gone."""
ANSWER_READERS: dict[str, Callable[[str], object]] = {
    "number": final_number,
    "letter": lambda text: chosen_letter(text, OPTIONS),
}


@pytest.mark.parametrize("name", READERS)
def test_a_changed_input_is_read_or_refused(name: str, tmp_path: Path) -> None:
    fuzzed = READERS[name]

    @many
    @given(RANDOMS)
    def check(rng: Random) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            was_read(fuzzed, tmp_path, fuzzed.make(rng))

    check()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_some_inputs_are_read(name: str, tmp_path: Path) -> None:
    """Inputs that are all refused would test the beginning of a reader alone."""
    tally = run(name, READERS[name], range(150), tmp_path)
    assert not tally.faults
    assert tally.read


@pytest.mark.parametrize("read", ANSWER_READERS.values(), ids=ANSWER_READERS)
@given(rng=RANDOMS, before=st.sampled_from(("", " ", "\n\n", "\t")), after=st.sampled_from(("", " ", "\n", "  \n\n")))
def test_white_space_around_an_answer_changes_nothing(
    read: Callable[[str], object], rng: Random, before: str, after: str
) -> None:
    text = prose(ANSWERS, rng).strip()
    assert read(before + text + after) == read(text)


@pytest.mark.parametrize("read", ANSWER_READERS.values(), ids=ANSWER_READERS)
@pytest.mark.parametrize("answer", ["The answer is 18.", "Answer: B"])
@pytest.mark.parametrize("mark", ["**", "*"])
def test_emphasis_around_an_answer_changes_nothing(read: Callable[[str], object], answer: str, mark: str) -> None:
    assert read(f"Well.\n{mark}{answer}{mark}") == read(f"Well.\n{answer}")


@pytest.mark.parametrize("read", ANSWER_READERS.values(), ids=ANSWER_READERS)
@pytest.mark.parametrize(
    "piece",
    [
        "a ",
        "1",
        "1,",
        "answer ",
        "answer: ",
        "<think>",
        "#### ",
        "(",
        " " * 7 + "x",
        "1/",
        "-",
        "\n",
        "B ",
        "=",
    ],
)
def test_the_time_grows_with_the_length(read: Callable[[str], object], piece: str) -> None:
    """100 kB take far less than a second: a search that is quadratic in the length takes many."""
    small, large = (piece * (size // len(piece)) for size in (50_000, 100_000))
    assert seconds(partial(read, large)) < max(0.5, 4 * seconds(partial(read, small)))


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def test_a_fault_is_counted_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_: Path, number: int) -> None:
        if number < 3:
            raise KeyError(number)
        if number < 6:
            raise DataError("refused")

    fuzzed = Fuzzed(lambda rng: rng.randrange(10), fails)
    with tempfile.TemporaryDirectory() as folder:
        tally = run("digits", fuzzed, range(300), Path(folder))
    numbers = [Random(f"digits {seed}").randrange(10) for seed in range(300)]
    assert tally.faults.total() == sum(n < 3 for n in numbers)
    assert (tally.refused, tally.inputs) == (sum(3 <= n < 6 for n in numbers), 300)
    assert "KeyError" in capsys.readouterr().out


def test_a_message_that_nobody_reads_is_a_fault(tmp_path: Path) -> None:
    def talks(_: Path, size: int) -> None:
        raise DataError("x" * size)

    assert not was_read(Fuzzed(lambda _: 0, talks), tmp_path, 100)
    with pytest.raises(AssertionError, match="a message of 10000 characters"):
        was_read(Fuzzed(lambda _: 0, talks), tmp_path, 10_000)
