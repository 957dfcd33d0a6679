"""Whole runs on hosts in threads, without a cluster: the same report whatever is lost."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
from fakes import FakeHost, SilentDisplay
from worlds import settings

from mipo_bench.harness.cluster.engine import ClusterBackend, RemoteGenerator, cluster_backend_maker, received
from mipo_bench.harness.cluster.pool import HostLostError, Pool
from mipo_bench.harness.cluster.wire import Facts, Failed, Piece, Trained
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.hashing import model_digest
from mipo_bench.harness.errors import ClusterError, ModelError
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.protocols import LikelihoodRequest, Request
from mipo_bench.harness.run.on_cluster import run_on_hosts
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.run.stages.helpers import HostThreads
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Decoding
from mipo_bench.reports.records.report import Report

BASE = model_digest(embedded_folder())
FACTS = Facts(BASE, Placement(), {"device": "cpu", "cores": 2})
CONFIG = settings(tasks=["arithmetic"], baselines=["plain"], recipes=["mipo-random", "sft-self"], seeds=3)
ARMS = 6


class Cluster:
    """A store and a pool of hosts. `lines` are what the user sees."""

    def __init__(self, folder: Path, *hosts: FakeHost, patience: float = 10.0) -> None:
        self.folder, self.lines = folder, list[str]()
        self.pool = Pool(patience, self.lines.append)
        for host in hosts:
            self.pool.add(host, FACTS)

    def run(self, config: RunConfig = CONFIG) -> Report:
        with closing(Store(self.folder)) as store:
            backend = cluster_backend_maker(config, self.pool, lambda *_: None)(store)
            display = SilentDisplay()
            report = run_on_hosts(
                RunContext(config, make_plan(config), store, backend, display), {}, self.pool
            ).execute()
        self.lines += display.lines
        return report


def fake(name: str, *lost_at: int, kind: str = "") -> FakeHost:
    """A host that is lost at these of its calls, of this kind only if one is given."""
    return FakeHost(name, BASE, lambda number, called: number in lost_at and called.startswith(kind))


def parts(report: Report) -> dict[str, object]:
    return report.model_dump(exclude={"created", "digest", "provenance"})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A run on one host."""
    return Cluster(tmp_path_factory.mktemp("store"), fake("a")).run()


def test_one_host_computes_everything(undisturbed: Report) -> None:
    assert not undisturbed.failures
    assert len(undisturbed.checkpoints) == ARMS
    assert "a note on" in " ".join(undisturbed.notes)
    assert undisturbed.provenance.hardware == {"device": "cpu", "cores": 2, "hosts": 1, "lost_hosts": 0}


def test_three_hosts_share_the_work_and_the_report_is_the_same(undisturbed: Report, tmp_path: Path) -> None:
    together = Barrier(3, timeout=30)

    class Waiting(FakeHost):
        """A host whose trainings wait until three of them are running."""

        def train(self, arm, data):  # type: ignore[no-untyped-def]
            together.wait()
            yield from super().train(arm, data)

    hosts = [Waiting(name, BASE) for name in "abc"]
    assert parts(Cluster(tmp_path, *hosts).run()) == parts(undisturbed)
    assert all(host.calls.count("answer") for host in hosts)
    assert sum(host.calls.count("train") for host in hosts) == ARMS  # each once


def test_checkpoints_in_a_folder_that_all_see_change_nothing(undisturbed: Report, tmp_path: Path) -> None:
    root, hosts = tmp_path / "shared", [fake("a"), fake("b")]
    root.mkdir()
    for host in hosts:
        host.shared = root
    cluster = Cluster(tmp_path / "store", *hosts)
    assert parts(cluster.run()) == parts(undisturbed)
    assert parts(cluster.run()) == parts(undisturbed), "the links in the store hold"
    weights = list((tmp_path / "store" / "checkpoints").rglob("model.safetensors"))
    assert len(weights) == ARMS
    assert all(file.is_symlink() and file.resolve().is_relative_to(root) for file in weights)


