"""Benchmark: the speed of generation on a real model, compared with lm-eval's.

Run by hand from the repository's root, with a folder of a chat model and GSM8K as its authors publish it:

    python tests/benchmarks/bench_real_model.py --model FOLDER --gsm8k FOLDER --threads 2

`plain`: one question a prompt. `eight-shot`: eight solved questions before it, as turns of the chat, the same for all.
Both sides get the same rendered prompts and the same decoding, sampled up to `--tokens` tokens, and alternate in one
process. Targets: at least 1.5 and 3 times as fast. Imports, loading and our probe of the model come before.

Wall-clock time says little on a busy machine; the ratio by processor time is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.provenance import usable_cores
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.types import Decoding, Message

TARGETS = {"plain": 1.5, "eight-shot": 3.0}
_SHOTS = 8


def prompts(generator: HFGenerator, folder: Path, limit: int) -> dict[str, list[str]]:
    """Rendered prompts of both kinds."""
    shots: list[Message] = []
    for row in rows(folder / "train.jsonl", _SHOTS):
        shots += [Message("user", row["question"]), Message("assistant", row["answer"])]
    asked = [[Message("user", row["question"])] for row in rows(folder / "test.jsonl", limit)]
    return {
        "plain": [generator.render(turns, None).text for turns in asked],
        "eight-shot": [generator.render([*shots, *turns], None).text for turns in asked],
    }


def rows(file: Path, limit: int) -> list[dict[str, Any]]:
    """The first rows of a file of JSON lines."""
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for _, line in zip(range(limit), lines, strict=False)]


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def answer(generator: HFGenerator, requests: list[Request]) -> None:
    """Answer all of them."""
    list(generator.generate(requests))


def show(name: str, theirs: list[tuple[float, float]], ours: list[tuple[float, float]]) -> None:
    """Two lines: by the clock and by processor time."""
    for side, kind in enumerate(("clock", "processor")):
        a, b = [t[side] for t in theirs], [t[side] for t in ours]
        ratios = [x / y for x, y in zip(a, b, strict=True)]
        times = f"theirs {' '.join(f'{t:.1f}' for t in a)} s, ours {' '.join(f'{t:.1f}' for t in b)} s"
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{name}, {kind}: {statistics.median(ratios):.2f} times as fast ({spread}), target {TARGETS[name]:g}")
        print(f"    {times}", flush=True)


def main() -> None:
    """Read the command line and time both kinds of prompts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=sorted(TARGETS))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--gsm8k", type=Path, required=True, help="folder with train.jsonl and test.jsonl")
    parser.add_argument("--limit", type=int, default=32, help="prompts")
    parser.add_argument("--tokens", type=int, default=64, help="new tokens of each")
    parser.add_argument("--batch", type=int, default=32, help="batch size of both")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as a run does, before torch is imported
    compare(options)


def compare(options: argparse.Namespace) -> None:
    """Time both sides in this process."""
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(options.threads)
    placement = Placement(threads=options.threads, batch_size=options.batch)
    generator, plain = (HFGenerator(options.model, "bench", placement) for _ in range(2))
    lm = HFLM(pretrained=plain.model, tokenizer=plain.tokenizer, batch_size=options.batch, device="cpu")
    decoding = Decoding(options.tokens, 1.0)
    kwargs = {"until": [], "max_gen_toks": options.tokens, "do_sample": True, "temperature": 1.0, "top_p": 1.0}
    asked = prompts(generator, options.gsm8k, options.limit)
    list(generator.generate([Request(asked["plain"][0], 0, Decoding(1, 0.0))]))  # loads, and probes the model
    for name in [options.part] if options.part else sorted(TARGETS):
        requests = [Request(prompt, seed, decoding) for seed, prompt in enumerate(asked[name])]
        instances = [Instance("generate_until", {}, (prompt, kwargs), 0) for prompt in asked[name]]
        theirs = partial(lm.generate_until, instances, disable_tqdm=True)
        ours = partial(answer, generator, requests)
        times = [(measured(theirs), measured(ours)) for _ in range(options.repeat)]
        show(name, [a for a, _ in times], [b for _, b in times])


if __name__ == "__main__":
    main()
