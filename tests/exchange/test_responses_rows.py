"""Files of responses that cannot be read: the message names the file, the line and the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.exchange.responses_file import read_responses


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no responses"),
        ("{", "line 1: not valid JSON"),
        ("[" * 5000, "line 1: not valid JSON"),
        ("[1]\n3\n", "line 2: expected a JSON object, found a number"),
        ("\xff\xfe", "line 1: not valid JSON"),
    ],
)
def test_broken_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(text)
    with pytest.raises(ModelError, match=message):
        read_responses(file)
    file.write_bytes(b"\xfa\xfb")
    with pytest.raises(ModelError, match="not UTF-8"):
        read_responses(file)
    with pytest.raises(ModelError, match=r"is a folder, and a file of responses is needed\. It has answers\.jsonl\."):
        read_responses(tmp_path)
    with pytest.raises(ModelError, match="cannot read the responses"):
        read_responses(tmp_path / "absent.jsonl")


def test_many_problems_are_cut_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text((json.dumps({"item_id": "a"}) + "\n") * 30)
    with pytest.raises(ModelError) as caught:
        read_responses(file)
    assert str(caught.value).count("\n") == 20
    assert str(caught.value).endswith(f"and 10 more problems in {file}")
