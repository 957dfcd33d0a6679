"""Benchmark: the memory of a run with 1,000 and with 20,000 items. Run by hand from the repository's root:

    python tests/benchmarks/bench_memory.py                 # on the embedded model, one new token each; minutes
    python tests/benchmarks/bench_memory.py --engine fake   # a generator without a model: the memory of the harness

Each size is a process of its own with an empty store; the figure is its peak resident memory. It should grow with batch
and model, not with items.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

SIZES = (1_000, 20_000)
TARGET = 1.25
"""The largest allowed ratio of memory for twenty times as many items."""


def measure(items: int, engine: str) -> float:
    """Peak memory in MiB of one run with so many items, in a process of its own."""
    command = [sys.executable, __file__, "--items", str(items), "--engine", engine]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    return float(done.stdout.split()[-1])


def run(items: int, engine: str, kept: Path | None = None) -> None:
    """One run of the prompting arms of a task with so many items, in an empty store or in one that is kept."""
    from fakes import FakeEngine, SilentDisplay

    from mipo_bench.harness.backends.base import Backend
    from mipo_bench.harness.backends.hf import HFBackend
    from mipo_bench.harness.config.loading import load_config
    from mipo_bench.harness.generators import model_folder
    from mipo_bench.harness.generators.placement import Placement
    from mipo_bench.harness.planning.plan import make_plan
    from mipo_bench.harness.run.run import Run
    from mipo_bench.harness.run.stages.context import RunContext
    from mipo_bench.harness.store.run_store import Store
    from mipo_bench.reports.records.report_file import seal, to_json

    config = load_config(None, ["decoding.max_new_tokens=1"], {"tasks": ["arithmetic"], "recipes": []})
    plan = make_plan(config)
    task = plan.tasks[0]
    many = tuple(replace(task.items[n % len(task.items)], id=f"item-{n}") for n in range(items))
    many = tuple(replace(item, prompt=f"{n}. {item.prompt}") for n, item in enumerate(many))
    plan = replace(plan, tasks=(replace(task, items=many),))
    with tempfile.TemporaryDirectory() as folder, closing(Store(kept or Path(folder))) as store:
        chosen: Backend = FakeEngine(lambda request: f"Answer: {request.seed % 50}", lambda request: "Answer: 1")
        if engine == "embedded":
            chosen = HFBackend(config, model_folder.embedded_folder(), Placement(batch_size=config.batch_size), store)
        to_json(seal(Run(RunContext(config, plan, store, chosen, SilentDisplay())).execute()))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Measure both sizes, or run one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int)
    parser.add_argument("--engine", choices=["embedded", "fake"], default="embedded")
    parser.add_argument("--store", type=Path, help="the folder of a store that is kept, for --items")
    options = parser.parse_args()
    if options.items:
        run(options.items, options.engine, options.store)
        return
    found = {size: measure(size, options.engine) for size in SIZES}
    for size, peak in found.items():
        print(f"{size:>7,} items: {peak:7.0f} MiB")
    small, large = (found[size] for size in SIZES)
    print(f"{large / small:.2f} times the memory for {SIZES[1] // SIZES[0]} times the items, target {TARGET:g}")


if __name__ == "__main__":
    main()
