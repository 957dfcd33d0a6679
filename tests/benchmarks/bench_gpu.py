"""Benchmark: answering and training on a GPU, compared with lm-eval and trl, on random weights of a real shape.

Run by hand from the repository's root, on a GPU that nothing else uses; no network is needed:

    python tests/benchmarks/bench_gpu.py                       # the shape of Qwen2.5-1.5B; some six minutes on an H100
    python tests/benchmarks/bench_gpu.py generation --repeat 3
    python tests/benchmarks/bench_gpu.py training --pairs 128
    python tests/benchmarks/bench_gpu.py --shape tiny --device cpu --prompts 12 --pairs 8   # only to try the script

Speed does not depend on the values of the weights. The vocabulary has the size of the real model's; its tokens are
pairs of tokens of the embedded model. Both sides alternate, with the same weights, prompts, pairs and settings. The
script prints the tokens per second of all repetitions.

`generation`: sampled at temperature 1, in bfloat16. `equal`: every response is 128 tokens long, which suits batches.
`ended`: one token in 100 ends a response, at most 256 tokens. lm-eval gets the better of two batch sizes; ours is
automatic. An unmeasured turn of two prompts warms up.
`decoding`: one step of all slots, and its share of the least time: that of reading the weights and the keys and values
of all columns once, at the speed at which this GPU copies memory.
`likelihood`: four texts of 8 to 60 words after each prompt, in bfloat16; tokens are those of the texts. lm-eval gets
the better of two batch sizes.
`training`: full DPO in mixed precision with float32 master weights. `steps` is the rate between the first step and the
last; `whole` includes loading, the reference's log-probabilities, and writing the checkpoint. A first turn of all sides
is not measured: on a GPU every new shape of a batch takes up to a second when it is first seen in a process.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gpu.decoding import decoding, likelihood
from gpu.random_model import SHAPES, make_model, words
from gpu.rates import report, timed
from plain_trl import train_plainly

from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.generators.hf_generator import HFGenerator, load_model
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.inference.memory import free_memory
from mipo_bench.harness.protocols import Pair, Request
from mipo_bench.harness.training.job import Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.train import train
from mipo_bench.harness.types import Decoding, Message

BATCHES = (256, 512)
EQUAL, MOST = 128, 256
_NOT_REPEATABLE = "mipo-bench, not deterministic"
END_EVERY = 100
"""One in this many tokens of the vocabulary ends an `ended` response."""


def generation(folder: Path, options: argparse.Namespace) -> None:
    """Time both generators in this process on one set of weights."""
    from lm_eval.api.instance import Instance

    dtype = "bfloat16" if options.device == "cuda" else "float32"
    placement = Placement(options.device, dtype, batch_size=0 if options.device == "cuda" else 32)
    ours = HFGenerator(folder, "random", placement, load=lambda *_: model)
    model = load_model(folder, placement)
    rng = random.Random(0)
    texts = [words(rng, rng.randint(30, 200)) for _ in range(options.prompts)]
    prompts = [ours.render([Message("user", text)], None).text for text in texts]
    for name, ends, most in (
        ("equal", [2], EQUAL),
        ("ended", [2, *range(50, model.config.vocab_size, END_EVERY)], MOST),
    ):
        model.generation_config.eos_token_id = ends
        ours.__dict__.pop("decoder", None)
        kwargs = {"until": [], "max_gen_toks": most, "do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}
        asked = [Request(prompt, n, Decoding(most, 1.0)) for n, prompt in enumerate(prompts)]
        instances = [Instance("generate_until", {}, (prompt, kwargs), 0) for prompt in prompts]
        lm_eval = partial(_lm_eval, model, ours.tokenizer, instances, ends=set(ends))
        sides: dict[str, Callable[[], int]] = {
            f"lm-eval, batches of {size}": partial(lm_eval, size=size) for size in options.batches
        }
        sides["mipo-bench"] = partial(_mipo_bench, ours, asked)
        list(ours.generate(asked[:2]))
        _lm_eval(model, ours.tokenizer, instances[:2], size=2, ends=set(ends))
        found = {side: [timed(work) for _ in range(options.repeat)] for side, work in sides.items()}
        print(f"{name}: {len(prompts)} prompts; {ours.decoder.slots} slots; {ours.decoder.slot_support}; {ours.notes}")
        report(f"generation, {name}", found)


def _mipo_bench(generator: HFGenerator, asked: Sequence[Request]) -> int:
    """The number of tokens that this project generates."""
    generator.decoder.codec.forget()  # lm-eval encodes the prompts in every turn, too
    return sum(response.n_tokens for _, response in generator.generate(asked))


def _lm_eval(model: Any, tokenizer: Any, instances: Sequence[Any], *, size: int, ends: set[int]) -> int:
    """The number of tokens that lm-eval generates, each response up to its end."""
    from lm_eval.models.huggingface import HFLM

    class Counting(HFLM):  # type: ignore[misc]  # lm-eval has no types
        """Counts the generated tokens."""

        counted = 0

        def _model_generate(self, context: Any, *args: Any, **kwargs: Any) -> Any:
            out = super()._model_generate(context, *args, **kwargs)
            for row in out[:, context.shape[1] :].tolist():
                self.counted += next((n for n, token in enumerate(row) if token in ends), len(row))
            return out

    lm = Counting(pretrained=model, tokenizer=tokenizer, batch_size=size, device=str(model.device))
    lm.generate_until(list(instances), disable_tqdm=True)
    return lm.counted


def training(folder: Path, options: argparse.Namespace) -> None:
    """Time both trainers in this process. Each loads the weights itself."""
    import torch
    import trl  # noqa: F401 - so that no side is timed importing it
    from transformers import AutoTokenizer

    torch.zeros(1, device=options.device)
    rng = random.Random(1)
    rows = tuple(
        Pair(f"{n}", (Message("user", words(rng, options.prompt_words)),), words(rng, 150), words(rng, 150))
        for n in range(options.pairs)
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = sum(len(tokenizer.encode(r.prompt[0].content + side)) for r in rows for side in (r.chosen, r.rejected))
    settings = TrainConfig(max_length=1024)
    data = PairSet(rows, {}, "random")
    job = Training(folder, "base", "bench", "mipo-random", 0, data, settings, Placement(options.device, "float32"))
    sides: dict[str, Callable[[Path, Clock], None]] = {
        "trl": lambda out, clock: _train_watched(folder, rows, settings, out, clock, options.device),
        "mipo-bench": lambda out, clock: train(job, out, clock.tick),
        _NOT_REPEATABLE: lambda out, clock: train(replace(job, deterministic=False), out, clock.tick),
    }
    if options.deterministic_only:
        del sides[_NOT_REPEATABLE]
    print(f"training: {len(rows)} pairs, {tokens / len(rows) / 2:.0f} tokens a side, batches of {settings.batch_size}")
    steps: dict[str, list[tuple[int, float]]] = {side: [] for side in sides}
    whole: dict[str, list[tuple[int, float]]] = {side: [] for side in sides}
    for turn in range(options.repeat + 1):
        for side, work in sides.items():
            clock = Clock()
            free_memory()
            if options.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            with tempfile.TemporaryDirectory() as out:
                done = timed(lambda work=work, out=out, clock=clock: (work(Path(out), clock), tokens)[1])  # type: ignore[misc]
            if turn:
                whole[side].append(done)
                steps[side].append((round(tokens * clock.share), clock.seconds))
            peak = f", {torch.cuda.max_memory_allocated() / 1e9:.1f} GB at its peak" if options.device == "cuda" else ""
            rate = tokens * clock.share / clock.seconds
            kind = "" if turn else "warming up, "
            print(f"training: {kind}{side}: {done[1]:.1f} s, {rate:,.0f} tokens/s in steps{peak}", flush=True)
    report("training, steps", steps)
    report("training, whole", whole)


class Clock:
    """The times at which the first and the last step ended."""

    def __init__(self) -> None:
        self.at: list[tuple[int, float]] = []
        self.total = 1

    def tick(self, step: int, total: int) -> None:
        """Record the end of a step."""
        self.at.append((step, time.perf_counter()))
        self.total = total

    @property
    def seconds(self) -> float:
        """The seconds between them."""
        return self.at[-1][1] - self.at[0][1]

    @property
    def share(self) -> float:
        """The share of all steps between them."""
        return (self.at[-1][0] - self.at[0][0]) / self.total


def _train_watched(
    folder: Path, rows: Sequence[Pair], settings: TrainConfig, out: Path, clock: Clock, device: str
) -> None:
    """A plain training whose steps the clock records."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        """Records the time at which a step was logged."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in (logs or {}):
                clock.tick(state.global_step, state.max_steps)

    train_plainly(folder, rows, settings, out, device, [Watch()])


def main() -> None:
    """Read the command line and run the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"generation": generation, "decoding": decoding, "likelihood": likelihood, "training": training}
    parser.add_argument("part", nargs="?", choices=sorted(parts))
    parser.add_argument("--shape", choices=sorted(SHAPES), default="qwen2.5-1.5b")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--prompt-words", type=int, default=150, help="words of a prompt in training")
    parser.add_argument("--deterministic-only", action="store_true", help="trainings in two ways, not in three")
    parser.add_argument("--slots", type=int, default=256, help="slots of a decoding step")
    parser.add_argument(
        "--likelihood-batches", type=int, nargs="+", default=(64, 256), help="as --batches, for likelihoods"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="batch sizes that lm-eval is given")
    parser.add_argument("--keep", type=Path, help="make the model in this folder, and leave it there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        if not (folder / "config.json").exists():
            make_model(options.shape, folder, options.device)
        for name, part in parts.items():
            if options.part in (None, name):
                part(folder, options)


if __name__ == "__main__":
    main()
