"""Real DPO on the embedded model for a few steps."""

from __future__ import annotations

import json
import math
import shutil
import weakref
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from mipo_bench.harness.backends.hf import HFBackend, checkpoint_key
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.core.hashing import model_digest
from mipo_bench.harness.errors import StorageError, TrainingError
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import Pair, Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.training import dpo
from mipo_bench.harness.training.dpo import check_loss
from mipo_bench.harness.training.job import OnStep, Prepared, Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.train import storage_errors, train, with_less_memory
from mipo_bench.harness.types import Decoding

pytestmark = pytest.mark.training
FOLDER = model_folder.embedded_folder()
PLUGINS = load_plugins()
ITEMS = PLUGINS.tasks["persona"].items("train")[:16]
PROFILE = PLUGINS.baselines["profile"]
SETTINGS = TrainConfig(lr=1e-3, batch_size=8, max_length=512)


def pair_set() -> PairSet:
    task = PLUGINS.tasks["persona"]
    pairs = [Pair(i.id, PROFILE.messages(i), task.gold(i), task.wrong(i)) for i in ITEMS]
    return PairSet(tuple(pairs), {"identical": 1}, "digest")


def training(settings: TrainConfig = SETTINGS, seed: int = 0) -> Training:
    placement = Placement("cpu", "float32", threads=1)
    return Training(FOLDER, model_digest(FOLDER), "persona", "mipo-random", seed, pair_set(), settings, placement)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
    return dict(model.named_parameters())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("full")
    train(training(), out, lambda step, total: None)
    return out


def test_everything_that_changes_a_training_changes_its_key() -> None:
    base = training()
    others = [
        replace(base, base_digest="other"),
        replace(base, task="other"),
        replace(base, recipe="mipo-missing"),
        replace(base, seed=1),
        replace(base, data=replace(base.data, digest="other")),
        replace(base, end_token="<|end|>"),
        replace(base, placement=Placement("cpu", "bfloat16", threads=1)),
        *(
            replace(base, settings=replace_settings(**{k: v}))
            for k, v in {"lr": 2e-3, "beta": 0.2, "epochs": 2.0}.items()
        ),
    ]
    keys = {checkpoint_key(t, ["cpu", "float32"]) for t in (base, *others)}
    assert len(keys) == 1 + len(others)
    assert checkpoint_key(base, ["cuda", "float32"]) not in keys
    assert checkpoint_key(replace(base, base=Path("elsewhere")), ["cpu", "float32"]) in keys


def test_every_weight_moved_and_the_base_model_did_not(trained: Path) -> None:
    before, after = weights(FOLDER), weights(trained)
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert model_digest(trained) != model_digest(FOLDER)


def test_the_checkpoint_is_an_ordinary_folder(trained: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained)
    base = AutoTokenizer.from_pretrained(FOLDER)
    assert tokenizer.get_vocab() == base.get_vocab()
    assert tokenizer.chat_template == base.chat_template
    assert model_folder.resolve_model(str(trained), trained) == trained


