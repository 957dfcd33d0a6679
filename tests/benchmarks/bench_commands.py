"""Benchmark: commands that compute nothing, each against the shortest program that it can be measured by.

    python tests/benchmarks/bench_commands.py --repeat 5

`list`, `show` and `diff` are compared with `python -c "import numpy, pydantic, rich"`: the target is at most three
times as long. `diff` reads a report twice, where nothing differs and no test is needed, and then beside a copy in which
every tenth score differs. An unchanged `run` is compared with `show`: at most twice as long. `compare` reads two files
of 20 MB of plain JSON lines; a loop of `json.loads` over the same lines stands on the other side. Processor time, in
turn.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench_engine import times

from mipo_bench.reports.records.report_file import load_report, to_json

REPORT = Path(__file__).parents[2] / "mipo-bench-report"
LIBRARIES = ["-c", "import numpy, pydantic, rich"]
READ = "import json, sys; [[json.loads(line) for line in open(file, 'rb')] for file in sys.argv[1:]]"
ROWS = 100_000
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"OMP_NUM_THREADS": "1"}


def processor_time(arguments: Sequence[str], folder: Path) -> float:
    """User and system time of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    subprocess.run(command, check=True, cwd=folder, env=ENVIRONMENT, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_rows(file: Path, seed: int) -> None:
    """A table of about 20 MB."""
    rng = random.Random(seed)
    rows = (
        {"item_id": f"item-{n:07d}", "score": round(rng.random(), 3), "user_id": f"user-{n // 5}"} for n in range(ROWS)
    )
    file.write_text("".join(json.dumps({**row, "response": "word " * 30}) + "\n" for row in rows), encoding="utf-8")


def write_changed(file: Path) -> None:
    """The report with another score for every tenth item of each arm."""
    report = load_report(REPORT)
    arms = [
        arm.model_copy(update={"scores": [x if i % 10 or x is None else 1 - x for i, x in enumerate(arm.scores)]})
        for arm in report.arms
    ]
    file.write_text(to_json(report.model_copy(update={"arms": arms})), encoding="utf-8")


def main() -> None:
    """Measure each pair, and write the raw times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--results", type=Path, help="file for the raw times, a line of JSON for each pair")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = ["-m", "mipo_bench.harness"]
        run = [*own, "run", "--task", "facts", "--recipes", "none", "--limit", "20"]
        files = [str(folder / f"{side}.jsonl") for side in "ab"]
        for seed, file in enumerate(files):
            write_rows(Path(file), seed)
        changed = folder / "changed.json"
        write_changed(changed)
        pairs: dict[str, tuple[list[str], list[str]]] = {
            "list": (LIBRARIES, [*own, "list"]),
            "show": (LIBRARIES, [*own, "show", str(REPORT)]),
            "diff": (LIBRARIES, [*own, "diff", str(REPORT), str(REPORT)]),
            "diff of changed scores": (LIBRARIES, [*own, "diff", str(REPORT), str(changed)]),
            "unchanged run": ([*own, "show"], run),
            "compare": (["-c", READ, *files], [*own, "compare", *files]),
        }
        processor_time(run, folder)
        for what, (theirs, ours) in pairs.items():
            processor_time(ours, folder)
            both = [(processor_time(theirs, folder), processor_time(ours, folder)) for _ in range(options.repeat)]
            report(what, both, options.results)


def report(what: str, both: Sequence[tuple[float, float]], results: Path | None) -> None:
    """One line for each pair of commands."""
    theirs, ours = [a for a, _ in both], [b for _, b in both]
    ratios = [b / a for a, b in both]
    print(f"{what}: {times(ours)} s, against {times(theirs)} s: {min(ratios):.1f} to {max(ratios):.1f} times as long")
    if results:
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": what, "theirs": theirs, "ours": ours}) + "\n")


if __name__ == "__main__":
    main()
