"""`mipo-bench` as a user runs it, with the real embedded model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from real_runs import ENVIRONMENT, SMALL, comparable, mipo

from mipo_bench.harness.cli import main
from mipo_bench.reports.records.report_file import load_report


def called(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    done = mipo(*SMALL, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.training
def test_a_run_writes_its_report(finished: Path) -> None:
    report = load_report(finished / "mipo-bench-report")
    assert [(a.method, a.train_seed) for a in report.arms] == [
        ("chain-of-thought", None),
        ("few-shot", None),
        ("plain", None),
        ("plain (A/A)", None),
        ("mipo-random", 0),
        ("mipo-random", 1),
    ]
    assert all(c.lineage["curve"][0]["loss"] == pytest.approx(0.6931, abs=1e-3) for c in report.checkpoints)
    assert len({a.model_digest for a in report.arms}) == 3
    assert "mipo-random" in (finished / "mipo-bench-report" / "report.md").read_text()


@pytest.mark.training
def test_the_same_command_again_reuses_everything(finished: Path) -> None:
    before = load_report(finished / "mipo-bench-report")
    done = mipo(*SMALL, folder=finished)
    assert done.returncode == 0
    assert "tok/s" not in done.stderr
    assert "steps" not in done.stderr
    assert comparable(load_report(finished / "mipo-bench-report")) == comparable(before)


@pytest.mark.training
@pytest.mark.parametrize("more", [[], ["--set", "alpha=0.1"]])
def test_a_repeat_loads_neither_torch_nor_transformers(more: list[str], finished: Path) -> None:
    """An unchanged run, and one whose tests alone are computed again."""
    done = light([*SMALL, *more], finished)
    assert done.returncode == 0, done.stderr
    assert ("nothing has changed" in done.stderr) == (not more)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["--help"], ["list"], ["run", "--dry-run"], ["show", str(ROOT / "mipo-bench-report")]]
)
def test_light_commands_never_import_torch(command: list[str], tmp_path: Path) -> None:
    done = light(command, tmp_path)
    assert done.returncode == 0, done.stderr


def light(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, which fails if it has imported a heavy package."""
    code = (
        "import sys\nfrom mipo_bench.harness.cli import main\n"
        f"try:\n    main({command!r})\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'transformers', 'trl', 'datasets', 'peft'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False, env=ENVIRONMENT
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "maths"], "unknown suite 'maths'. Did you mean 'math'?"),
        (["--task", "persna"], "unknown task 'persna'. Did you mean 'persona'"),
        (["--baselines", "fewshot"], "unknown baseline 'fewshot'. Did you mean 'few-shot'?"),
        (["--recipes", "mipo-randm"], "unknown recipe 'mipo-randm'. Did you mean 'mipo-random'"),
        (["--set", "train.learning_rate=1"], "unknown key in section 'train': 'learning_rate'"),
        (["--limit", "0"], "limit = 0"),
        (["--limit", "-5"], "limit = -5"),
        (["--seeds", "0"], "seeds = 0"),
        (["--model", "/no/such/model"], "there is no model folder '/no/such/model'"),
        (["--config", "absent.yaml"], "cannot read the configuration absent.yaml"),
        (["--out", "file/report"], "cannot write to file/report"),
        (["--set", "store=file/store"], "cannot write to file/store"),
        (["--out", "loop"], "loop is not a folder"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("loop").symlink_to("loop")
    assert called("run", *arguments) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert not out
    assert "Traceback" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "loop"]


def test_a_model_without_a_chat_template_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "model.safetensors").write_bytes(b"")
    assert called("run", "--task", "preferences", "--model", str(folder)) == 2
    assert "no tokenizer" in capsys.readouterr().err
    (folder / "tokenizer_config.json").write_text("{}")
    assert called("run", "--task", "preferences", "--model", str(folder)) == 2
    assert "no chat template" in capsys.readouterr().err


@pytest.mark.slow
def test_weights_that_are_damaged_are_refused(tmp_path: Path) -> None:
    from mipo_bench.harness.generators.model_folder import embedded_folder

    folder = tmp_path / "model"
    folder.mkdir()
    for file in embedded_folder().iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes()[: 5000 if file.suffix == ".safetensors" else None])
    done = mipo("run", "--task", "facts", "--model", "model", "--limit", "2", "--recipes", "none", folder=tmp_path)
    assert done.returncode == 2
    assert "cannot load the model" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mipo-bench-report").exists()


def test_a_report_of_a_newer_schema_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.json"
    for text, message in (
        ('{"schema_version": "3.0"}', "report schema 3.0; this mipo-bench reads up to 2.x"),
        ('{"schema_version": "1.0"}', "is damaged"),
        ("{", "cannot read the report"),
        ("[]", "is not a mipo-bench report"),
    ):
        file.write_text(text)
        assert called("show", str(file)) == 2
        assert message in capsys.readouterr().err
    assert called("show", str(tmp_path / "absent")) == 2
    assert "mipo-bench run" in capsys.readouterr().err


def test_an_unknown_command_or_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("runn") == 2
    assert called("run", "--sute", "all") == 2
    assert "Traceback" not in capsys.readouterr().err
