"""What is refused with a cluster: one message, exit code 2, and nothing written."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import pytest

from mipo_bench.harness.cli import main

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
