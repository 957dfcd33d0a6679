"""Benchmark: the time to load 10,000 items from local files and to render them. Run by hand:

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_items.py

Rendering makes the messages of every baseline that applies, and the text of each chat: joined without a template and,
as a second figure, with the embedded model's chat template. The limit for loading and rendering is 5 s. A quarter of
the rows is also measured: if loading were quadratic, all rows would take sixteen times as long.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipo_bench.harness.generators.chat_template import render
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.plugins.task_data import EVERY, on_data

ITEMS = 10_000
SECONDS = 5.0
WORDS = (
    "the",
    "quick",
    "report",
    "says",
    "that",
    "each",
    "plan",
    "needs",
    "a",
    "calm",
    "reader",
    "and",
    "some",
    "time",
)
Rows = dict[str, Iterable[dict[str, Any]]]


@dataclass(frozen=True)
class Measured:
    """Seconds to load, to render without and with a chat template, and the counts of items and chats."""

    load: float
    render: float
    template: float
    items: int
    prompts: int


def text(n: int, words: int) -> str:
    """A text that differs for every n."""
    return f"{n} " + " ".join(WORDS[(n + i) % len(WORDS)] for i in range(words))


def gsm8k(n: int) -> Rows:
    return {
        f"main/{split}.jsonl": [
            {"question": f"{split} {text(i, 45)}?", "answer": f"{text(i, 60)} <<{i}+1={i + 1}>>\n#### {i + 1:,}"}
            for i in range(n)
        ]
        for split in ("train", "test")
    }


def mmlu(n: int) -> Rows:
    return {
        f"all/{split}.jsonl": [
            {
                "question": f"{split} {text(i, 40)}?",
                "subject": "" if split == "auxiliary_train" else f"subject {i % 57}",
                "choices": [text(i + k, 6) for k in range(4)],
                "answer": i % 4,
            }
            for i in range(285 if split == "dev" else n)
        ]
        for split in ("auxiliary_train", "dev", "test")
    }


def prism(n: int) -> Rows:
    """Six conversations a user, a fifth of the users for evaluation, so that about n items come out of both splits."""
    users = n // 4
    return {
        "survey.jsonl": [
            {"user_id": f"user{u}", "self_description": text(u, 60), "system_string": text(u, 40), "stated_prefs": None}
            for u in range(users)
        ],
        "conversations.jsonl": [_conversation(f"user{u}", 6 * u + k) for u in range(users) for k in range(6)],
    }


def _conversation(user: str, n: int) -> dict[str, Any]:
    answers = [
        {"turn": 0, "role": "model", "content": text(n + k, 120), "score": 20 * k, "if_chosen": k == 3}
        for k in range(4)
    ]
    ask = {"turn": 0, "role": "user", "content": f"{text(n, 15)}?", "score": None, "if_chosen": None}
    return {"conversation_id": f"c{n}", "user_id": user, "conversation_history": [ask, *answers]}


DATA: dict[str, Callable[[int], Rows]] = {"gsm8k": gsm8k, "mmlu": mmlu, "prism": prism}


def write(folder: Path, name: str, n: int) -> None:
    """The data set of a task with n evaluation rows (n items in all for prism)."""
    for file, rows in DATA[name](n).items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as out:
            out.writelines(f"{json.dumps(row)}\n" for row in rows)


def measure(name: str, folder: Path, tokenizer: Any) -> Measured:
    """Load both splits and render every prompt of all items (of the evaluation split where that has 10,000 itself)."""
    plugins = load_plugins()
    start = time.perf_counter()
    task = on_data(plugins.task(name), {EVERY: folder})
    train, held = task.items("train"), task.items("eval")
    loaded = time.perf_counter()
    items = [*held, *train] if name == "prism" else held
    fitting = [b for b in plugins.baselines.values() if b.applies(task, held[0])]
    prompts = sum(len(_render(m.content for m in b.messages(item))) > 0 for b in fitting for item in items)
    rendered = time.perf_counter()
    for baseline in fitting:
        for item in items:
            render(tokenizer, baseline.messages(item), item.context if baseline.uses_context else None)
    template = time.perf_counter() - rendered
    return Measured(loaded - start, rendered - loaded, template, len(items), prompts)


def _render(contents: Iterable[str]) -> str:
    return "".join(f"<|turn|>\n{content}<|end|>\n" for content in contents)


def results() -> Iterator[tuple[str, Measured, Measured]]:
    """Print, for each task, the times for a quarter of the rows and for all."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(embedded_folder())
    for name in DATA:
        with tempfile.TemporaryDirectory() as folder:
            quarter, whole = Path(folder) / "quarter", Path(folder) / "whole"
            write(quarter, name, ITEMS // 4)
            write(whole, name, ITEMS)
            yield name, measure(name, quarter, tokenizer), measure(name, whole, tokenizer)


def main() -> None:
    slow = False
    for name, quarter, whole in results():
        seconds = whole.load + whole.render
        slow = slow or seconds > SECONDS
        times = f"load {whole.load:.2f} s, render {whole.prompts:,} prompts {whole.render:.2f} s"
        more = f"by the template {whole.template:.2f} s; 4x the rows load in {whole.load / quarter.load:.1f}x the time"
        print(f"{name}, {whole.items:,} items: {times}, together {seconds:.2f} of {SECONDS:g} s; {more}")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
