"""Models of other architectures, from a folder to the report: prompting, training, evaluation of the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real_models import ARCHITECTURES, WITHOUT_PAD, make_model
from transformers import AutoTokenizer

from mipo_bench.harness.cli import main
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.types import Message
from mipo_bench.reports.records.report_file import load_report

pytestmark = pytest.mark.training
SETTINGS = ["decoding.max_new_tokens=200", "pairs.limit=24", "train.lr=1e-3", "train.batch_size=8", "threads=1"]


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_a_run_goes_from_prompts_to_a_trained_checkpoint(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = make_model(architecture, tmp_path / "model")
    command = ["run", "--model", str(model), "--task", "persona", "--baselines", "profile", "--seeds", "1"]
    command += ["--recipes", "mipo-random", "--limit", "6", *(part for s in SETTINGS for part in ("--set", s))]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    report = load_report(tmp_path / "mipo-bench-report")
    assert (stopped.value.code, report.failures) == (0, [])
    assert [a.method for a in report.arms] == ["profile", "profile (A/A)", "mipo-random"]
    assert all(not a.failed for a in report.arms)
    lineage = report.checkpoints[0].lineage
    assert lineage["pairs"]["used"] >= 4
    assert lineage["curve"][0]["loss"] == pytest.approx(0.6931, abs=0.01)
    assert report.checkpoints[0].digest != report.model.digest


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_user_is_always_in_the_prompt(architecture: str, tmp_path: Path) -> None:
    model = make_model(architecture, tmp_path)
    assert (AutoTokenizer.from_pretrained(model).pad_token is None) == (architecture in WITHOUT_PAD)
    prompt = HFGenerator(model, "digest", Placement()).render(
        [Message("system", "likes chess"), Message("user", "ask")], "likes chess"
    )
    assert "likes chess" in prompt.text
    assert [m.role for m in prompt.messages] == (["user"] if architecture == "gemma2" else ["system", "user"])


def test_prompts_longer_than_the_window_are_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = make_model("llama", tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 300}))
    command = ["run", "--model", str(model), "--task", "persona", "--limit", "3", "--recipes", "none"]
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--set", "decoding.max_new_tokens=8", "--set", "threads=1"])
    assert stopped.value.code == 2  # the start-up check says so before anything is computed
    assert "few-shot" in capsys.readouterr().err
    assert not (tmp_path / "mipo-bench-report").exists()