def test_the_lineage_tells_how_it_was_made(trained: Path) -> None:
    lineage = json.loads((trained / "lineage.json").read_text())
    curve = lineage["curve"]
    assert [p["step"] for p in curve] == [1, 2]
    assert curve[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert curve[1]["loss"] < curve[0]["loss"]
    assert curve[1]["margin"] > 0
    assert {"accuracy", "logp_chosen", "logp_rejected", "grad_norm", "lr"} <= curve[0].keys()
    assert lineage["pairs"] == {"digest": "digest", "used": 16, "too_long": 0, "discarded": {"identical": 1}}
    assert lineage["base_digest"] == model_digest(FOLDER)
    pairs = [json.loads(line) for line in (trained / "pairs.jsonl").read_text().splitlines()]
    assert [p["chosen"] for p in pairs] == [p.chosen for p in pair_set().pairs]


def test_the_trained_prompt_is_the_prompt_that_is_evaluated(trained: Path) -> None:
    """trl's rendering of a pair must begin with the harness's rendering of the prompt, and end the turn."""
    from mipo_bench.harness.generators.chat_template import render

    tokenizer = AutoTokenizer.from_pretrained(trained)
    pair = pair_set().pairs[0]
    prompt = render(tokenizer, pair.prompt, None).text
    chat = [{"role": m.role, "content": m.content} for m in pair.prompt]
    whole = tokenizer.apply_chat_template([*chat, {"role": "assistant", "content": pair.chosen}], tokenize=False)
    assert whole == prompt + pair.chosen + tokenizer.eos_token


def test_the_same_seed_gives_the_same_weights_and_another_does_not(trained: Path, tmp_path: Path) -> None:
    for seed, name in ((0, "again"), (1, "other")):
        (tmp_path / name).mkdir()
        train(training(seed=seed), tmp_path / name, lambda step, total: None)
    assert model_digest(tmp_path / "again") == model_digest(trained)
    assert model_digest(tmp_path / "other") != model_digest(trained)


def test_lora_is_merged_into_an_ordinary_folder(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    train(training(replace_settings(method="lora", lora_rank=4)), tmp_path, lambda *step: steps.append(step))
    before, after = weights(FOLDER), weights(tmp_path)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("proj" in name for name in moved)
    assert list(dict.fromkeys(steps)) == [(0, 2), (1, 2), (2, 2)]
    assert json.loads((tmp_path / "lineage.json").read_text())["curve"][0]["loss"] == pytest.approx(
        math.log(2), abs=1e-4
    )


def replace_settings(**changes: object) -> TrainConfig:
    return SETTINGS.model_copy(update=changes)


def test_pairs_that_are_too_long_are_counted(tmp_path: Path) -> None:
    job = training(replace_settings(max_length=400))
    first = pair_set().pairs[0]
    long_prompt = replace(first, prompt=PROFILE.messages(replace(ITEMS[0], prompt="word " * 500)))
    long_answer = replace(first, rejected="word " * 500)
    job = replace(job, data=replace(pair_set(), pairs=(*pair_set().pairs, long_prompt, long_answer)))
    train(job, tmp_path, lambda step, total: None)
    counts = json.loads((tmp_path / "lineage.json").read_text())["pairs"]
    assert (counts["used"], counts["too_long"]) == (16, 2)
    with pytest.raises(TrainingError, match="no pair fits"):
        train(training(replace_settings(max_length=10)), tmp_path, lambda step, total: None)


THINKS = "{{ '<think></think>' if loop.last and message['role'] == 'assistant' else '' }}"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("+ '|>' + message['content']", "+ '|>' }}" + THINKS + "{{ message['content']", "adds text before the chosen"),
        ("{{ '<|assistant|>' }}", "{{ '<|assistant|><think>' }}", "renders the prompt of a finished chat otherwise"),
    ],
)
def test_a_template_that_trains_on_another_text_is_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    base = tmp_path / "model"
    shutil.copytree(FOLDER, base)
    template = base / "chat_template.jinja"
    assert old in template.read_text()
    template.write_text(template.read_text().replace(old, new))
    (tmp_path / "out").mkdir()
    with pytest.raises(TrainingError, match=reason):
        train(replace(training(), base=base), tmp_path / "out", lambda step, total: None)


def test_a_training_that_starts_from_another_loss_is_refused() -> None:
    check_loss(1, math.log(2), SETTINGS)
    check_loss(2, 0.1, SETTINGS)
    check_loss(1, 0.1, replace_settings(loss="ipo"))
    with pytest.raises(TrainingError, match="not log 2"):
        check_loss(1, 0.5, SETTINGS)
    with pytest.raises(TrainingError, match="nan"):
        check_loss(7, math.nan, SETTINGS)


def test_a_diverging_training_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"lower train\.lr"):
        train(training(replace_settings(lr=1e20, batch_size=2)), tmp_path, lambda step, total: None)
    assert not list(tmp_path.iterdir())


def cramped(rows: int, refused: list[int]) -> Callable[[Training, str, OnStep], Prepared]:
    """DPO on a device whose memory is enough for so many texts at once; chosen and rejected are two."""

    def check(module: object, args: object, kwargs: dict[str, torch.Tensor]) -> None:
        if len(kwargs["input_ids"]) > rows:
            refused.append(len(kwargs["input_ids"]))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def prepare(job: Training, scratch: str, on_step: OnStep) -> Prepared:
        prepared = dpo.prepare(job, scratch, on_step)
        cast("torch.nn.Module", prepared.trainer.model).register_forward_pre_hook(check, with_kwargs=True)
        return prepared

    return prepare


