"""The command as a process: Ctrl-C while it starts, a reader that goes away, and closed streams."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_reports import Made
from real_runs import ENVIRONMENT

from mipo_bench.reports.records.report_file import load_report, to_json
from mipo_bench.tasks.embedded.facts import Facts

COMMAND = "from mipo_bench.harness.__main__ import main; print('begins', flush=True); main()"
"""The command line. The interpreter's own start, before the line is printed, is Python's affair."""
BEGIN = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{COMMAND}"
"""The same where the tests themselves are a job in the background, which a shell protects from Ctrl-C."""


def started(*arguments: str, folder: Path, code: str = BEGIN) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", [5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000])
def test_ctrl_c_while_the_command_starts_is_no_traceback(milliseconds: int, tmp_path: Path) -> None:
    with started("run", "--task", "facts", "--set", "processes=1", folder=tmp_path) as process:
        assert process.stdout
        assert process.stdout.readline() == "begins\n"
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in printed) == (130, False), printed


def test_an_interrupt_during_an_import_ends_the_process_whatever_the_module_catches(tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass\n"
    )
    with started("list", "--include", "heavy.py", folder=tmp_path) as process:
        _, printed = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")


def test_a_job_that_a_shell_protects_from_ctrl_c_stays_protected(tmp_path: Path) -> None:
    code = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{COMMAND}"
    with started("list", folder=tmp_path, code=code) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("arguments", [["list"], ["show", "."], ["show", ".", "--format", "json"], ["--help"]])
def test_a_reader_that_goes_away_is_no_error(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(to_json(Made().report()))
    with started(*arguments, folder=tmp_path) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_a_run_whose_reader_goes_away_is_finished_and_stored(tmp_path: Path) -> None:
    rows = [{"item_id": item.id, "arm": "plain", "response": item.target} for item in Facts().items("eval")[:8]]
    (tmp_path / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    code = f"import os; os.dup2(1, 2)\n{BEGIN}"  # 2>&1
    with started(
        "run", "--task", "facts", "--limit", "8", "--model", "answers.jsonl", folder=tmp_path, code=code
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=120)
    assert process.returncode == 0
    assert load_report(tmp_path / "mipo-bench-report").tasks[0].name == "facts"
    assert (tmp_path / ".mipo-bench" / "store.sqlite").is_file()


def test_closed_streams_are_no_bug(tmp_path: Path) -> None:
    command = f"{sys.executable} -m mipo_bench.harness"
    for line, code in (
        (f"{command} list >&-", 0),
        (f"{command} show nothing 2>&-", 2),
        (f"{command} read-answer --task arithmetic - <&-", 2),
    ):
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=ENVIRONMENT, check=False, capture_output=True)
        assert (done.returncode, b"Traceback" in done.stderr) == (code, False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
@pytest.mark.parametrize("command", [["list"], ["read-answer", "--task", "arithmetic", "answer.txt"]])
def test_a_full_disk_behind_the_output_is_one_message(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "answer.txt").write_text("It is 18.")
    code = "from mipo_bench.harness.__main__ import main; main()"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, *command],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            check=False,
            timeout=120,
        )
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1
