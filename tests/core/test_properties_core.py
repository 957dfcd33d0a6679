"""Properties of redaction: it removes every key, and leaves ordinary text unchanged."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from string import ascii_letters, ascii_lowercase, digits

from hypothesis import given
from hypothesis import strategies as st

from mipo_bench.harness.core.redaction import redact, redact_environment

KEYS = st.text(ascii_lowercase + digits, min_size=8, max_size=40)
WORDS = st.text(ascii_letters + " .,:;!?()\n", max_size=30)
LONG = st.text(ascii_letters + digits, min_size=20, max_size=40)
SHAPED = st.one_of(
    LONG.map("hf_{}".format),
    LONG.map("sk-{}".format),
    LONG.map("ghp_{}".format),
    LONG.map("github_pat_{}".format),
)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """An environment with these variables alone."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@given(key=KEYS, parts=st.lists(WORDS.map(str.upper), min_size=2, max_size=5))
def test_the_value_of_a_key_is_replaced_by_its_name_wherever_it_stands(key: str, parts: list[str]) -> None:
    with environment({"SOME_API_KEY": key, "HOME": key}):
        assert redact_environment(key.join(parts)) == "[SOME_API_KEY]".join(parts)


@given(key=KEYS, more=st.text(ascii_lowercase, min_size=1, max_size=20), first=st.booleans())
def test_of_two_keys_of_which_one_begins_the_other_nothing_is_left(key: str, more: str, first: bool) -> None:
    variables = [("SHORT_TOKEN", key), ("LONG_TOKEN", key + more)]
    with environment(dict(variables if first else reversed(variables))):
        assert redact_environment(f"<{key + more}> <{key}>") == "<[LONG_TOKEN]> <[SHORT_TOKEN]>"


@given(key=SHAPED, before=WORDS, after=WORDS)
def test_what_has_the_shape_of_a_key_is_blanked_and_the_rest_is_kept(key: str, before: str, after: str) -> None:
    with environment({}):
        assert redact(f"{before} {key} {after}") == f"{before} [key] {after}"


@given(st.text())
def test_a_text_without_keys_is_left_alone_and_redacting_twice_changes_nothing(text: str) -> None:
    with environment({"HOME": "/home/somebody", "HF_TOKEN": "short"}):
        assert redact_environment(text) == text
        assert redact(redact(text)) == redact(text)
