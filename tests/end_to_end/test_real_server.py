"""Real engines behind `--backend`: `transformers serve` on localhost, and lm-eval's own, on the embedded model."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mipo_bench.harness.cli import main
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import load_report

START_SECONDS = 90


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's address, up to /v1."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(embedded_folder(), folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "transformers.cli.transformers", "serve", "model", "--port", str(port), "--host", "127.0.0.1"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "home")}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command, "--device", "cpu"], cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
        else:
            return
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


def run(folder: Path, *arguments: str) -> Report:
    """Run two prompting arms with greedy decoding."""
    folder.mkdir()
    fixed = ["--task", "arithmetic", "--baselines", "plain,few-shot", "--limit", "8", "--out", str(folder / "report")]
    settings = ["decoding.temperature=0", f"store={folder / 'store'}", "threads=1"]
    with pytest.raises(SystemExit) as stop:
        main(["run", *fixed, *arguments, *(part for s in settings for part in ("--set", s))])
    assert not stop.value.code
    return load_report(folder / "report")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of the same model in this process."""
    return run(tmp_path_factory.mktemp("own") / "run", "--recipes", "none")


def scores(report: Report) -> dict[str, list[float]]:
    return {arm.method: arm.scores for arm in report.arms}


@pytest.mark.training
def test_prompting_arms_of_a_real_server_score_as_the_model_does_here(server: str, own: Report, tmp_path: Path) -> None:
    address = f"backend_args.base_url={server}"
    report = run(tmp_path / "run", "--backend", "openai", "--model", "model", "--set", address)
    assert scores(report) == scores(own)
    assert {arm.method for arm in report.arms} == {"plain", "few-shot"}
    assert all(n > 0 for arm in report.arms for n in arm.n_tokens)
    assert report.model.backend == "openai"
    assert not report.failures


@pytest.mark.training
def test_the_completions_engine_of_lm_eval_answers_through_the_same_server(
    server: str, own: Report, tmp_path: Path
) -> None:
    arguments = {
        "base_url": f"{server}/completions",
        "tokenizer": str(embedded_folder()),
        "tokenizer_backend": "huggingface",
        "tokenized_requests": "false",
    }
    settings = [part for name, value in arguments.items() for part in ("--set", f"backend_args.{name}={value}")]
    report = run(tmp_path / "run", "--backend", "local-completions", "--model", "model", *settings)
    assert scores(report) == scores(own)


@pytest.mark.training
def test_the_hf_engine_of_lm_eval_scores_and_trains_as_transformers_does(own: Report, tmp_path: Path) -> None:
    report = run(tmp_path / "run", "--backend", "hf", "--recipes", "mipo-random", "--seeds", "1")
    trained = scores(report).pop("mipo-random")
    assert {method: s for method, s in scores(report).items() if method != "mipo-random"} == scores(own)
    assert len(trained) == 8
    assert report.checkpoints[0].digest != report.model.digest
    assert report.model.backend == "hf"