@pytest.mark.parametrize("kind", ["answer", "train", "piece", "likelihoods"])
def test_the_report_is_the_same_after_losses(kind: str, undisturbed: Report, tmp_path: Path) -> None:
    """Two of three hosts are lost at their first call of this kind, such as in the middle of a checkpoint."""
    seen = dict.fromkeys("ab", 0)

    def host(name: str) -> FakeHost:
        def lose(_: int, called: str) -> bool:
            seen[name] += called == kind
            return called == kind and seen[name] == 1

        return FakeHost(name, BASE, lose)

    cluster = Cluster(tmp_path, host("a"), host("b"), fake("c"))
    report = cluster.run()
    assert parts(report) == parts(undisturbed)
    assert report.provenance.hardware["lost_hosts"] == sum(count > 0 for count in seen.values()) >= 1
    assert sum("is lost at" in line for line in cluster.lines) == report.provenance.hardware["lost_hosts"]
    assert not list((tmp_path / "checkpoints").glob("new-*"))


def test_an_arm_that_loses_three_hosts_fails_and_the_others_complete(undisturbed: Report, tmp_path: Path) -> None:
    class Poisoned(FakeHost):
        """A host whose process does not survive one of the trainings."""

        def train(self, arm, data):  # type: ignore[no-untyped-def]
            self.lose = lambda *_: (arm.recipe, arm.train_seed) == ("mipo-random", 1)
            yield from super().train(arm, data)

    cluster = Cluster(tmp_path, *(Poisoned(str(n), BASE) for n in range(4)))
    report = cluster.run()
    assert [(f.method, f.train_seed, f.stage, f.error) for f in report.failures] == [
        ("mipo-random", 1, "training", "StageError")
    ]
    assert "ended 3 times; out of memory?" in report.failures[0].message
    assert report.provenance.hardware["lost_hosts"] == 3
    assert len(report.checkpoints) == ARMS - 1


def test_a_training_that_diverges_is_tried_once_and_is_a_failure(tmp_path: Path) -> None:
    hosts = [fake(name) for name in "ab"]
    for host in hosts:
        host.diverging = ("sft-self", 0)
    report = Cluster(tmp_path, *hosts).run()
    assert [(f.method, f.train_seed, f.stage, f.error, f.message) for f in report.failures] == [
        ("sft-self", 0, "training", "TrainingError", "the loss is nan at step 1")
    ]
    assert sum(host.calls.count("train") for host in hosts) == ARMS


def test_without_any_host_the_run_ends_and_the_same_command_goes_on(undisturbed: Report, tmp_path: Path) -> None:
    first = FakeHost("a", BASE, lambda number, called: called == "train" and number > 12)
    with pytest.raises(ClusterError, match="the same command goes on"):
        Cluster(tmp_path, first, patience=0.05).run()
    assert 0 < first.calls.count("train") < ARMS
    second = fake("b")
    assert parts(Cluster(tmp_path, second).run()) == parts(undisturbed)
    assert second.calls.count("train") == ARMS - first.calls.count("train") + 1


def test_two_drivers_on_one_store(undisturbed: Report, tmp_path: Path) -> None:
    hosts = [fake(name) for name in "abcd"]
    with ThreadPoolExecutor(2) as executor:
        runs = [executor.submit(Cluster(tmp_path, *pair).run) for pair in (hosts[:2], hosts[2:])]
        assert [parts(run.result()) == parts(undisturbed) for run in runs] == [True, True]
    assert sum(host.calls.count("train") for host in hosts) == ARMS


