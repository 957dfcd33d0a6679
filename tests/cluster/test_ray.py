"""Runs on a real Ray cluster of two nodes with one core each: equal reports, whatever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
from real_runs import ENVIRONMENT, comparable, mipo

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.run.on_cluster import examine_cluster
from mipo_bench.harness.startup.findings import Finding
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import load_report

pytestmark = pytest.mark.slow
ONE_THREAD = ("--set", "threads=1", "--set", "processes=1")
SMALL = ["run", "--task", "arithmetic", "--limit", "6", "--seeds", "2", "--baselines", "plain", *ONE_THREAD]
REPORT = "mipo-bench-report"


def words_of(process: psutil.Process) -> Sequence[str]:
    """The command of a process; nothing of one that has ended at this moment."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie is one
        return ()


class Nodes:
    """A head without cores and two nodes with one core each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        small = {"include_dashboard": False, "object_store_memory": 80_000_000}
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
        self.nodes: list[Any] = [self.cluster.add_node(num_cpus=1, object_store_memory=80_000_000) for _ in range(2)]

    @property
    def option(self) -> list[str]:
        return ["--cluster", f"ray:{self.cluster.address}"]

    def actors(self) -> Sequence[psutil.Process]:
        """The processes of hosts."""
        raylets = [node.all_processes["raylet"][0].process.pid for node in self.nodes]
        below = [child for pid in raylets for child in psutil.Process(pid).children(recursive=True)]
        return [process for process in below if any("_Actor" in word for word in words_of(process))]

    def kill_node(self) -> None:
        """End a node as a power cut would."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "HOME": str(tmp_path_factory.mktemp("home")),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
        }.items():
            patch.setenv(name, value)
        found = Nodes()
        yield found
        found.cluster.shutdown()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The same run without a cluster."""
    folder = tmp_path_factory.mktemp("local")
    done = mipo(*SMALL, folder=folder)
    assert done.returncode == 0, done.stderr
    return load_report(folder / REPORT)


@contextmanager
def started(folder: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A run in the background. It is ended when the block ends."""
    command = [sys.executable, "-m", "mipo_bench.harness", *SMALL, *arguments]
    auth = {name: os.environ[name] for name in ("HOME", "RAY_AUTH_MODE")}
    with subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, **auth, **variables},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], moment: Callable[[], object]) -> None:
    while not moment():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def wait_for_no_actor(nodes: Nodes) -> None:
    """Hosts end by themselves, soon after their driver."""
    deadline = time.monotonic() + 20
    while nodes.actors():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def checkpoints(folder: Path) -> int:
    """Number of checkpoints that the store has or is receiving."""
    return sum(1 for _ in (folder / ".mipo-bench" / "checkpoints").glob("*"))


def check(process: subprocess.Popen[str], folder: Path, local: Report, lost: set[int]) -> None:
    """Wait for the end, and assert that the report is that of the local run, and alone on the standard output."""
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    report = load_report(folder / REPORT)
    assert comparable(report) == comparable(local)
    assert report.provenance.hardware["lost_hosts"] in lost, errors
    assert out.startswith("model embedded ")
    assert out.splitlines()[-1].startswith(f"Written to {REPORT}/report.json")
    assert "raylet" not in out
    assert "Traceback" not in errors


def test_the_doctor_sees_the_nodes(nodes: Nodes) -> None:
    address = nodes.cluster.address
    one, none = (load_config(None, [f"cluster.address=ray:{address}", f"threads={n}"], {}) for n in (1, 2))
    there = "CPU of a node; 3 nodes have 2"
    assert examine_cluster(one) == Finding(
        "cluster", "ok", f"{address} answers, with room for 2 hosts: one takes 1 {there}"
    )
    found = examine_cluster(none)
    assert (found.state, found.text.partition(". ")[0]) == (
        "warn",
        f"{address} answers, with room for 0 hosts: one takes 2 {there}",
    )


def test_a_host_that_is_killed_while_it_trains_changes_nothing(nodes: Nodes, local: Report, tmp_path: Path) -> None:
    """The files of checkpoints stay in a folder that all nodes see."""
    shared = tmp_path / "shared"
    shared.mkdir()
    with started(tmp_path, *nodes.option, "--set", f"cluster.checkpoints={shared.name}") as process:
        wait_for(process, lambda: checkpoints(tmp_path))
        nodes.actors()[0].kill()
        check(process, tmp_path, local, lost={1})
    links = list((tmp_path / ".mipo-bench" / "checkpoints").rglob("model.safetensors"))
    assert len(links) == len(local.checkpoints)
    assert all(file.is_symlink() and file.resolve().is_relative_to(shared) for file in links)
    assert not list(Path(os.environ["HOME"]).rglob("auth_token"))


def test_a_driver_with_other_versions_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    other = tmp_path / "other" / "scipy-0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: scipy\nVersion: 0.1\n")
    with started(tmp_path, *nodes.option, PYTHONPATH=str(other.parent)) as process:
        out, errors = process.communicate(timeout=100)
    assert (process.returncode, out) == (2, ""), errors
    assert f"has other versions: scipy {version('scipy')} instead of 0.1. Install" in errors


def test_ctrl_c_then_a_driver_and_then_a_node_that_is_killed(nodes: Nodes, local: Report, tmp_path: Path) -> None:
    with started(tmp_path, *nodes.option) as process:
        wait_for(process, lambda: checkpoints(tmp_path))
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), errors
    assert "The same command goes on from here" in errors
    assert "Traceback" not in errors
    wait_for_no_actor(nodes)
    with started(tmp_path, *nodes.option) as process:
        wait_for(process, nodes.actors)
        process.kill()
        process.communicate(timeout=60)
    wait_for_no_actor(nodes)
    with started(tmp_path, *nodes.option) as process:
        wait_for(process, lambda: len(nodes.actors()) == 2 and checkpoints(tmp_path))
        nodes.kill_node()
        check(process, tmp_path, local, lost={0, 1})  # 0 where the host had computed its last arm