def test_out_of_memory_accumulates_gradients_and_trains_the_same(trained: Path, tmp_path: Path) -> None:
    refused: list[int] = []
    train(training(), tmp_path, lambda step, total: None, cramped(4, refused))
    assert refused == [16, 8]
    lineage, whole = (json.loads((folder / "lineage.json").read_text()) for folder in (tmp_path, trained))
    assert lineage["parts"] == 4
    assert "parts" not in whole
    assert [p["step"] for p in lineage["curve"]] == [p["step"] for p in whole["curve"]]
    for ours, theirs in zip(lineage["curve"], whole["curve"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
    after, expected = weights(tmp_path), weights(trained)
    assert all(torch.allclose(after[name], expected[name], atol=2e-4) for name in expected)


def test_a_single_pair_that_is_too_large_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    refused: list[int] = []
    with pytest.raises(TrainingError, match=r"out of memory .*train\.method=lora"):
        train(training(), tmp_path, lambda step, total: None, cramped(1, refused))
    assert refused == [16, 8, 4, 2]


def test_without_a_deterministic_algorithm_it_trains_again_and_the_first_try_leaves_memory(tmp_path: Path) -> None:
    tried, models_made = list[bool](), list[weakref.ref[torch.nn.Module]]()

    def prepare(job: Training, scratch: str, on_step: OnStep) -> Prepared:
        tried.append(job.deterministic)
        prepared = dpo.prepare(job, scratch, on_step)
        models_made.append(weakref.ref(cast("torch.nn.Module", prepared.trainer.model)))
        if job.deterministic:
            raise RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation, but you set ...")
        return prepared

    train(training(), tmp_path, lambda step, total: None, prepare)
    assert tried == [True, False]
    assert json.loads((tmp_path / "lineage.json").read_text())["repeatable"] is False
    assert [made() for made in models_made] == [None, None]


def test_only_the_checkpoint_in_use_is_in_memory(trained: Path, tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        engine = HFBackend(load_config(None, [], {}), FOLDER, Placement(threads=1), store)
        one, two = (engine._generator(folder, name) for folder, name in ((trained, "one"), (trained, "two")))
        asked = [Request("hello", 0, Decoding(2, 0.0))]
        first = list(engine.base.generate(asked)), list(one.generate(asked))
        list(two.generate(asked))
        loaded = ["model" in vars(generator) for generator in (engine.base, one, two)]
        assert loaded == [True, False, True]
        assert (list(engine.base.generate(asked)), list(one.generate(asked))) == first


def test_weights_that_are_no_numbers_after_the_last_step_are_refused(tmp_path: Path) -> None:
    """The loss of every step was finite: only the step after it went astray."""
    settings = SETTINGS.model_copy(update={"lr": 1e38, "batch_size": 16, "warmup": 0.0})
    with pytest.raises(TrainingError, match=r"no numbers after the last step .*lower train\.lr"):
        train(training(settings), tmp_path, lambda step, total: None)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_from_a_training_that_fails(tmp_path: Path) -> None:
    for error in (OSError(28, "No space left on device"), SafetensorError("I/O error: File too large")):
        with pytest.raises(StorageError, match="Make room on its disk"), storage_errors(tmp_path):
            raise error
    with closing(Store(tmp_path)) as store, pytest.raises(ConnectionResetError):
        store.checkpoints.put("key", raise_reset)
    with pytest.raises(KeyError), storage_errors(tmp_path):
        raise KeyError


def raise_reset(folder: Path) -> None:
    raise ConnectionResetError


def test_activation_checkpointing_comes_before_gradient_accumulation() -> None:
    base, error = training(), torch.OutOfMemoryError("CUDA out of memory")
    gpu = replace(base, placement=replace(base.placement, device="cuda"))
    first = with_less_memory(gpu, error)
    assert (first.activation_checkpointing, first.gradient_accumulation_steps) == (True, 1)
    second, on_cpu = with_less_memory(first, error), with_less_memory(base, error)
    assert (second.activation_checkpointing, second.gradient_accumulation_steps) == (True, 2)
    assert (on_cpu.activation_checkpointing, on_cpu.gradient_accumulation_steps) == (False, 2)
