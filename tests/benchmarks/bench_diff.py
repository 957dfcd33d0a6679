"""Benchmark: time of a diff of large reports. By hand: `OMP_NUM_THREADS=1 python tests/benchmarks/bench_diff.py`.

Two reports with 20,000 items x 10 arms and graded scores. The items are independent (the slowest test) or belong to
2,000 users.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mipo_bench.reports.records.report import ArmRecord, ModelRecord, Provenance, Report, TaskRecord
from mipo_bench.reports.records.report_file import to_json

ITEMS, ARMS, SECONDS, MIB = 20_000, 10, 5.0, 1024


def made(seed: int, users: int | None, items: int = ITEMS, arms_of: int = ARMS) -> Report:
    rng = np.random.default_rng(seed)
    base = np.random.default_rng(0).random((arms_of, items))
    names = [f"eval-{n:06d}" for n in range(items)]
    task = TaskRecord(
        name="large",
        suite="personalized",
        version=1,
        description="",
        binary=False,
        reference="arm-0",
        scorer_hash="s",
        items=names,
        users=[f"user-{n % users:05d}" for n in range(items)] if users else None,
        prompt_hashes=[f"{n:016x}" for n in range(items)],
        target_hashes=[f"{n:016x}" for n in range(items)],
    )
    arms = [
        ArmRecord(
            task="large",
            method=f"arm-{n}",
            baseline=f"arm-{n}",
            recipe=None,
            train_seed=None,
            sample_seed=0,
            noise=False,
            model_digest="m",
            scores=np.clip(base[n] + rng.normal(0, 0.05, items), 0, 1).tolist(),
            parts={},
            n_tokens=[20] * items,
            truncated=[],
            unparsed=[],
            failed={},
        )
        for n in range(arms_of)
    ]
    return Report(
        created="2026-01-01T00:00:00+00:00",
        config={},
        config_hash="",
        provenance=Provenance(commit=None, dirty=False, diff_hash=None, versions={}, hardware={}),
        model=ModelRecord(name="m", digest="m", device="cpu", dtype="float32"),
        average="micro",
        alpha=0.05,
        tasks=[task],
        arms=arms,
        checkpoints=[],
        estimates=[],
        comparisons=[],
        failures=[],
        notes=[],
    )


def main() -> None:
    for users in (None, 2_000):
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{n}.json" for n in (1, 2)]
            for n, file in enumerate(files):
                file.write_text(to_json(made(n, users)))
            start = time.perf_counter()
            command = [sys.executable, "-m", "mipo_bench.harness.cli", "diff", *map(str, files)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            took = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            size = files[0].stat().st_size / 2**20
            what = f"{ITEMS:,} items x {ARMS} arms, {f'{users:,} users' if users else 'no users'}"
            print(f"{what}: {took:.2f} s of {SECONDS:g}, {peak:.0f} MiB of {MIB}, {size:.1f} MiB a report")


if __name__ == "__main__":
    main()
