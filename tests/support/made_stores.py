"""A run store with two small, repeatable runs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from made_reports import Made

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.protocols import Likelihood
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.types import Response
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import to_json

HOSTILE = "\x1b[31mred\x07 \u202egnp.exe =1+1"
RUNS = (Made(n_math=6, suites=("math",)), Made(n_math=6, suites=("math",), seed=1, created="2026-02-03T04:05:06+00:00"))
MODEL = {"model.safetensors": b"weights", "config.json": b"{}"}


def checkpoint_key(run: int) -> str:
    return digest(["checkpoint", run])


def write_model(folder: Path) -> None:
    for name, content in MODEL.items():
        (folder / name).write_bytes(content)


def keys_of(report: Report, run: int) -> list[dict[str, str]]:
    """The content keys of a run's responses, per arm. Both runs share the responses of the first arm."""
    return [
        {item: digest([item, arm.method, arm.train_seed, run if n else "both"]) for item in report.tasks[0].items}
        for n, arm in enumerate(report.arms)
    ]


def made_store(folder: Path) -> Path:
    """Write two runs. Only the first uses a pair's response and a likelihood; no run uses the leftovers."""
    for number, made in enumerate(RUNS):
        with closing(Store(folder)) as store:
            report = made.report()
            keys = keys_of(report, number)
            rows = {key: Response(f"{item} {HOSTILE}", 7, 3, "stop") for arm in keys for item, key in arm.items()}
            store.put_responses(rows.items())
            store.checkpoints.put(checkpoint_key(number), write_model)
            if not number:
                store.put_responses([(digest(["pair"]), Response("sampled", 7, 3, "stop", (-0.5, -1.5)))])
                store.put_likelihoods([(digest(["likelihood"]), Likelihood(-3.5, 4, greedy=True))])
            store.put_run(StoredRun(report.digest, report.created, to_json(report), keys))
    with closing(Store(folder)) as store:
        store.put_responses([(digest(["nobody"]), Response("left over", 7, 2, "stop"))])
        store.checkpoints.put(digest(["nobody"]), write_model)
    scratch = folder / "checkpoints" / "new-1-abc-xyz"
    scratch.mkdir()
    (scratch / "half").write_bytes(b"half")
    return folder
