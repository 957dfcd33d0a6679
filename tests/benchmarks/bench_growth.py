"""Benchmark: how time and memory grow with the items. Run by hand from the repository's root:

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_growth.py --sizes 1000,10000,100000

`run`: the prompting arms of a task on a generator without a model, one new token each, from an empty store. `again`:
the same with everything in the store. `show` and `diff`: reports with five arms. `compare`: tables of JSON lines. Each
is a process of its own. Processor time and peak memory should lie on a straight line; the last column says by how much
the time for one more item has grown since the size before, so 1.0 is straight.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench_diff import made

from mipo_bench.reports.records.report_file import to_json

MEMORY = str(Path(__file__).with_name("bench_memory.py"))
OURS = ["-m", "mipo_bench.harness"]


def measured(arguments: Sequence[str]) -> tuple[float, float]:
    """Processor time in seconds and peak memory in MiB of a Python process."""
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def commands(items: int, folder: Path) -> dict[str, list[str]]:
    """The commands to measure, with their files of so many items."""
    reports = [folder / f"report-{n}.json" for n in range(2)]
    tables = [folder / f"table-{n}.jsonl" for n in range(2)]
    for n, (report, table) in enumerate(zip(reports, tables, strict=True)):
        report.write_text(to_json(made(n, items // 5, items, 5)))
        rng = random.Random(n)
        rows = ({"item_id": f"item-{i:06d}", "score": rng.random(), "response": "word " * 30} for i in range(items))
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = [MEMORY, "--items", str(items), "--engine", "fake", "--store", str(folder / "store")]
    return {
        "run": run,
        "again": run,
        "show": [*OURS, "show", str(reports[0])],
        "diff": [*OURS, "diff", *map(str, reports)],
        "compare": [*OURS, "compare", *map(str, tables)],
    }


def main() -> None:
    """Measure every command at every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000")
    options = parser.parse_args()
    before: dict[str, tuple[int, float]] = {}
    slopes: dict[str, float] = {}
    print(f"{'':8} {'items':>8} {'seconds':>8} {'MiB':>6} {'growth':>7}")
    for items in map(int, options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            for name, command in commands(items, Path(folder)).items():
                seconds, mib = measured(command)
                fewer, then = before.get(name, (0, 0.0))
                slope = (seconds - then) / (items - fewer)
                growth = f"{slope / slopes[name]:.1f}" if fewer and slopes.get(name) else ""
                print(f"{name:8} {items:8,} {seconds:8.1f} {mib:6.0f} {growth:>7}", flush=True)
                before[name] = (items, seconds)
                slopes[name] = slope if fewer else 0.0


if __name__ == "__main__":
    main()
