"""Requests of every kind, and a check that responses do not depend on the batch."""

from __future__ import annotations

import random

from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.types import Decoding, Message, Response


def mixed_requests(n: int) -> list[Request]:
    """Texts of 5 to 150 tokens, some beyond the sliding windows, with every kind of decoding."""
    rng = random.Random(0)
    return [
        Request(
            "".join(rng.choices("abcdefgh ", k=rng.randint(5, 150))),
            seed,
            Decoding(rng.choice([1, 7, 40]), rng.choice([0.0, 0.7, 1.0]), rng.choice([0.9, 1.0]), ("e",) * (seed % 2)),
            ("a", "bcd", "") if seed % 3 == 0 else (),
            "xy" * rng.randint(1, 40) if seed % 4 == 0 else None,
            0.5,
        )
        for seed in range(n)
    ]


def chats(generator: HFGenerator, n: int) -> list[Request]:
    """Requests like those of a run on the embedded model."""
    rng, asked = random.Random(0), list[Request]()
    for name in ("persona", "facts"):
        task = load_plugins().tasks[name]
        for item in task.items("eval")[: n // 2]:
            prompt = generator.render([Message("user", f"{item.context or ''} {item.prompt}")], None)
            decoding = Decoding(task.max_new_tokens, rng.choice([0.0, 0.1, 1.0]), rng.choice([0.9, 1.0]))
            asked.append(Request(prompt.text, rng.randrange(1 << 40), decoding, item.options))
    return asked


def answers(generator: HFGenerator, asked: list[Request]) -> list[Response]:
    return [response for _, response in sorted(generator.generate(asked), key=lambda found: found[0])]


def check_independence(generator: HFGenerator, asked: list[Request]) -> None:
    """Assert that every response is identical in another order, in a subset, and alone."""
    together = dict(zip(asked, answers(generator, asked), strict=True))
    rng = random.Random(1)
    for part in (rng.sample(asked, len(asked)), rng.sample(asked, len(asked) // 5), asked[:1], asked[-1:]):
        assert dict(zip(part, answers(generator, part), strict=True)) == {
            request: together[request] for request in part
        }
    assert generator.notes == []  # the model is computed in slots, and their rows are rounded alike
