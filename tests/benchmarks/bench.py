"""`make bench`: the side-by-side benchmarks as data, some twenty minutes on two idle cores.

    python tests/benchmarks/bench.py                       # writes results/<date>-<machine>.json
    python tests/benchmarks/bench.py --machine cpu2 --parts commands,training

A result file has both sides' raw times in seconds and the versions of the packages. The machine is a label, by default
the kind of the device and the number of cores: never the name of a host. The ratios (theirs / ours) are printed against
those of the latest file for the same machine that git knows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.provenance import package_versions, usable_cores
from mipo_bench.harness.generators.placement import has_gpu_files

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PARTS: Mapping[str, Sequence[str]] = {
    "commands": ("bench_commands.py", "--repeat", "5"),
    "generation": ("bench_engine.py", "generation", "--repeat", "3", "--limit", "100", "--threads", "1"),
    "training": ("bench_engine.py", "training", "--repeat", "3", "--limit", "200"),
    "run": ("bench_engine.py", "run", "--repeat", "3", "--limit", "40"),
}
Measures = dict[str, dict[str, list[float]]]


def measure(part: str, folder: Path) -> Measures:
    """The raw times of a part, by name and side."""
    file = folder / f"{part}.jsonl"
    script, *arguments = PARTS[part]
    print(f"== {part}", flush=True)
    subprocess.run([sys.executable, str(HERE / script), *arguments, "--results", str(file)], check=True)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {row["name"]: {side: [round(t, 4) for t in row[side]] for side in ("theirs", "ours")} for row in rows}


def latest(machine: str, besides: Path) -> Path | None:
    """The newest result file of this machine that is committed."""
    listed = subprocess.run(
        ["git", "ls-files", "--", f"{RESULTS}/*-{machine}.json"], cwd=HERE, capture_output=True, text=True, check=True
    )
    files = sorted(HERE / name for name in listed.stdout.split())
    return next((file for file in reversed(files) if file.resolve() != besides.resolve()), None)


def ratio(sides: Mapping[str, Sequence[float]]) -> tuple[float, float, float]:
    """The ratio of the medians, and the smallest and largest of the repetitions."""
    ratios = [a / b for a, b in zip(sides["theirs"], sides["ours"], strict=True)]
    return statistics.median(sides["theirs"]) / statistics.median(sides["ours"]), min(ratios), max(ratios)


def lines(found: Measures, before: Measures) -> list[str]:
    """A line for each measure, with the earlier ratio."""
    made = []
    for name, sides in found.items():
        middle, low, high = ratio(sides)
        earlier = f"{ratio(before[name])[0]:.2f} before" if name in before else "no earlier one"
        made.append(f"{name:14}  theirs/ours {middle:5.2f} ({low:.2f} to {high:.2f}), {earlier}")
    return made


def main() -> None:
    """Measure, write the file and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", default=f"{'gpu' if has_gpu_files() else 'cpu'}{usable_cores()}")
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated: " + ", ".join(PARTS))
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"unknown part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if not options.machine.replace("-", "").isalnum():
        parser.error(f"--machine {options.machine!r}: letters, digits and hyphens make a label, such as cpu2")
    found: Measures = {}
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            found |= measure(part, Path(folder))
    now = datetime.now(UTC)
    versions = package_versions() | {"lm-eval": version("lm-eval")}
    result: dict[str, Any] = {"date": f"{now:%Y-%m-%d}", "machine": options.machine, "versions": versions}
    file = RESULTS / f"{now:%Y-%m-%d}-{options.machine}.json"
    RESULTS.mkdir(exist_ok=True)
    known = latest(options.machine, file)
    file.write_text(json.dumps(result | {"seconds": found}, indent=1) + "\n", encoding="utf-8")
    before = json.loads(known.read_text(encoding="utf-8"))["seconds"] if known else {}
    print(f"\nwritten to {file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}")
    print("\n".join([f"compared with {known.name}" if known else "no earlier result", *lines(found, before)]))


if __name__ == "__main__":
    main()
