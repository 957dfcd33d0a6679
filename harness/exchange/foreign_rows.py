"""Rows of responses in the formats of other programs, which name a document instead of an item of a task.

{"doc_id": 0, "doc": {"question": "..."}, "resps": [["..."]], "filter": "none", ...}      lm-eval --log_samples
{"instruction": "...", "output": "...", "generator": "..."}                               AlpacaEval
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mipo_bench.harness.core.text import id_text

_LOG = frozenset(
    (
        *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
        *("doc_hash", "prompt_hash", "target_hash"),
    )
)
_ALPACA = frozenset(("instruction", "output", "generator", "dataset", "datasplit"))
_ID_FIELDS = ("id", "item_id", "question_id")


@dataclass(frozen=True, slots=True)
class Document:
    """The question of a row: the ids that its item may have, and texts that its prompt may hold.

    `filter` is lm-eval's name of the filter whose result the row reports.
    """

    name: str
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    filter: str = ""


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A row of another format: its document, its fields in this program's names, and the fields that it may have.

    `problem` says why it holds no answer; empty if it does.
    """

    document: Document
    fields: Mapping[str, object]
    known: frozenset[str]
    problem: str = ""


def document_row(row: Mapping[str, Any]) -> DocumentRow | None:
    """The row as another program's; None if it has the fields of none."""
    if "doc_id" in row and {"resps", "filtered_resps"} & row.keys():
        return _of_log(row)
    if {"instruction", "output"} <= row.keys():
        document = Document(f"instruction {str(row['instruction'])[:40]!r}", (), (str(row["instruction"]).strip(),))
        return DocumentRow(document, {"response": row["output"]}, _ALPACA)
    return None


def _of_log(row: Mapping[str, Any]) -> DocumentRow:
    doc = row.get("doc")
    named = [doc[key] for key in doc if key.lower() in _ID_FIELDS] if isinstance(doc, Mapping) else []
    ids = dict.fromkeys(name for value in (row["doc_id"], *named) if (name := id_text(value)) is not None)
    texts = tuple(dict.fromkeys(text for text in _texts(doc) if text))
    listed = row.get("metrics")
    scores = [str(name) for name in listed] if isinstance(listed, list) else []
    answer = next((one for name in ("resps", "filtered_resps") if (one := _single(row.get(name))) is not None), None)
    document = Document(f"lm-eval document {row['doc_id']!r}", tuple(ids), texts, str(row.get("filter", "")))
    problem = (
        ""
        if answer is not None
        else (
            "resps has no text, or several: a log of log-likelihoods or of repeated samples has no answer to read;"
            " `mipo-bench compare` reads its scores."
        )
    )
    return DocumentRow(document, {"response": answer}, _LOG | {*scores}, problem)


def _texts(value: object) -> Iterator[str]:
    """The texts in a document, at any depth."""
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _single(value: object) -> str | None:
    """The only text in lists of one element, such as `[["..."]]`; None if there is none, or more than one."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else None