def test_arms_that_another_driver_computes_are_left_to_it(tmp_path: Path) -> None:
    host, plan = fake("a"), make_plan(CONFIG)
    cluster = Cluster(tmp_path, host)
    with closing(Store(tmp_path)) as store, closing(Store(tmp_path)) as other:
        backend = ClusterBackend(CONFIG, embedded_folder(), store, cluster.pool)
        helpers = HostThreads(RunContext(CONFIG, plan, store, backend, SilentDisplay()), backend.folder, cluster.pool)
        arms = plan.arms_of("arithmetic", trained=True)
        other.claims.take([arm.method for arm in arms[:1]])
        helpers({arm.method: (plan.tasks[0], arm) for arm in (arms[0], arms[-1])})
    assert arms[0].method != arms[-1].method
    assert host.calls.count("train") == 1


def test_a_stream_that_ends_early_is_a_lost_host(tmp_path: Path) -> None:
    with pytest.raises(HostLostError, match="in the middle of a checkpoint"):
        received([Piece("model.safetensors", 0, b"half")], tmp_path)


def generator(pool: Pool, weights: str, folder: Path | None = None) -> RemoteGenerator:
    return RemoteGenerator(folder or embedded_folder(), "key", Placement(), weights, pool)


def requests(count: int) -> Sequence[Request]:
    return [Request(f"prompt {n}", n, Decoding(8, 0.0, 1.0)) for n in range(count)]


@pytest.mark.parametrize("weights", [BASE, "checkpoint"])
def test_every_position_is_answered_once(weights: str, tmp_path: Path) -> None:
    hosts = [fake("a", 2), fake("b")]
    pool = Cluster(tmp_path, *hosts).pool
    for host in hosts:
        host.models.add("checkpoint")
    asked = requests(1000)
    found = sorted(generator(pool, weights).generate(asked), key=lambda row: row[0])
    assert [position for position, _ in found] == list(range(1000))
    assert all(response.text == f"{weights[:4]} {n} {f'prompt {n}'[-9:]}" for n, response in found)
    texts = [LikelihoodRequest(f"{n}", ("a", "b")) for n in range(7)]
    rows = dict(generator(pool, weights).likelihoods(texts))
    assert {n: len(row) for n, row in rows.items()} == dict.fromkeys(range(7), 2)


def test_no_request_is_no_message(tmp_path: Path) -> None:
    host = fake("a")
    assert list(generator(Cluster(tmp_path, host).pool, BASE).generate([])) == []
    assert host.calls == []


def test_a_host_that_lacks_a_checkpoint_is_sent_it(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_text("weights")
    host = fake("a")
    model = generator(Cluster(tmp_path, host).pool, "checkpoint", tmp_path / "model")
    assert len(list(model.generate(requests(2)))) == 2
    assert host.calls == ["answer", "take", "take", "answer", "answer"]
    assert host.holds == {"checkpoint"}


class Odd(FakeHost):
    """A host that fails, or whose checkpoint comes damaged."""

    def answer(self, weights, requests):  # type: ignore[no-untyped-def]
        return Failed("ModelError", "cannot load the model")

    def train(self, arm, data):  # type: ignore[no-untyped-def]
        for record in super().train(arm, data):
            yield replace(record, folder_digest="0") if isinstance(record, Trained) else record


def test_an_error_of_a_host_has_its_own_type(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot load the model"):
        list(generator(Cluster(tmp_path, Odd("a", BASE)).pool, BASE).generate(requests(3)))


def test_a_checkpoint_that_comes_damaged_is_not_recorded(tmp_path: Path) -> None:
    class Damaging(Odd):
        answer = FakeHost.answer

    report = Cluster(tmp_path, Damaging("a", BASE)).run()
    assert {failure.message for failure in report.failures} == {"the checkpoint came damaged from its host"}
    assert not report.checkpoints
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_driver_with_another_model_is_refused(tmp_path: Path) -> None:
    pool = Pool(1, lambda _: None)
    pool.add(fake("a"), replace(FACTS, model_digest="0123"))
    with closing(Store(tmp_path)) as store, pytest.raises(ClusterError, match=r"another model 'embedded'.* 0123"):
        ClusterBackend(CONFIG, embedded_folder(), store, pool)
