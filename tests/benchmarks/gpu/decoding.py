"""One decoding step and its memory bound; likelihoods against lm-eval. `bench_gpu.py` runs both."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gpu.random_model import words
from gpu.rates import copied_bytes, report, seconds_of, timed

from mipo_bench.harness.generators.hf_generator import HFGenerator, load_model
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.inference.memory import free_memory, token_bytes
from mipo_bench.harness.inference.slots import SlotBatch
from mipo_bench.harness.protocols import LikelihoodRequest
from mipo_bench.harness.types import Message


def decoding(folder: Path, options: argparse.Namespace) -> None:
    """Time one step of all slots, and compare it with the time that reading its memory takes."""
    import torch

    dtype = "bfloat16" if options.device == "cuda" else "float32"
    generator = HFGenerator(folder, "random", Placement(options.device, dtype, batch_size=options.slots))
    decoder, rows = generator.decoder, options.slots
    graph, model = decoder.slot_support.cuda_graph, decoder.model
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    token = token_bytes(model.config.get_text_config(), model.dtype.itemsize)
    speed = copied_bytes(options.device)
    prompt = tuple(range(20, 120))
    with torch.inference_mode():
        (prefilled,) = decoder.forward.prefill([prompt])
        for columns in (256, 512, 1024):
            slots = SlotBatch(decoder.forward, rows, columns, cuda_graph=graph)
            slots.insert(range(rows), [prefilled] * rows)
            seconds = seconds_of(lambda slots=slots: slots.step([100] * rows, [len(prompt)] * rows), options.device)  # type: ignore[misc]
            least = (weights + rows * columns * token) / speed
            print(
                f"decoding: {rows} slots of {columns} columns: {1000 * seconds:.2f} ms a step; reading"
                f" {(weights + rows * columns * token) / 1e9:.1f} GB at {speed / 1e12:.2f} TB/s takes"
                f" {1000 * least:.2f} ms ({least / seconds:.0%})",
                flush=True,
            )
            del slots
            free_memory()


def likelihood(folder: Path, options: argparse.Namespace) -> None:
    """Time likelihoods of both in this process on one set of weights."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    dtype = "bfloat16" if options.device == "cuda" else "float32"
    placement = Placement(options.device, dtype, batch_size=0 if options.device == "cuda" else 32)
    model = load_model(folder, placement)
    ours = HFGenerator(folder, "random", placement, load=lambda *_: model)
    rng = random.Random(0)
    asked = [
        LikelihoodRequest(
            ours.render([Message("user", words(rng, rng.randint(30, 200)))], None).text,
            tuple(words(rng, rng.randint(8, 60)) for _ in range(4)),
        )
        for _ in range(options.prompts)
    ]
    tokens = sum(len(ours.tokenizer.encode(text)) for q in asked for text in q.texts)
    instances = [Instance("loglikelihood", {}, (q.prompt, text), 0) for q in asked for text in q.texts]

    sizes: list[int] = options.likelihood_batches
    lms = {s: HFLM(pretrained=model, tokenizer=ours.tokenizer, batch_size=s, device=str(model.device)) for s in sizes}

    def lm_eval(size: int) -> list[float]:
        return [value for value, _ in lms[size].loglikelihood(instances, disable_tqdm=True)]

    def mipo_bench() -> list[float]:
        ours.decoder.codec.forget()  # lm-eval encodes the prompts in every turn, too
        found = dict(ours.likelihoods(asked))
        return [found[i][n].logprob for i, q in enumerate(asked) for n in range(len(q.texts))]

    sides: dict[str, Callable[[], list[float]]] = {f"lm-eval, batches of {s}": partial(lm_eval, s) for s in sizes}
    sides["mipo-bench"] = mipo_bench
    figures = [work() for work in sides.values()]
    apart = max(abs(a - b) / abs(a) for a, b in zip(figures[0], figures[-1], strict=True))
    print(f"likelihood: {len(instances)} texts; figures differ by at most {apart:.1%}; {ours.notes}")

    def turn(work: Callable[[], list[float]]) -> tuple[int, float]:
        return timed(lambda: (work(), tokens)[1])

    report("likelihood", {side: [turn(work) for _ in range(options.repeat)] for side, work in sides.items()})
