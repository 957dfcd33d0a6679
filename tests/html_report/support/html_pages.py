"""The data blocks of an HTML report, and made texts for its sample browser."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mipo_bench.reports.html.blocks import Block, text_blocks
from mipo_bench.reports.html.report import Texts
from mipo_bench.reports.records.report import Report


def blocks_of(page: str) -> Iterator[tuple[str, Any]]:
    """The blocks in a page by name, unpacked."""
    found = re.findall(r'<script type="application/octet-stream" id="([^"]+)" data-size="(\d+)">([^<]*)<', page)
    for name, size, data in found:
        raw = zlib.decompress(base64.b64decode(data, validate=True), -zlib.MAX_WBITS)
        assert len(raw) == int(size)
        yield name, json.loads(raw)


def text_entries(file: Path, task: int = 0) -> list[dict[str, Any] | None]:
    """The entries of all blocks of texts of a task, by its number."""
    blocks = blocks_of(file.read_text(encoding="utf-8"))
    return [entry for name, block in blocks if name.startswith(f"texts-{task}-") for entry in block]


def texts_of(report: Report, text: str = "") -> Texts:
    """Made texts of every item: prompt, profile and one response for each arm, with verdicts; `text` is in each."""
    blocks: list[Block] = []
    for n, task in enumerate(report.tasks):
        count = sum(arm.task == task.name for arm in report.arms)
        blocks += text_blocks(n, [_entry(item, count, text) for item in task.items])
    return Texts(blocks, "This file holds texts.")


def _entry(item: str, arms: int, text: str) -> dict[str, Any]:
    own = [
        {
            **{"text": arm, "finish": "stop", "answer": f"7{text}", "way": "mark", "rule": "after a mark"},
            "verdicts": [
                {"asked": "first", "value": 1, "text": f"Words on {item} {arm} {text}"},
                {"asked": "second", "value": 0.5, "text": f"Other words {text}"},
            ],
        }
        for arm in range(arms)
    ]
    asked = {"prompt": f"Question {item} {text}", "target": f"42{text}", "profile": f"likes {item} {text}"}
    asked |= {"system": f"Be brief. {text}", "rubric": f"Good is brief. {text}"}
    earlier = [[f"Before {text}", f"After {text}"]]
    texts = [f"response {item} {arm} {text}" for arm in range(arms)]
    return {**asked, "options": ["yes", f"no{text}"], "earlier": earlier, "texts": texts, "arms": own}
