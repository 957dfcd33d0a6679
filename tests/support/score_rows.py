"""Score files with random but repeatable scores."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]  # one line of a score file


def graded(seed: int, gain: float = 0.0, train_seeds: Sequence[int] = ()) -> list[Row]:
    """40 items of 10 users; each training seed has its own offset."""
    rng, noise = random.Random(1), random.Random(seed)
    rows: list[Row] = [
        {"item_id": f"q{i}", "score": round(rng.random(), 2), "user_id": f"u{i % 10}"} for i in range(40)
    ]
    if not train_seeds:
        return [{**row, "score": round(row["score"] + noise.gauss(gain, 0.1), 3)} for row in rows]
    return [
        {**row, "score": round(row["score"] + noise.gauss(gain + 0.01 * s, 0.1), 3), "train_seed": s}
        for s in train_seeds
        for row in rows
    ]


def binary(seed: int, rate: float) -> list[Row]:
    rng = random.Random(seed)
    return [{"item_id": i, "score": int(rng.random() < rate)} for i in range(60)]


def lm_eval(seed: int, rate: float, filters: Sequence[str] = ("none",), metrics: Sequence[str] = ("acc",)) -> list[Row]:
    """Rows in the format of `lm_eval --log_samples`; document 8 repeats document 3."""
    rng = random.Random(seed)
    return [
        {
            "doc_id": i,
            "doc": {"question": f"{3 if i == 8 else i} + 1?"},
            "target": "x",
            "arguments": [["prompt", {"until": ["\n"]}]],
            "resps": [["5"]],
            "filtered_resps": ["5"],
            "filter": name,
            "metrics": list(metrics),
            "doc_hash": f"{3 if i == 8 else i:04x}",
            "prompt_hash": "p",
            "target_hash": "t",
            **{metric: float(rng.random() < rate) for metric in metrics},
        }
        for name in filters
        for i in range(30)
    ]


def values(*scores: object, start: int = 0) -> list[Row]:
    return [{"item_id": f"q{start + i}", "score": score} for i, score in enumerate(scores)]


Files = dict[str, "list[Row] | str"]
GRADED: Files = {
    "base.jsonl": graded(2),
    "mipo-random.jsonl": graded(3, 0.08, (0, 1, 2)),
    "mipo-missing.jsonl": graded(4, 0.0, (0, 1, 2)),
    "one-seed.jsonl": graded(5, 0.05, (0,)),
}


def write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
