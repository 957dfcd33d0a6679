"""`recorded`: an error is recorded and the code after the block runs; errors that end the run pass."""

from __future__ import annotations

import pytest
from fakes import PanicError

from mipo_bench.harness.errors import DataError, StageError
from mipo_bench.harness.evaluation.failures import recorded


@pytest.mark.parametrize(
    "error", [KeyError("bug"), StageError("lost"), PanicError("rust"), SystemExit(3), GeneratorExit(), StopIteration()]
)
def test_any_other_error_is_recorded_and_the_code_after_the_block_runs(error: BaseException) -> None:
    found: list[BaseException] = []
    reached: list[str] = []
    with recorded(found.append):
        raise error
    reached.append("after")
    assert found == [error]
    assert reached == ["after"]


@pytest.mark.parametrize("error", [DataError("no file"), KeyboardInterrupt()])
def test_user_errors_and_ctrl_c_pass(error: BaseException) -> None:
    found: list[BaseException] = []
    with pytest.raises(type(error)), recorded(found.append):
        raise error
    assert not found


def test_a_scorer_passes_ctrl_c_alone() -> None:
    found: list[BaseException] = []
    with recorded(found.append, passing=(KeyboardInterrupt,)):
        raise DataError("no file")
    assert [type(error) for error in found] == [DataError]
    with pytest.raises(KeyboardInterrupt), recorded(found.append, passing=(KeyboardInterrupt,)):
        raise KeyboardInterrupt


def test_nothing_is_recorded_where_nothing_fails() -> None:
    found: list[BaseException] = []
    with recorded(found.append):
        pass
    assert not found
