"""The run configuration and the plan: all problems in one message, with the nearest names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mipo_bench.harness.config.loading import load_config, preset_notes
from mipo_bench.harness.config.presets import PRESETS
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError, PluginError
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.plugins.registry import Plugins, load_plugins
from mipo_bench.harness.types import Item, Split, Task
from mipo_bench.reports.records.upgrade import RENAMED_SETTINGS, with_new_names
from mipo_bench.tasks.embedded.arithmetic import Arithmetic


def load(*settings: str, file: Path | None = None, **options: Any) -> RunConfig:
    return load_config(file, settings, options)


def test_the_defaults_are_the_papers_but_for_the_embedded_model() -> None:
    real = load(model="some/model").train
    assert (real.lr, real.beta, real.epochs, real.batch_size, real.warmup) == (5e-7, 0.1, 1, 4, 0.03)
    assert load().train.lr > real.lr
    assert load("train.lr=2e-5").train.lr == 2e-5
    assert load("train.lr=2e-5").train.batch_size == load().train.batch_size


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("seeds: 5\nlimit: 7\ntrain:\n  beta: 0.2\n  method: lora\n")
    config = load("limit=8", "train.beta=0.3", file=file, limit=9)
    assert (config.seeds, config.limit, config.train.beta, config.train.method) == (5, 9, 0.3, "lora")


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("sedes: 5\ntrain:\n  learning_rate: 1\n")
    with pytest.raises(ConfigError) as caught:
        load("train.bta=1", "limit=-3", "nonsense", "decoding.top_p=7", file=file, suite="maths", seeds=0)
    message = str(caught.value)
    for part in (
        "'sedes'. Did you mean 'seeds'",
        "'learning_rate'",
        "'bta'. Did you mean 'beta'",
        "limit = -3",
        "'nonsense'",
        "decoding.top_p = 7",
        "unknown suite 'maths'. Did you mean 'math'",
        "seeds = 0",
    ):
        assert part in message


@pytest.mark.parametrize("limit", ["0", "-1", "1.5", "many", "true", "null1"])
def test_limits_are_positive_whole_numbers(limit: str) -> None:
    with pytest.raises(ConfigError, match=r"limit ="):
        load(f"limit={limit}")


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load(file=tmp_path / "absent.yaml")
    bad = tmp_path / "bad.yaml"
    for text in ("a: &x [1]\nb: *x", "a: &x [*x]", "a: [1", "limit: 2026-13-45", "tasks: " + "[" * 5000 + "]" * 5000):
        bad.write_text(text)
        with pytest.raises(ConfigError, match="not valid YAML"):
            load(file=bad)
    bad.write_text("- 1\n")
    with pytest.raises(ConfigError, match="keys and values"):
        load(file=bad)
    bad.write_text("")
    assert load(file=bad) == load()


def test_a_setting_inside_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot read the value '2026-13-45'"):
        load("limit=2026-13-45")
    with pytest.raises(ConfigError, match="is not a section"):
        load("seeds=3", "seeds.x=1")


def test_where_files_go_does_not_change_the_result_hash() -> None:
    assert load("batch_size=5").result_hash() != load().result_hash()
    assert load(out="elsewhere").result_hash() == load("threads=1").result_hash() == load().result_hash()
    assert load(seeds=2).result_hash() != load().result_hash()
    assert load(first_seed=1).result_hash() != load().result_hash() == load(first_seed=0).result_hash()


def test_unknown_names_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        make_plan(load(tasks=["persna"], baselines=["few-shots"], recipes=["mipo"]))
    message = str(caught.value)
    assert "unknown task 'persna'. Did you mean 'persona'" in message
    assert "unknown baseline 'few-shots'. Did you mean 'few-shot'?" in message
    assert "unknown recipe 'mipo'. Did you mean" in message


def test_the_plan_of_everything() -> None:
    plan = make_plan(load())
    assert [t.task.name for t in plan.tasks] == ["arithmetic", "facts", "persona"]
    trained = {(a.task, a.recipe, a.train_seed) for a in plan.arms if a.recipe}
    assert trained == {
        (task, recipe, seed)
        for task, recipe in [
            ("arithmetic", "mipo-random"),
            ("facts", "mipo-random"),
            ("persona", "mipo-missing"),
            ("persona", "mipo-random"),
        ]
        for seed in range(3)
    }
    noise = [a for a in plan.arms if a.aa_twin]
    assert {a.task for a in noise} == {"arithmetic", "facts", "persona"}
    assert all(a.sample_seed == 1 for a in noise)


def test_suites_limits_and_choices() -> None:
    plan = make_plan(load(suite="math", limit=5, recipes=[], baselines=["few-shot"]))
    (task,) = plan.tasks
    assert (len(task.items), len(task.training_items)) == (5, 0)
    assert task.baselines == ("few-shot", "plain")
    assert not any(a.recipe for a in plan.arms)


def test_greedy_decoding_has_no_noise_floor() -> None:
    assert not any(a.aa_twin for a in make_plan(load("decoding.temperature=0")).arms)


def test_the_reference_can_be_chosen_and_must_apply() -> None:
    plan = make_plan(load("reference={persona: few-shot}", tasks=["persona"]))
    assert plan.tasks[0].reference == "few-shot"
    with pytest.raises(ConfigError, match="does not apply"):
        make_plan(load("reference={persona: plain}", tasks=["persona"]))


def test_a_reference_that_hides_the_context_leaves_nothing_to_contrast() -> None:
    with pytest.raises(ConfigError, match="would contrast nothing"):
        make_plan(load("reference={persona: no-context}", tasks=["persona"]))
    assert make_plan(load("reference={persona: no-context}", tasks=["persona"], recipes=[])).tasks


def test_names_that_apply_to_no_task_of_the_run_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mipo-missing, profile: does not apply to any task of this run"):
        make_plan(load(suite="math", recipes=["mipo-missing"], baselines=["profile"]))


def test_no_baselines_leaves_the_reference() -> None:
    assert make_plan(load(suite="math", baselines=[])).tasks[0].baselines == ("plain",)


class Leaky(Arithmetic):
    """A task that trains on its evaluation items."""

    def items(self, split: Split) -> tuple[Item, ...]:
        return tuple(super().items("eval"))


class Broken(Arithmetic):
    """A task whose data are missing."""

    def items(self, split: Split) -> tuple[Item, ...]:
        raise FileNotFoundError("data.jsonl")


def only(task: Task) -> Plugins:
    return replace(load_plugins(), tasks={task.name: task})


def test_a_task_that_trains_on_its_evaluation_items_is_refused() -> None:
    with pytest.raises(ConfigError, match="trains on 300 of its evaluation prompts"):
        make_plan(load(), only(Leaky()))


def test_a_task_that_cannot_be_read_is_named() -> None:
    with pytest.raises(PluginError, match=r"'arithmetic' cannot be planned: FileNotFoundError: data\.jsonl"):
        make_plan(load(), only(Broken()))


def test_a_preset_lies_beneath_everything_else_and_says_what_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("train: {lr: 0.001}\n")
    paper = load_config(None, [], {"preset": "paper"})
    assert (paper.train.lr, paper.train.batch_size, paper.train.max_length) == (5e-7, 4, 15360)
    assert paper.chat.system_in_user
    assert paper.batch_size == 64  # the embedded model's default stays if the preset sets none
    assert load_config(file, ["seeds=1"], {"preset": "paper"}).train.lr == 0.001
    assert load_config(file, ["seeds=1"], {"preset": "paper"}).seeds == 1
    notes = preset_notes(load_config(None, [], {"preset": "paper", "model": "org/model"}))
    assert "preset paper: train.max_length = 15360 (default 4096)" in notes
    assert "preset paper: judge.protocol = pointwise (default pairwise)" in notes
    assert paper.reference["gsm8k"] == "few-shot"
    assert not any("train.lr" in note for note in notes)  # the default already
    assert preset_notes(load_config(None, [], {})) == []


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'papre'\. Did you mean 'paper'"):
        load_config(None, [], {"preset": "papre"})


@pytest.mark.parametrize(
    "setting",
    [
        "judge.name=openai:m@http://secret12@localhost:1/v1",
        "judge.name=openai:m@http://localhost/v1?key=secret12",
        "judge.name=openai:m@http://secret12@[x",
    ],
)
def test_addresses_with_a_login_are_refused(setting: str) -> None:
    with pytest.raises(
        ConfigError, match=r"judge\.name: write the address without user, password and query"
    ) as refused:
        load_config(None, [setting], {})
    assert "secret12" not in str(refused.value)


def test_a_malformed_judge_with_a_login_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match="write the address without user") as refused:
        load("judge.name=openai:http://secret12@")
    assert "secret12" not in str(refused.value)


OLD = {
    "weight": ("macro", "average"),
    "asking.contrast_weight": (0.25, "cad.weight"),
    "asking.samples": (3, "best_of_n.samples"),
    "asking.temperature": (0.8, "best_of_n.temperature"),
    "asking.top_p": (0.7, "best_of_n.top_p"),
    "judge.by": ("rules", "judge.name"),
    "judge.validated": ("file.json", "judge.validation_file"),
}


def test_an_old_key_is_an_error_that_names_the_new_one(tmp_path: Path) -> None:
    assert {old: new for old, (_, new) in OLD.items()} == RENAMED_SETTINGS
    file = tmp_path / "old.yaml"
    file.write_text("weight: macro\nasking:\n  samples: 3\n  smaples: 4\njudge:\n  by: rules\n  retest: -1\n")
    with pytest.raises(ConfigError) as caught:
        load(*(f"{old}={value}" for old, (value, _) in OLD.items() if old not in ("weight", "judge.by")), file=file)
    lines = str(caught.value).splitlines()
    for old, (_, new) in OLD.items():
        assert f"{old} is now {new}: give the value under that name." in lines
    assert any("unknown configuration key 'asking'" in line for line in lines)  # for the remaining keys
    assert any("judge.retest = -1" in line for line in lines)
    assert len(lines) == len(OLD) + 2
    for old, (value, new) in OLD.items():
        assert load(f"{new}={value}") != load()
        with pytest.raises(ConfigError, match=rf"^{old} is now {new}: give the value under that name\.$"):
            load(f"{old}={value}")


def test_the_presets_use_the_present_names() -> None:
    assert all(load(preset=name).preset == name for name in PRESETS)
    assert all(with_new_names(preset) == (preset, []) for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("model", "backend", "kind", "has_weights"),
    [
        ("embedded", "transformers", "own", True),
        ("org/model", "vllm", "lm-eval", True),
        ("gpt", "local-completions", "lm-eval", False),
        ("gpt", "openai", "openai", False),
        ("answers.jsonl", "transformers", "responses", False),
        ("Answers.JSONL", "transformers", "responses", False),
        ("logs/outputs.json", "transformers", "responses", False),
        ("answers.jsonl.gz", "transformers", "responses", False),
    ],
)
def test_the_source_of_the_answers(model: str, backend: str, kind: str, has_weights: bool) -> None:
    source = load(model=model, backend=backend).source
    assert (source.kind, source.has_weights) == (kind, has_weights)


def test_what_is_named_like_a_key_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"chat\.template\.api_key: its value is, or looks like, a key"):
        load_config(None, ["chat.template.api_key=something"], {})
    assert load_config(None, ["chat.template.bos_token=<s>"], {}).chat.template == {"bos_token": "<s>"}


@pytest.mark.parametrize(
    "setting",
    ["model=hf_abcdefghijklmnopqrstuvwx", "model=https://someone:password1@example.org", "tasks=[correct-horse]"],
)
def test_keys_are_refused_and_not_repeated(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "correct-horse")
    with pytest.raises(ConfigError, match="looks like, a key or password") as refused:
        load_config(None, [setting], {})
    assert setting.partition("=")[2].strip("[]") not in str(refused.value)
    assert "environment variable" in str(refused.value)
