"""Reports with random but repeatable numbers, changes of them, and a run store with two such runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.protocols import Likelihood
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.store.runs import StoredRun
from mipo_bench.harness.types import Response
from mipo_bench.reports.analysis.comparisons import ComparisonPlan, comparisons, estimates
from mipo_bench.reports.records.report import (
    ArmRecord,
    CheckpointRecord,
    FailureRecord,
    ModelRecord,
    Provenance,
    Report,
    TaskRecord,
)
from mipo_bench.reports.records.report_file import seal, to_json

PROMPTED = {"math": ("few-shot", "plain"), "personalized": ("no-context", "profile")}
RATES = {"few-shot": 0.5, "plain": 0.6, "no-context": 0.3, "profile": 0.45, "mipo-random": 0.7}


@dataclass
class Made:
    """The parameters of a made report. A test changes those that it concerns.

    `gains` is added to the score of an arm, by method; `seed` moves every score a little.
    """

    n_math: int = 60
    n_users: int = 12
    train_seeds: Sequence[int] = (0, 1, 2)
    gains: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    commit: str | None = "1234567890abcdef1234567890abcdef12345678"
    dirty: bool = False
    created: str = "2026-01-02T03:04:05+00:00"
    versions: Mapping[str, str] = field(default_factory=lambda: {"python": "3.11.7", "torch": "2.8.0"})
    dtype: str = "float32"
    weights: str = "aaaaaaaaaaaa"
    scorer: str = "scorer-1"
    settings: Mapping[str, Any] = field(default_factory=dict)
    suites: Sequence[str] = ("math", "personalized")
    failures: Sequence[FailureRecord] = ()
    recipe: str = "mipo-random"

    def report(self) -> Report:
        """The sealed report."""
        tasks = [self._task(suite) for suite in self.suites]
        arms = [arm for task in tasks for arm in self._arms(task)]
        planned = dict.fromkeys((a.task, a.method, a.recipe is not None) for a in arms)
        declared = ComparisonPlan("micro", 0.05, tuple(planned), len(self.train_seeds))
        return seal(
            Report(
                created=self.created,
                config={"model": "tiny", "seeds": len(self.train_seeds), "train": {"lr": 0.0001}, **self.settings},
                config_hash="c" * 64,
                provenance=Provenance(
                    commit=self.commit,
                    dirty=self.dirty,
                    diff_hash="d" * 64 if self.dirty else None,
                    versions=dict(self.versions),
                    hardware={"device": "cpu", "machine": "x86_64", "system": "Linux", "cores": 2},
                ),
                model=ModelRecord(name="tiny", digest=self.weights, device="cpu", dtype=self.dtype),
                average="micro",
                alpha=0.05,
                tasks=tasks,
                arms=arms,
                checkpoints=[c for task in tasks for c in self._checkpoints(task)],
                estimates=estimates(tasks, arms, declared),
                comparisons=comparisons(tasks, arms, declared),
                failures=list(self.failures),
                notes=[],
            )
        )

    def _task(self, suite: str) -> TaskRecord:
        users = [f"user-{n // 3:02d}" for n in range(3 * self.n_users)] if suite == "personalized" else None
        count = len(users) if users else self.n_math
        name = "persona" if users else "arithmetic"
        return TaskRecord(
            name=name,
            suite=suite,
            version=1,
            description="A task.",
            binary=not users,
            reference=PROMPTED[suite][1],
            scorer_hash=self.scorer,
            items=[f"{name}-{n:03d}" for n in range(count)],
            users=users,
            prompt_hashes=[f"p{n:015d}" for n in range(count)],
            target_hashes=[f"t{n:015d}" for n in range(count)],
        )

    def _arms(self, task: TaskRecord) -> list[ArmRecord]:
        arms = [self._arm(task, method) for method in PROMPTED[task.suite]]
        arms.append(self._arm(task, task.reference, noise=True))
        return arms + [self._arm(task, self.recipe, train_seed=seed) for seed in self.train_seeds]

    def _arm(self, task: TaskRecord, method: str, train_seed: int | None = None, *, noise: bool = False) -> ArmRecord:
        rng = random.Random(f"{task.name} {method} {train_seed} {noise}")
        own = random.Random(f"{task.name} {method} {train_seed} {noise} {self.seed}")
        rate = RATES.get(method, 0.5)
        gain = self.gains.get(method, 0.0)
        scores = [self._score(task.binary, rate, gain, rng, own) for _ in task.items]
        tokens = [own.randint(5, 40) for _ in task.items]
        return ArmRecord(
            task=task.name,
            method=f"{method} (A/A)" if noise else method,
            baseline=task.reference if train_seed is not None else method,
            recipe=method if train_seed is not None else None,
            train_seed=train_seed,
            sample_seed=int(noise),
            noise=noise,
            model_digest=self.weights if train_seed is None else f"{method}-{train_seed}",
            scores=scores,
            parts={} if task.binary else {"format": [*scores], "tone": [round(s / 2, 3) for s in scores]},
            n_tokens=tokens,
            truncated=[i for i, n in zip(task.items, tokens, strict=True) if n == 40],
            unparsed=[],
            failed={},
        )

    def _score(self, binary: bool, rate: float, gain: float, rng: random.Random, own: random.Random) -> float:
        latent = rng.random()
        moved = own.random()
        if binary:
            return float(latent < rate + gain + (0.04 * (moved - 0.5) if self.seed else 0))
        wobble = 0.05 * (moved - 0.5) if self.seed else 0
        return round(min(1.0, max(0.0, rate + gain + 0.5 * (latent - 0.5) + wobble)), 3)

    def _checkpoints(self, task: TaskRecord) -> list[CheckpointRecord]:
        return [
            CheckpointRecord(
                task=task.name,
                recipe=self.recipe,
                train_seed=seed,
                digest=f"{self.recipe}-{seed}",
                lineage={"seed": seed, "pairs": {"used": 100}, "curve": _curve(random.Random(f"{task.name} {seed}"))},
            )
            for seed in self.train_seeds
        ]


def _curve(rng: random.Random) -> list[dict[str, float]]:
    return [
        {"step": n, "loss": 0.693 * 0.96**n + 0.02 * rng.random(), "margin": 0.05 * n + 0.1 * rng.random()}
        for n in range(1, 31)
    ]


BASE = Made()
WORSE = Made(seed=1, gains={"plain": -0.25, "mipo-random": -0.1})


def with_tasks(report: Report, change: Callable[[TaskRecord], TaskRecord]) -> Report:
    return seal(report.model_copy(update={"tasks": [change(task) for task in report.tasks]}))


def first_items_changed(report: Report) -> Report:
    """A report with two changed prompts, one changed target, one change of both, and another id of the last item."""

    def change(task: TaskRecord) -> TaskRecord:
        prompts = ["new", "new", *task.prompt_hashes[2:]]
        targets = [task.target_hashes[0], "new", "new", *task.target_hashes[3:]]
        items = [*task.items[:-1], f"{task.name}-new"]
        return task.model_copy(update={"prompt_hashes": prompts, "target_hashes": targets, "items": items})

    return with_tasks(report, change)


def moved_users(report: Report) -> Report:
    def change(task: TaskRecord) -> TaskRecord:
        return task.model_copy(update={"users": [*task.users[1:], task.users[0]] if task.users else None})

    return with_tasks(report, change)


def without(report: Report, method: str) -> Report:
    return seal(report.model_copy(update={"arms": [arm for arm in report.arms if arm.method != method]}))


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


PAYLOADS = (
    *(
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "</style>",
        "</textarea></title>",
        "<img src=x onerror=a()>",
    ),
    *("<svg onload=a()>", "<iframe srcdoc='x'>", '<a href="javascript:a()">', "<base href='//x'>", "<form action=x>"),
    *("<meta http-equiv=refresh content=0>", "<link rel=stylesheet href=//x>", "<style>@import '//x'", "<template>"),
    *(
        '"><x onfocus=a() autofocus>',
        "' onclick='a()",
        "{{7*7}}",
        "{% import 'x' %}",
        "${7*7}",
        "]]>",
        "&lt;script&gt;",
    ),
    *("\u2028\u2029", "\x00\x1b[2J", "\u202e\u2066", "\u200b", "__proto__", "constructor", "#/../x", "%00", "a/b?c&d"),
)
HOSTILE_MARKUP = " ".join(PAYLOADS)
KEPT = {"family", "average", "schema_version", "created", "test", "code", "interval", "alpha"}
"""Fields with a fixed set of values in the schema."""


def spoiled_report(report: Report) -> Report:
    """The report with every payload in each of its texts; equal texts stay equal."""
    return seal(Report.model_validate(_spoiled(report.model_dump(mode="json"))))


def _spoiled(value: Any, key: str = "") -> Any:
    if isinstance(value, str):
        return value if key in KEPT else f"{value}{HOSTILE_MARKUP}"
    if isinstance(value, list):
        return [_spoiled(part, key) for part in value]
    if isinstance(value, dict):
        named = key in ("parts", "failed", "versions", "hardware")
        return {(_spoiled(k) if named else k): _spoiled(v, k) for k, v in value.items()}
    return value
