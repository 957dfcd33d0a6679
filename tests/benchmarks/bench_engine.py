"""Benchmark: the engine's speed compared with short scripts around lm-eval and trl, on the embedded model.

Run by hand, on an otherwise idle machine, from the repository's root:

    python tests/benchmarks/bench_engine.py                     # everything; some ten minutes on two cores
    python tests/benchmarks/bench_engine.py generation --repeat 5
    python tests/benchmarks/bench_engine.py run --limit 60 --repeat 1
    python tests/benchmarks/bench_engine.py training
    python tests/benchmarks/bench_engine.py training --model FOLDER --limit 16 --threads 1    # on a real model

`generation`: the prompts of every prompting arm of every task, answered in this process by `HFGenerator.generate` and
by lm-eval's `HFLM.generate_until` with the same decoding, each at the batch size that suits it best. Target: at least
1.5 times as fast.
`run`: `mipo-bench run --recipes none` with an empty store against one `lm_eval` process for each arm and task, on YAML
tasks made of the same rendered prompts. Target: at least 10 times as fast. Mutual information is off, because lm-eval
measures none. Other work that lm-eval does not do (options of multiple choice, guards, statistics, report) is included.
`training`: one MIPO training as a run does it, with its checkpoint in the store, against a plain use of trl's
`DPOTrainer` on the same pairs with the same settings. Target: at least 1.3 times as fast. `--model` trains another
model, `--pairs` trains on sampled pairs, `--processor-time` compares processor time on a machine that is not idle.

Both sides alternate, so that a busy machine slows both. The script prints all times, the ratio of the medians with its
range over the repetitions, and a profile of generation.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from plain_trl import train_plainly

from mipo_bench.harness.backends.hf import HFBackend
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.provenance import usable_cores
from mipo_bench.harness.evaluation.arm_answers import AnsweringModel, render_arm
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import Arm, Pair, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.types import Decoding, Message

FOLDER = model_folder.embedded_folder()
TARGETS = {"generation": 1.5, "run": 10.0, "training": 1.3}
BATCHES = (32, 64, 128)


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call: by the wall clock, or by another one."""
    start = clock()
    work()
    return clock() - start


def alternate(
    theirs: Callable[[], object],
    ours: Callable[[], object],
    repeat: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[float], list[float]]:
    """The times of both sides, measured alternately."""
    pairs = [(seconds(theirs, clock), seconds(ours, clock)) for _ in range(repeat)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def show(name: str, theirs: Sequence[float], ours: Sequence[float], results: Path | None = None) -> None:
    """One line with the ratio of the medians and its range; the raw times go to the file `results`, a line of JSON."""
    if results:
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, "theirs": theirs, "ours": ours}) + "\n")
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    ratio, target = statistics.median(theirs) / statistics.median(ours), TARGETS[name]
    print(f"{name}: theirs {times(theirs)} s, ours {times(ours)} s")
    verdict = "reached" if ratio >= target else "MISSED"
    print(f"{name}: {ratio:.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f}), target {target:g} {verdict}")


def times(values: Sequence[float]) -> str:
    """The values with two digits after the point."""
    return " ".join(f"{v:.2f}" for v in values)


def arms(config: RunConfig, generator: HFGenerator) -> dict[str, list[Request]]:
    """`arm_TASK_NUMBER` -> the requests of each prompting arm of each task."""
    plan = make_plan(config)
    weights = AnsweringModel(generator, "embedded")
    found = {}
    for task in plan.tasks:
        for number, arm in enumerate(plan.arms_of(task.task.name, trained=False)):
            asked = render_arm(task, plan.baselines[arm.baseline], arm, weights)
            found[f"arm_{arm.task}_{number}"] = list(asked.requests.values())
    return found


def generation(options: argparse.Namespace) -> None:
    """Time both generators in this process."""
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(options.threads)
    config = load_config(None, [], {"limit": options.limit, "recipes": []})
    generator = HFGenerator(FOLDER, "embedded", Placement())
    found = arms(config, generator)
    asked = list(dict.fromkeys(Request(r.prompt, 0, r.decoding) for rows in found.values() for r in rows))
    instances = [Instance("generate_until", {}, (r.prompt, _kwargs(r.decoding)), 0) for r in asked]
    lms = {
        size: HFLM(pretrained=generator.model, tokenizer=generator.tokenizer, batch_size=size, device="cpu")
        for size in BATCHES
    }
    generators = {size: HFGenerator(FOLDER, "embedded", Placement(batch_size=size)) for size in BATCHES}
    for one in generators.values():
        list(one.generate(asked[:3]))  # loads, and tries the model in slots

    def theirs(size: int) -> object:
        return lms[size].generate_until(instances, disable_tqdm=True)

    def ours(size: int) -> object:
        generators[size].decoder.codec.forget()  # lm-eval encodes the prompts in every turn, too
        return list(generators[size].generate(asked))

    first = {size: [seconds(partial(side, size)) for side in (theirs, ours)] for size in BATCHES}
    best = [min(BATCHES, key=lambda size: first[size][side]) for side in (0, 1)]
    print(f"{len(asked)} prompts; best of batch sizes {BATCHES}: theirs {best[0]}, ours {best[1]}")
    show("generation", *alternate(partial(theirs, best[0]), partial(ours, best[1]), options.repeat), options.results)
    if options.results:
        return
    profile = cProfile.Profile()
    profile.runcall(ours, best[1])
    pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(22)


def _kwargs(decoding: Decoding) -> dict[str, Any]:
    """Our decoding as lm-eval's `gen_kwargs`. A response ends only at the end token, as with ours."""
    return {
        "until": [],
        "max_gen_toks": decoding.max_new_tokens,
        "do_sample": decoding.temperature > 0,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
    }


