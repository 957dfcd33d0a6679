"""On a GPU: CUDA graphs, 16-bit numbers, running out of its memory, the same bits each time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from real_models import answers, chats, check_independence, make_model, mixed_requests
from real_runs import comparable, mipo

from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.core.hashing import model_digest
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.inference.layers.attention import AttentionMasks
from mipo_bench.harness.inference.memory import free_memory
from mipo_bench.harness.inference.sampling import sample_tokens
from mipo_bench.harness.inference.slots import SlotBatch
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import Pair
from mipo_bench.harness.training.job import Training
from mipo_bench.harness.training.pairs import PairSet
from mipo_bench.harness.training.train import train
from mipo_bench.harness.types import Decoding, Objective
from mipo_bench.reports.records.report_file import load_report

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
FOLDER = model_folder.embedded_folder()
FORMATS = "float32", "bfloat16"


def placement(dtype: str, batch_size: int = 0) -> Placement:
    return Placement("cuda", dtype, batch_size=batch_size, gpu="some GPU")


@contextmanager
def limited_to(size: int) -> Iterator[None]:
    """Let torch have so many bytes of the GPU."""
    free_memory()
    total = torch.cuda.get_device_properties("cuda").total_memory
    torch.cuda.set_per_process_memory_fraction(size / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        free_memory()


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("batch_size", [0, 32])
def test_an_answer_depends_on_its_own_request_alone(dtype: str, batch_size: int) -> None:
    generator = HFGenerator(FOLDER, "embedded", placement(dtype, batch_size))
    assert generator.decoder.slot_support.cuda_graph
    check_independence(generator, chats(generator, 80))


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma2", "mistral", "gpt_neox"])
def test_answers_are_independent_with_every_architecture_and_decoding(architecture: str, tmp_path: Path) -> None:
    generator = HFGenerator(make_model(architecture, tmp_path), architecture, placement("float32"))
    check_independence(generator, mixed_requests(60))
    assert generator.decoder.slot_support.cuda_graph


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_step_by_a_cuda_graph_gives_the_same_bits(dtype: str) -> None:
    forward = HFGenerator(FOLDER, "embedded", placement(dtype)).decoder.forward
    prompt = tuple(range(20, 60))
    with torch.inference_mode():
        (prefilled,) = forward.prefill([prompt])
        both = [SlotBatch(forward, 64, 128, cuda_graph=cuda_graph) for cuda_graph in (False, True)]
        for slots in both:
            slots.insert(range(64), [prefilled] * 64)
        for step in range(5):
            plain, replayed = (slots.step([100 + step] * 64, [len(prompt) + step] * 64) for slots in both)
            assert torch.equal(plain, replayed)


def test_a_step_that_cannot_be_captured_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = HFGenerator(FOLDER, "embedded", placement("float32", 32))
    plain = AttentionMasks.additive

    def waiting(self: AttentionMasks, queries: torch.Tensor, keys: torch.Tensor) -> object:
        assert int(queries.max()) >= 0  # no capture may wait for the GPU
        return plain(self, queries, keys)

    monkeypatch.setattr(AttentionMasks, "additive", waiting)
    asked = chats(generator, 12)
    assert not generator.decoder.slot_support.cuda_graph
    assert ["no CUDA graph" in note for note in generator.notes] == [True]
    monkeypatch.undo()
    assert [r.text for r in answers(generator, asked)] == [
        r.text for r in answers(HFGenerator(FOLDER, "embedded", placement("float32", 32)), asked)
    ]


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_token_of_a_large_vocabulary_is_sampled_as_if_its_row_were_alone(top_p: float) -> None:
    rows = 64
    logits = (2 * torch.randn(rows, 151_936, generator=torch.Generator().manual_seed(0))).bfloat16().float().cuda()
    decodings, draws = [Decoding(1, 1.0, top_p)] * rows, [(n + 0.5) / rows for n in range(rows)]
    together = sample_tokens(logits, decodings, draws)
    assert together == [sample_tokens(logits[n : n + 1], [decodings[n]], [draws[n]])[0] for n in range(rows)]
    halves = [slice(0, rows // 2), slice(rows // 2, rows)]
    assert together == [token for h in halves for token in sample_tokens(logits[h], decodings[h], draws[h])]


def training(objective: Objective = "dpo", **settings: object) -> Training:
    task, profile = load_plugins().tasks["persona"], load_plugins().baselines["profile"]
    items = task.items("train")[:64]
    pairs = tuple(Pair(i.id, profile.messages(i), task.gold(i), task.wrong(i)) for i in items)
    config = TrainConfig.model_validate({"lr": 1e-3, "batch_size": 16, "max_length": 512, **settings})
    data = PairSet(pairs, {}, "digest", objective)
    return Training(FOLDER, model_digest(FOLDER), "persona", "mipo-random", 0, data, config, placement("float32"))


def lineage(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("settings", [{}, {"method": "lora"}])
@pytest.mark.parametrize("objective", ["dpo", "sft"])
def test_a_training_gives_the_same_weights_each_time(
    objective: Objective, settings: dict[str, object], tmp_path: Path
) -> None:
    for name in "ab":
        train(training(objective, **settings), tmp_path / name, lambda step, total: None)
    assert "repeatable" not in lineage(tmp_path / "a")
    assert model_digest(tmp_path / "a") == model_digest(tmp_path / "b") != model_digest(FOLDER)
    assert not torch.are_deterministic_algorithms_enabled()


def peak_of(work: Callable[[], object]) -> tuple[int, int]:
    """Bytes of the GPU that were in use before some work, and at its peak."""
    free_memory()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return before, torch.cuda.max_memory_allocated()


def test_without_enough_memory_a_training_checkpoints_activations_then_accumulates_gradients(
    tmp_path: Path,
) -> None:
    def trained(name: str, *, checkpointing: bool = False) -> Path:
        job = replace(training(), activation_checkpointing=checkpointing)
        train(job, tmp_path / name, lambda step, total: None)
        return tmp_path / name

    _, kept = peak_of(lambda: trained("kept"))
    before, recomputed = peak_of(lambda: trained("recomputed", checkpointing=True))
    assert recomputed < kept
    parts = []
    for share in (0.7, 0.5, 0.35):
        with limited_to(before + int(share * (recomputed - before))):
            parts.append(lineage(trained(f"split-{share}")).get("parts", 1))
    print(f"MiB before {before >> 20}, kept {kept >> 20}, recomputed {recomputed >> 20}; parts {parts}")
    assert parts[-1] in (2, 4, 8, 16)


def test_prompts_without_enough_memory_are_answered_fewer_at_a_time() -> None:
    free, cramped = (HFGenerator(FOLDER, "embedded", placement("float32", 256)) for _ in range(2))
    asked = chats(free, 200)
    expected: list[str] = []
    before, peak = peak_of(lambda: expected.extend(r.text for r in answers(free, asked)))
    free.unload()
    with limited_to((before + peak) // 2):
        found = [r.text for r in answers(cramped, asked)]
    print(f"MiB before {before >> 20}, peak {peak >> 20}; {cramped.notes}")
    assert any("out of memory" in note for note in cramped.notes)
    assert cramped.decoder.slots in (64, 128)
    same = sum(a == b for a, b in zip(expected, found, strict=True))
    assert same > 0.9 * len(asked)  # fewer rows round otherwise


def test_a_run_gives_the_same_report_each_time(tmp_path: Path) -> None:
    command = ["run", "--suite", "personalized", "--limit", "24", "--seeds", "2", "--set", "device=cuda"]
    reports = []
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        done = mipo(*command, folder=folder)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        reports.append(comparable(load_report(folder / "mipo-bench-report")))
    assert reports[0] == reports[1]
