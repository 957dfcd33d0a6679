"""The time of the judge `nli:MODEL` on a CPU, against the text classification pipeline of transformers.

    python tests/benchmarks/studies/nli_judge.py --threads 2

The model has random weights in the shape of MiniLM (6 layers, width 384, 30,522 tokens: 23 million parameters). Its
tokens are bytes. Each of 1,000 made responses of 20 to 104 tokens is checked against six statements of 15 tokens: 80
tokens a pair in the mean. The target is two minutes for all 6,000 pairs. Both sides read the same pairs in batches of
32; the pipeline reads them in the order given.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
from made_judges import make_entailment_model

from mipo_bench.harness.generators.entailment import EntailmentModel
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.judging.nli_judge import nli_judge, statements_of
from mipo_bench.harness.protocols import Question
from mipo_bench.harness.types import Item

SHAPE: dict[str, Any] = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "vocab_size": 30522,
}
STATEMENTS = 6


def text(rng: random.Random, tokens: int) -> str:
    """So many random letters and spaces, one token each."""
    return "".join(rng.choices("etaoin shrdlu", k=tokens - 1)).strip().ljust(tokens - 1, "e")


def questions(count: int) -> list[Question]:
    """One response to rate each, with its user's statements."""
    rng = random.Random(0)
    made = []
    for n in range(count):
        profile = "\n".join(f"{text(rng, 14)}." for _ in range(STATEMENTS))
        item = Item(str(n), "A question?", "", f"user-{n}", profile)
        made.append(Question(item, "Suit the user.", text(rng, rng.randint(20, 104))))
    return made


def seconds(run: Callable[[], object]) -> float:
    """The seconds of one run, by the clock."""
    start = time.monotonic()
    run()
    return time.monotonic() - start


def main() -> None:
    """Measure both sides, by the clock."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    import torch
    from transformers import pipeline

    torch.set_num_threads(options.threads)
    asked = questions(options.items)
    pairs = [{"text": q.first, "text_pair": statement} for q in asked for statement in statements_of(q)]
    assert len(pairs) == options.items * STATEMENTS
    with tempfile.TemporaryDirectory() as name:
        folder = make_entailment_model(Path(name), window=512, **SHAPE)
        classify = pipeline("text-classification", str(folder), batch_size=32, top_k=None, device="cpu")

        def ours() -> None:
            model = EntailmentModel(folder, "minilm", Placement(threads=options.threads))
            judged = list(nli_judge("minilm", model, "minilm").decide(asked))
            assert all(verdict.value is not None for _, verdict in judged)

        for _ in range(options.repeat):
            theirs, judge = seconds(lambda: classify(pairs)), seconds(ours)
            print(f"{len(pairs)} pairs: pipeline {theirs:.1f} s, judge {judge:.1f} s; theirs/ours {theirs / judge:.2f}")


if __name__ == "__main__":
    main()