def run(options: argparse.Namespace) -> None:
    """Time whole processes, started as a user starts them."""
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = load_config(None, [], {"limit": options.limit, "recipes": []})
        names = _yaml_tasks(arms(config, HFGenerator(FOLDER, "embedded", Placement())), folder)
        limit = [] if options.limit is None else ["--limit", str(options.limit)]

        def theirs() -> None:
            for task in names:
                arguments = ["--model_args", f"pretrained={FOLDER},dtype=float32", "--include_path", name]
                arguments += ["--tasks", task, "--device", "cpu", "--batch_size", "64", "--output_path", name]
                _call(["-m", "lm_eval", "run", "--model", "hf", *arguments], environment)

        def ours(*more: str) -> None:
            with tempfile.TemporaryDirectory() as fresh:
                arguments = ["run", "--recipes", "none", "--out", f"{fresh}/out", "--set", f"store={fresh}/store"]
                _call(["-m", "mipo_bench.harness", *arguments, *limit, *more], dict(os.environ))

        print(f"{len(names)} arms of all tasks")
        same = ["--set", "information.arms=[]"]
        show("run", *alternate(theirs, lambda: ours(*same), options.repeat), options.results)
        if options.results:
            return
        print(f"run with everything that is on by default: {seconds(ours):.2f} s")
        _call(["-c", _PROFILED, str(folder / "profile"), "run", "--recipes", "none", *limit, *same], environment)
        pstats.Stats(str(folder / "profile"), stream=sys.stdout).sort_stats("cumtime").print_stats("harness/", 40)


_PROFILED = """
import cProfile, sys, tempfile
from mipo_bench.harness.cli import main
file, *arguments = sys.argv[1:]
with tempfile.TemporaryDirectory() as fresh:
    arguments += ["--set", "processes=1", "--out", f"{fresh}/out", "--set", f"store={fresh}/store"]
    profile = cProfile.Profile()
    try:
        profile.runcall(main, arguments)
    except SystemExit:
        profile.dump_stats(file)
"""
"""A run in one process, whose profile goes to a file."""


def _yaml_tasks(found: Mapping[str, Sequence[Request]], folder: Path) -> list[str]:
    """Write one lm-eval task of rendered prompts per arm. Returns the names of the tasks."""
    for name, requests in found.items():
        rows = "\n".join(json.dumps({"prompt": r.prompt, "target": "none"}) for r in requests)
        (folder / f"{name}.jsonl").write_text(rows + "\n", encoding="utf-8")
        task = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(folder / f"{name}.jsonl")}},
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": "{{prompt}}",
            "doc_to_target": "{{target}}",
            "generation_kwargs": _kwargs(requests[0].decoding),
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        }
        (folder / f"{name}.yaml").write_text(json.dumps(task), encoding="utf-8")  # JSON is YAML
    return list(found)


def _call(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def _sampled(file: Path) -> Iterator[Pair]:
    """The pairs of a checkpoint's `pairs.jsonl`."""
    with file.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            yield Pair(row["item_id"], tuple(Message(**m) for m in row["prompt"]), row["chosen"], row["rejected"])


def training(options: argparse.Namespace) -> None:
    """Time both trainers in this process."""
    import torch

    torch.set_num_threads(options.threads)
    own = {} if options.model == FOLDER else {"model": str(options.model)}  # its training settings are the paper's
    config = load_config(None, [], {"recipes": ["mipo-missing"], "seeds": 1, "tasks": ["persona"], **own})
    task = make_plan(config).tasks[0]
    profile = load_plugins().baselines["profile"]
    items = task.training_items[: options.limit]
    rows = tuple(Pair(i.id, profile.messages(i), task.task.gold(i), task.task.wrong(i)) for i in items)
    if options.pairs:
        rows = tuple(_sampled(options.pairs))[: options.limit]
    arm = Arm("persona", task.reference, "mipo-missing", 0)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as fresh, closing(Store(Path(fresh))) as store:
            engine = HFBackend(config, options.model, Placement(threads=options.threads), store)
            engine.trained(arm, PairSet(rows, {}, "bench"), lambda step, total: None)

    def theirs(some: Sequence[Pair] = rows) -> None:
        with tempfile.TemporaryDirectory() as out:
            train_plainly(options.model, some, config.train, Path(out))

    print(f"{len(rows)} pairs, batches of {config.train.batch_size}, {options.threads} threads")
    theirs(rows[:2])  # imports
    clock = time.process_time if options.processor_time else time.perf_counter
    show("training", *alternate(theirs, ours, options.repeat, clock), options.results)


def main() -> None:
    """Read the command line and run the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts: dict[str, Callable[[argparse.Namespace], None]] = {
        "generation": generation,
        "run": run,
        "training": training,
    }
    parser.add_argument("part", nargs="?", choices=sorted(parts))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--results", type=Path, help="file for the raw times; nothing is profiled then")
    parser.add_argument("--limit", type=int, default=None, help="items of a task; all by default")
    parser.add_argument(
        "--model", type=Path, default=FOLDER, help="the model that is trained; the embedded one by default"
    )
    parser.add_argument(
        "--pairs", type=Path, help="of training: a checkpoint's pairs.jsonl, whose responses differ in length"
    )
    parser.add_argument(
        "--processor-time", action="store_true", help="of training: processor time, not wall-clock time"
    )
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of both in one process, and of lm_eval")
    options = parser.parse_args()
    for name, part in parts.items():
        if options.part in (None, name):
            part(options)


if __name__ == "__main__":
    main()
