"""What a response to a training item is worth, for objectives that learn from rewards."""

from __future__ import annotations

from collections.abc import Sequence

from mipo_bench.harness.pairs import Reward
from mipo_bench.harness.provenance import digest
from mipo_bench.harness.scoring import scorer_hash
from mipo_bench.harness.types import Item, Response, Task


def score_reward(task: Task) -> Reward:
    """The task's own score, in [0, 1]."""

    def of(items: Sequence[Item], texts: Sequence[str]) -> list[float]:
        responses = (Response(text, 0, len(text.split()), "stop") for text in texts)
        return [float(task.score(item, response).value) for item, response in zip(items, responses, strict=True)]

    return Reward("score", digest(["score", task.name, task.version, scorer_hash(task)]), of)
