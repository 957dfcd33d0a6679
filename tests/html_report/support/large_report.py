"""A report with as many items as asked for, without figures, and texts for it: for measures of size and speed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any

from made_reports import Made

from mipo_bench.reports.html.blocks import text_blocks
from mipo_bench.reports.html.report import Texts
from mipo_bench.reports.records.report import ArmRecord, Report

_SYLLABLES = ("ma", "te", "lo", "ri", "sun", "ber", "ka", "no", "st", "ling", "de", "ve", "ar", "u")
WORDS = ["".join(parts) for parts in itertools.product(_SYLLABLES, repeat=3)]
"""2,744 words: a random text of them is packed to about a third, like English."""
_POOL = 500
"""Responses to draw from. They repeat beyond the reach of deflate, which is 32 KiB."""


def large_report(items: int, seeds: int) -> Report:
    """One task under three prompted arms and `seeds` trainings."""
    made = Made(n_math=4, suites=("math",), train_seeds=tuple(range(seeds))).report()
    rng = random.Random(items)
    names = [f"item-{n:06d}" for n in range(items)]
    hashes = ["0" * 16] * items
    sized = {"items": names, "prompt_hashes": hashes, "target_hashes": hashes}
    task = made.tasks[0].model_copy(update=sized)
    arms = [_sized(arm, items, rng) for arm in made.arms]
    return made.model_copy(update={"tasks": [task], "arms": arms})


def _sized(arm: ArmRecord, items: int, rng: random.Random) -> ArmRecord:
    scores = [float(rng.random() < 0.6) for _ in range(items)]
    tokens = [rng.randint(5, 40) for _ in range(items)]
    return arm.model_copy(update={"scores": scores, "n_tokens": tokens, "truncated": []})


def large_texts(report: Report, words: int) -> Texts:
    """A prompt and a response of so many words for each item and arm."""
    return Texts(list(text_blocks(0, _entries(report, words))), "This file holds texts.")


def _entries(report: Report, words: int) -> Iterator[Mapping[str, Any]]:
    rng = random.Random(words)
    pool = [" ".join(rng.choices(WORDS, k=words)) for _ in range(_POOL)]
    arms = range(len(report.arms))
    for n, item in enumerate(report.tasks[0].items):
        texts = [pool[(n * len(arms) + arm) % _POOL] for arm in arms]
        own = [{"text": arm, "finish": "stop"} for arm in arms]
        yield {"prompt": f"Question {item}", "target": "42", "texts": texts, "arms": own}
