"""The tokens of a plan, and the hours that `run --dry-run --gpu` scales from a measured rate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fakes import FakeEngine
from paths import DATA
from real_models import make_model
from worlds import World, guess

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.errors import ConfigError, ModelError
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.startup.cost import Answers, arm_answers, pair_answers
from mipo_bench.harness.startup.gpus import GPUS, MEASUREMENTS, Cluster, nearest_measurement
from mipo_bench.harness.startup.hours import Hours, Rates, planned_hours
from mipo_bench.harness.startup.model_size import ModelSize, model_size

PREFEVAL = {"tasks": ["prefeval"], "data": [str(DATA)], "recipes": ["mipo-missing"], "seeds": 2}


@pytest.mark.parametrize("options", [PREFEVAL, {**PREFEVAL, "recipes": []}])
def test_the_plan_counts_every_response_of_the_run(options: dict[str, object], tmp_path: Path) -> None:
    """Those of the shuffled-profile control too, which asks the reference and the trained arms again."""
    config = load_config(None, [], options)
    plan = make_plan(config)
    planned = Answers()
    for task in plan.tasks:
        arms = [arm_answers(task, arm, plan, config) for arm in plan.arms]
        planned = sum(arms, planned + pair_answers(task, plan, config))
    world = World(tmp_path, FakeEngine(guess, lambda request: f"trained {request.seed}"))
    world.run(config)
    assert world.store.database.execute("SELECT count(*) FROM responses") == [(planned.count,)]


@pytest.mark.parametrize("measured", MEASUREMENTS, ids=lambda m: m.model)
def test_what_was_measured_comes_out_as_it_was_measured(measured: object) -> None:
    m = next(found for found in MEASUREMENTS if found is measured)
    rates = Rates(GPUS[m.gpu], ModelSize(round(m.parameters), m.cache_numbers), m.dtype)
    answers = Answers(m.slots, 0, m.slots * m.columns)
    assert rates.generation(answers) == pytest.approx(answers.new / m.generated, rel=1e-3)
    assert rates.training(6 * 1e6) == pytest.approx(1e6 / m.trained, rel=1e-3)
    assert 0 < m.bandwidth_share < 1
    assert 0 < m.compute_share < 1
    assert nearest_measurement(m.parameters) is m


def test_a_slower_gpu_and_a_larger_model_and_a_wider_format_take_longer() -> None:
    answers = Answers(1000, 800_000, 300_000)
    small, large = ModelSize(1_540_000_000, 14_336), ModelSize(7_600_000_000, 28_672)
    fast, slow = (Rates(GPUS[kind], large, "bfloat16") for kind in ("h100", "l4"))
    assert fast.generation(answers) < slow.generation(answers)
    assert fast.training(1e6) < slow.training(1e6)
    assert Rates(GPUS["h100"], small, "bfloat16").generation(answers) < fast.generation(answers)
    assert fast.generation(answers) < Rates(GPUS["h100"], large, "float32").generation(answers)
    assert fast.generation(Answers()) == 0


def test_arms_go_to_the_first_free_gpu_the_longest_first() -> None:
    hours = Hours(8.0, (3.0, 3.0, 2.0, 2.0, 2.0))
    assert (hours.total, hours.on(1)) == (20.0, 20.0)
    assert hours.on(2) == 4.0 + 7.0  # 3 + 2 + 2 beside 3 + 2
    assert hours.on(8) == 1.0 + 3.0
    assert Hours(6.0, ()).on(3) == 2.0


def test_every_loss_has_a_duration() -> None:
    config = load_config(None, [], {"tasks": ["persona"], "recipes": ["all"], "seeds": 1})
    lines = list(planned_hours(make_plan(config), config, Cluster("h100", 2)))
    assert len(lines) == 6


def test_the_size_of_a_model_is_that_of_its_folder(tmp_path: Path) -> None:
    assert model_size("embedded") == ModelSize(984_192, 2 * 4 * 4 * 32)
    folder = make_model("llama", tmp_path / "llama")
    assert model_size(str(folder)).parameters > 0
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"size of the model .* cannot be read .* no weights in safetensors"):
        model_size(str(folder))
    broken = Path(shutil.copytree(embedded_folder(), tmp_path / "broken"))
    (broken / "config.json").write_text(json.dumps({"model_type": "unheard-of"}))
    with pytest.raises(ModelError, match="cannot be read"):
        model_size(str(broken))


def test_a_model_that_is_nowhere_and_one_that_runs_elsewhere_have_no_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="nobody/nothing' is not known here, and the hub cannot be asked"):
        model_size("nobody/nothing")
    config = load_config(None, [], {"tasks": ["facts"], "model": "m", "backend": "openai"})
    with pytest.raises(ConfigError, match="--gpu estimates a model that runs here, and m"):
        list(planned_hours(make_plan(config), config, Cluster("h100")))
