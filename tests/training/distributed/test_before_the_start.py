"""Several processes for one training: keys, and everything that is refused before the first computation."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import training

from mipo_bench.harness.backends.hf import checkpoint_key
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig, TrainConfig
from mipo_bench.harness.errors import ConfigError, ModelError, TrainingError
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.run.environment import prepare_process
from mipo_bench.harness.run.launch import Processes
from mipo_bench.harness.run.session import prepare
from mipo_bench.harness.run.workers import worker_count
from mipo_bench.harness.training.distributed.accelerate_file import accelerate_values, expected_type
from mipo_bench.harness.training.distributed.check import check_training
from mipo_bench.harness.training.memory import Devices, training_bytes
from mipo_bench.harness.training.ranks import under_all_names, whole_batches
from mipo_bench.harness.training.train import with_less_memory

SEVEN_B = 7_615_616_512
H100S = Devices("cuda:0", 4, 80 * 10**9)
CPU = Devices("cpu")


def load(*settings: str, **options: Any) -> RunConfig:
    return load_config(None, ["model=some/model", *settings], options)


def test_both_settings_are_in_the_hash_and_the_key_only_with_several_processes(tmp_path: Path) -> None:
    one, two = load(), load("train.processes=2")
    assert load("train.launch=ddp").result_hash() == one.result_hash()
    assert len({one.result_hash(), two.result_hash(), load("train.processes=2", "train.launch=ddp").result_hash()}) == 3

    def key(**settings: Any) -> str:
        return checkpoint_key(training(2, **settings), ["cpu"])

    file = tmp_path / "zero.yaml"
    file.write_text("distributed_type: FSDP\n")
    keys = [key(), key(processes=2), key(processes=4), key(processes=2, launch="ddp")]
    keys.append(key(processes=2, launch=str(file)))
    file.write_text("distributed_type: FSDP # changed\n")
    keys.append(key(processes=2, launch=str(file)))
    assert len(set(keys)) == 6
    assert key(launch="ddp") == keys[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["train.processes=3"], "train.processes = 3 does not divide train.batch_size = 4"),
        (["train.processes=0"], "train.processes = 0: input should be greater than 0"),
        (["train.processes=2", "processes=2"], "Set processes to 1"),
        (["train.launch=zero2"], "write fsdp2, ddp, or the path of a FILE.yaml"),
    ],
)
def test_settings_that_contradict_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(*settings)


@pytest.mark.parametrize("recipe", ["rlvr", "sami", "infonce"])
def test_other_objectives_are_refused_by_name(recipe: str) -> None:
    options: dict[str, Any] = {"tasks": ["arithmetic"], "recipes": [recipe, "sft-self"]}
    make_plan(load_config(None, [], options))
    with pytest.raises(ConfigError, match=rf"by DPO or SFT only, and not {recipe} \("):
        make_plan(load_config(None, ["train.processes=2"], options))


def test_seven_billion_weights_need_four_gpus_and_one_says_so() -> None:
    with pytest.raises(ModelError, match=r"takes 121\.8 GB before the first batch.* --set train\.processes=2 --set"):
        check_training(SEVEN_B, load(), H100S)
    check_training(SEVEN_B, load("train.processes=4"), H100S)
    with pytest.raises(ModelError, match=r"152\.3 GB on each of 4 devices .*train\.processes=2 --set train\.launch=fs"):
        check_training(SEVEN_B, load("train.processes=4", "train.launch=ddp"), H100S)
    check_training(SEVEN_B, load("train.method=lora"), H100S)
    check_training(SEVEN_B, load(recipes=[]), H100S)


def test_a_model_that_fits_nowhere_is_refused_without_a_remedy_that_does_not_help() -> None:
    with pytest.raises(ModelError) as caught:
        check_training(10**12, load("train.processes=4", "train.method=lora"), H100S)
    assert "with LoRA takes 1000.0 GB on each of 4 devices" in str(caught.value)
    assert str(caught.value).endswith("Take a smaller model, or set recipes to none.")


def test_memory_of_each_device_follows_from_what_the_processes_share() -> None:
    each = [
        training_bytes(1000, TrainConfig(processes=n, launch=launch, method=method))
        for method in ("full", "lora")
        for n, launch in ((1, "fsdp2"), (4, "fsdp2"), (4, "ddp"), (4, "mine.yaml"))
    ]
    assert each == [16_000, 4_000, 20_000, 0, 4_000, 1_000, 4_000, 0]


@pytest.mark.parametrize(
    ("settings", "devices", "message"),
    [
        ([], CPU, r"'fsdp2' needs GPUs, and the device is cpu\. Give --set train\.launch=ddp"),
        ([], Devices("cuda:0", 1, 10**12), r"sees 1 GPU \(CUDA_VISIBLE_DEVICES\).* lower train\.processes"),
        (["device=cuda:1"], Devices("cuda:1", 4, 10**12), "names one device; set device to auto"),
        (["train.launch=ddp"], Devices("mps"), "'mps' trains in one process only"),
        (["train.launch=absent.yaml"], H100S, r"'absent\.yaml': it cannot be read: .*No such file"),
    ],
)
def test_devices_that_cannot_train_as_told_are_refused(settings: list[str], devices: Devices, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_training(1000, load("train.processes=2", *settings), devices)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "does not hold keys and values"),
        ("distributed_type: 'NO'", "distributed_type is 'NO', it must be one of MULTI_GPU, FSDP, DEEPSPEED"),
        ("distributed_type: FSDP\nnum_processes: 8", r"num_processes is 8, but train\.processes = 2"),
        ("distributed_type: FSDP\nnum_machines: 2", "num_machines is 2, but a training uses one machine"),
        ("distributed_type: DEEPSPEED", "DeepSpeed is not installed"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_file_for_other_processes_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"{message}.* Write the file with `accelerate config"):
        accelerate_values(TrainConfig(processes=2, launch=str(file)))


def test_a_file_of_the_user_keeps_its_values_and_gets_our_processes(tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text("distributed_type: FSDP\nmain_process_port: 29500\nfsdp_config: {fsdp_version: 1}\n")
    settings = TrainConfig(processes=2, launch=str(file))
    values = accelerate_values(settings)
    assert values["fsdp_config"] == {"fsdp_version": 1}
    assert (values["num_processes"], values["main_process_port"], values["machine_rank"]) == (2, 0, 0)
    assert expected_type(settings, gpu=True) == "FSDP"
    ddp = TrainConfig(processes=2, launch="ddp")
    assert [expected_type(ddp, gpu=gpu) for gpu in (True, False)] == ["MULTI_GPU", "MULTI_CPU"]


def test_a_run_is_one_process_that_sees_every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = load_config(None, ["train.processes=2", "train.launch=ddp"], {"tasks": ["arithmetic"]})
    assert worker_count(embedded) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    prepare_process(embedded, Processes())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2,3"
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"started 2 times .* Start it without a launcher"):
        prepare(embedded)


def test_pairs_are_cut_to_whole_batches_for_several_processes_only() -> None:
    two = training(2, processes=2)
    assert whole_batches(list(range(22)), two) == (list(range(16)), {"last batch not full": 6})
    assert whole_batches(list(range(16)), two) == (list(range(16)), {"last batch not full": 0})
    assert whole_batches(list(range(22)), training(2)) == (list(range(22)), {})
    with pytest.raises(TrainingError, match=r"7 examples are fewer than train\.batch_size = 8"):
        whole_batches(list(range(7)), two)


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Linear(2, 2, bias=False)
        self.head = torch.nn.Linear(2, 2, bias=False)
        self.head.weight = self.embed.weight


def test_tied_weights_are_one_tensor_whichever_names_an_engine_gives() -> None:
    ones, twos = torch.ones(2, 2), torch.full((2, 2), 2.0)
    both = {"embed.weight": ones, "head.weight": ones.clone()}
    assert under_all_names(Tied(), both).keys() == under_all_names(Tied(), {"embed.weight": ones}).keys() == both.keys()
    with pytest.raises(TrainingError, match=r"embed\.weight and head\.weight are tied"):
        under_all_names(Tied(), {"embed.weight": ones, "head.weight": twos})
    with pytest.raises(TrainingError, match=r"lack embed\.weight"):
        under_all_names(Tied(), {})


def test_parts_divide_the_batch_of_each_process() -> None:
    job = replace(training(2, processes=2), gradient_accumulation_steps=2)
    error = torch.OutOfMemoryError("CUDA out of memory")
    assert with_less_memory(job, error).gradient_accumulation_steps == 4
    with pytest.raises(TrainingError, match="out of memory"):
        with_less_memory(replace(job, gradient_accumulation_steps=4), error)
