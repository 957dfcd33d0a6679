"""Properties of the files that other programs write: any content is read, or refused with the file and the line."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ConfigError, ModelError
from mipo_bench.harness.exchange.from_responses import plan_responses
from mipo_bench.harness.exchange.responses_file import FINISH, PROMPT_FIELDS, STORE_FIELDS, read_responses
from mipo_bench.harness.judging.verdict_file import file_judge
from mipo_bench.tasks.embedded.arithmetic import Arithmetic

ITEM = Arithmetic().items("eval")[0]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**300, 10**301),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([ITEM.id, ITEM.prompt, "plain", "arithmetic", "a", "b", "tie", "\ud800", "plain (A/A)", *FINISH]),
)
VALUES = st.recursive(
    SCALARS, lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(st.text(max_size=3), v)), max_leaves=4
)
NAMES = (
    *("item_id", "arm", "response", "task", "train_seed", "n_tokens", "finish", "option_logprobs"),
    *("doc_id", "doc", "resps", "filtered_resps", "filter", "metrics", "instruction", "output"),
    *("prompt", "context", "a", "b", "label", "rating", "user", "rubric", "extra"),
    *sorted(PROMPT_FIELDS | STORE_FIELDS),
)
GOOD = {"item_id": ITEM.id, "arm": "plain", "response": "Answer: 3"}
LOG = {"doc_id": 0, "doc": {"question": ITEM.prompt}, "resps": [["3"]]}
LABEL = {"prompt": "p", "a": "x", "b": "y", "label": "a"}
ROWS = st.builds(
    lambda start, more: start | more,
    st.sampled_from([{}, GOOD, LOG, LABEL]),
    st.dictionaries(st.sampled_from(NAMES), VALUES),
)


def names_its_file(content: bytes, kind: str) -> bool:
    """Whether a file is read, or refused with a message that names it."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "given.jsonl"
        file.write_bytes(content)
        try:
            if kind == "verdicts":
                file_judge(file)
            elif kind == "rows":
                read_responses(file)
            else:
                plan_responses(load_config(None, [], {"model": str(file), "tasks": ["arithmetic"]}))
        except (ModelError, ConfigError) as error:
            return str(file) in str(error)
    return True


@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    assert names_its_file(content, "rows")
    assert names_its_file(content, "verdicts")


@given(rows=st.lists(st.one_of(ROWS, VALUES), min_size=1, max_size=3))
def test_any_rows_are_read_or_refused(rows: list[object]) -> None:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert names_its_file(content, "plan")
    assert names_its_file(content, "verdicts")


@given(text=st.text(max_size=50), number=st.integers(0, 10**6), finish=st.sampled_from(sorted(FINISH)))
def test_a_good_row_is_read_as_it_stands(text: str, number: int, finish: str) -> None:
    row = {**GOOD, "response": text, "n_tokens": float(number), "finish": finish.upper()}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "given.jsonl"
        file.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
        (line,) = read_responses(file).lines
    assert (line.response, line.n_tokens, line.finish) == (text, number, FINISH[finish])
