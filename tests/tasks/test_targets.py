"""Numbers that data sets give as right answers: a text that is one number is read, any other is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipo_bench.harness.errors import DataError
from mipo_bench.tasks.answers import number_text
from mipo_bench.tasks.data.numbers import written_number
from mipo_bench.tasks.data.rows import DataRow


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("1,000", "1000"),
        ("12,34,567", "1234567"),
        ("1\u202f000\u00a0000", "1000000"),
        ("145.0", "145"),
        (".5", "0.5"),
        ("18.", "18"),
        ("1e3", "1000"),
        ("2.5E-1", "0.25"),
        ("+7", "7"),
        ("-2", "-2"),
        ("\u22122", "-2"),
        ("\u20132", "-2"),
        ("-0", "0"),
        ("$5.00", "5"),
        ("-$1,234.50", "-1234.5"),
        ("\u20ac5", "5"),
        ("5\u00a0\u20ac", "5"),
        ("50%", "50"),
        ("3/4", "0.75"),
        ("-1 1/2", "-1.5"),
    ],
)
def test_a_text_that_is_one_number_is_read(text: str, target: str) -> None:
    assert DataRow({"n": f" {text}\n"}, "f", 1).number_text("n") == target


@pytest.mark.parametrize(
    "text",
    [
        *("", "18 apples", "3 4", "3-4", "3 to 4", "1 000", "1,5", "1,0000", "1.2.3", "5..", "$5%", "--2", "$", "- 5"),
        *("1/0", "1/2/3", "1_000", "0x10", "12:30", "inf", "nan", "\u0663", "2 million", "9" * 400 + "/" + "9" * 400),
    ],
)
def test_any_other_text_is_refused_with_its_row(text: str) -> None:
    with pytest.raises(DataError, match=r"f, row 1: the field 'n' is .*, not one plain number\."):
        DataRow({"n": text}, "f", 1).number_text("n")


@pytest.mark.parametrize("text", ["1e999", "-1e301", "9" * 400])
def test_a_number_that_no_float_holds_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"the largest number that is read is 1e\+300"):
        DataRow({"n": text}, "f", 1).number_text("n")


@given(st.floats(-1e300, 1e300))
def test_every_number_in_plain_digits_is_read_as_itself(value: float) -> None:
    assert written_number(number_text(value)) == value
    assert written_number(repr(value)) == value


@given(st.text("0123456789,./%$-+e \u202f") | st.text())
def test_any_text_is_read_as_a_number_or_refused(text: str) -> None:
    found = written_number(text)
    assert found is None or found == found  # noqa: PLR0124 - not NaN
