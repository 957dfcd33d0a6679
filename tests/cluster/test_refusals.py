"""What is refused with a cluster: one message, exit code 2, and nothing written."""

from __future__ import annotations

import socket
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from mipo_bench.harness.cli import main
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.run.on_cluster import examine_cluster
from mipo_bench.harness.run.preflight import examine

SMALL = ["run", "--task", "arithmetic", "--limit", "6", "--baselines", "plain", "--recipes", "none"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*SMALL, *arguments])
    out, errors = capsys.readouterr()
    assert (stop.value.code, out) == (2, ""), errors
    assert "Traceback" not in errors
    assert not list(Path.cwd().iterdir())
    return errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cluster", "ray://head:10001"], "Ray Client is not supported"),
        (["--cluster", "ray:head"], "ray:HOST:PORT"),
        (["--cluster", "ray:head:0"], "cluster.address = 'ray:head:0'"),
        (["--cluster", "slurm"], "ray:HOST:PORT"),
        (["--cluster", ""], "ray:HOST:PORT"),
        (["--set", "cluster.patience=0"], "cluster.patience"),
        (["--set", "cluster.hosts=-1"], "cluster.hosts"),
        (["--cluster", "ray", "--set", "processes=2"], "processes = 2: a run on a cluster is one process"),
        (["--cluster", "ray", "--recipes", "rlvr"], "rlvr cannot be trained on a cluster"),
        (["--cluster", "ray", "--backend", "hf", "--model", "embedded"], "runs models by transformers"),
        (["--cluster", "ray", "--judge", "some/model"], "Serve it"),
    ],
)
def test_settings_that_do_not_go_together(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(capsys, *arguments)


def test_a_launcher(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert "without torchrun" in refusal(capsys, "--cluster", "ray")


def test_ray_is_not_installed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'mipo-bench[ray]'" in refusal(capsys, "--cluster", "ray")


def test_the_doctor_says_why_a_cluster_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(load_config(None, ["cluster.address=ray:127.0.0.1:1"], {"device": "cuda:9"}))
    assert next(found).what == "packages"
    cluster, device = next(found), next(found)
    assert (cluster.what, cluster.state, device.what, device.state) == ("cluster", "fail", "device", "warn")
    assert "no Ray cluster answers at 127.0.0.1:1" in cluster.text
    monkeypatch.setitem(sys.modules, "ray", None)
    _, cluster = islice(examine(load_config(None, ["cluster.address=ray"], {})), 2)
    assert (cluster.what, cluster.state) == ("cluster", "fail")
    assert "pip install 'mipo-bench[ray]'" in cluster.text


def test_the_doctor_starts_no_cluster() -> None:
    found = examine_cluster(load_config(None, ["cluster.address=ray"], {}))
    assert (found.state, found.text.partition(": ")[0]) == ("ok", "RAY_ADDRESS is not set")


def test_nothing_listens(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # it never listens
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        began = time.monotonic()
        message = refusal(capsys, "--cluster", f"ray:{address}")
        monkeypatch.setenv("RAY_ADDRESS", address)
        again = refusal(capsys, "--cluster", "ray")
    assert f"no Ray cluster answers at {address}" in message
    assert message == again
    assert time.monotonic() - began < 15


def test_ray_client_in_the_environment(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert "RAY_ADDRESS = 'ray://head:10001'" in refusal(capsys, "--cluster", "ray")
