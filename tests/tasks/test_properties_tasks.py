"""Property tests of answer extraction and of data rows with arbitrary values."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mipo_bench.harness.errors import DataError
from mipo_bench.tasks.answers import LETTERS, chosen_letter, final_number, number_text
from mipo_bench.tasks.data.formats import READERS as FILE_ENDINGS
from mipo_bench.tasks.data.formats import Columns, read_rows
from mipo_bench.tasks.data.rows import DataRow, rows_digest

NUMBERS = st.decimals(-(10**9), 10**9, places=2, allow_nan=False).map(lambda d: Decimal(d).normalize())
BEFORE = st.sampled_from(["Answer: ", "the answer is ", "9 apples. #### ", "3 + 4 = 7, so the answer is: ", "2 and "])
AFTER = st.sampled_from(["", ".", "\n", " dollars", "\n\n"])
SPELLINGS: list[Callable[[Decimal], str]] = [
    lambda d: f"{d:f}",
    lambda d: f"{d:,f}",
    lambda d: f"{d:,f}".replace(",", "{,}"),
    lambda d: f"{d:+f}",
    lambda d: f"{d:f}".replace("-", "\u2212"),
    lambda d: f"{'-' if d < 0 else ''}${abs(d):,f}",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.integers().map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
READERS: list[Callable[[DataRow], object]] = [
    lambda row: row.optional("field"),
    lambda row: row.text("field"),
    lambda row: row.key("field"),
    lambda row: row.number_text("field"),
    lambda row: row.score("field"),
    lambda row: row.flag("field"),
    lambda row: row.whole("field", 4),
    lambda row: row.mapping("field"),
    lambda row: row.sequence("field"),
    lambda row: row.options("field"),
    lambda row: row.keys("field"),
    lambda row: row.mappings("field"),
]


@given(number=NUMBERS, spelling=st.sampled_from(SPELLINGS), before=BEFORE, after=AFTER)
def test_a_final_number_is_read_in_every_spelling(
    number: Decimal, spelling: Callable[[Decimal], str], before: str, after: str
) -> None:
    assert final_number(before + spelling(number) + after) == float(number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_plain_digits_is_read_as_itself(value: float) -> None:
    assert float(number_text(value)) == value
    assert final_number(f"Answer: {number_text(value)}") == value


@given(st.text() | st.text("0123456789,.$+-\u2212=# answeris:\\boxed{}\n"))
def test_any_text_ends_on_a_number_or_on_none(text: str) -> None:
    found = final_number(text)
    assert found is None or found == found  # noqa: PLR0124 - not NaN


@given(
    count=st.integers(2, len(LETTERS)),
    place=st.integers(0, 9),
    form=st.sampled_from(["Answer: {}", "The answer is ({}).", "\\boxed{{{}}}", "answer: option {}", "({})", "{}."]),
    lead=st.sampled_from(["", "Let us think. ", "It is not easy.\n"]),
)
def test_a_letter_is_read_in_every_form(count: int, place: int, form: str, lead: str) -> None:
    options = [f"option number {n}" for n in range(count)]
    letter = LETTERS[place % count]
    assert chosen_letter(lead + form.format(letter), options) == letter


@given(response=st.text(), options=st.lists(st.text(max_size=6), min_size=2, max_size=len(LETTERS)))
def test_a_chosen_letter_is_that_of_an_option_or_none(response: str, options: list[str]) -> None:
    assert chosen_letter(response, options) in (None, *LETTERS[: len(options)])


@given(names=st.lists(st.text("xyzw", min_size=3, max_size=6), min_size=2, max_size=10, unique=True), data=st.data())
def test_the_only_option_that_is_named_is_chosen(names: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(names) - 1))
    assert chosen_letter(f"I would say {names[place]}, surely", names) == LETTERS[place]


@pytest.mark.parametrize("reader", READERS)
@given(value=JSON)
def test_whatever_a_field_holds_is_read_or_refused_by_name(reader: Callable[[DataRow], object], value: object) -> None:
    try:
        reader(DataRow({"field": value}, "file.jsonl", 3, "line"))
    except DataError as error:
        assert str(error).startswith("file.jsonl, line 3: the field 'field")  # noqa: PT017 - it need not be raised


PIECES = st.sampled_from(
    [b"question", b"answer", b",", b";", b"\n", b'"', b"[", b"{", b"\xff\xfe", b"\x1f\x8b", b"PAR1", b"ARROW1"]
)


@given(ending=st.sampled_from(sorted(FILE_ENDINGS)), data=st.binary(max_size=40) | st.lists(PIECES).map(b"".join))
def test_any_file_is_read_or_refused_by_name(ending: str, data: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, f"test{ending}")
        file.write_bytes(data)
        try:
            rows = read_rows(file, Columns(headerless=("question", "A", "answer")))
        except DataError as error:
            assert str(file) in str(error)  # noqa: PT017 - a valid file needs no error
        else:
            assert rows


@given(st.integers(-(2**53), 2**53))
def test_an_identifier_is_the_same_as_number_and_as_text(number: int) -> None:
    assert {DataRow({"id": value}, "f", 1).key("id") for value in (number, float(number), f" {number} ")} == {
        str(number)
    }


@given(st.dictionaries(st.text("abc", min_size=1), JSON, min_size=1, max_size=3))
def test_objects_are_the_same_as_values_and_as_json_in_a_cell(values: dict[str, object]) -> None:
    text = json.dumps(values)
    assume(json.loads(text) == values)  # NaN is not equal to itself
    assert DataRow({"o": text}, "f", 1).mapping("o").values == DataRow({"o": values}, "f", 1).mapping("o").values
    assert DataRow({"o": json.dumps([values])}, "f", 1).sequence("o") == [values]


@given(st.lists(st.fixed_dictionaries({"a": st.integers(), "b": st.text(max_size=5)}), min_size=1, max_size=4))
def test_a_list_of_objects_is_the_same_as_an_object_of_lists(rows: list[dict[str, object]]) -> None:
    lists = {name: [row[name] for row in rows] for name in ("a", "b")}
    assert [part.values for part in DataRow({"o": lists}, "f", 1).mappings("o")] == rows
    assert [part.values for part in DataRow({"o": rows}, "f", 1).mappings("o")] == rows


@given(st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=4), min_size=1, max_size=4))
def test_the_digest_of_rows_depends_on_values_and_not_on_the_order_of_fields(
    rows: list[dict[str, object]],
) -> None:
    turned = [dict(reversed(row.items())) for row in rows]
    digest = rows_digest(DataRow(row, "f", 1) for row in rows)
    assert digest == rows_digest(DataRow(row, "other", 2) for row in turned)
    assert digest != rows_digest(DataRow(row, "f", 1) for row in [*rows, {}])
