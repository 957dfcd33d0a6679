"""The trained baselines on the embedded model for a few steps: the loss is the one of the formula, weights move."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from real_models import make_chat_model
from transformers import AutoModelForCausalLM, PreTrainedModel

from mipo_bench.harness.config.schema import TrainConfig
from mipo_bench.harness.core.hashing import model_digest
from mipo_bench.harness.errors import TrainingError
from mipo_bench.harness.generators import model_folder
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.judging.rewards import score_reward
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import LikelihoodRequest, Pair
from mipo_bench.harness.training import contrastive, grpo, sft
from mipo_bench.harness.training.job import Training
from mipo_bench.harness.training.pairs import PairSet, PromptSet, Ratings, Reward
from mipo_bench.harness.training.train import train
from mipo_bench.harness.types import Decoding, Item, Message, Objective

pytestmark = pytest.mark.training
FOLDER = model_folder.embedded_folder()
PLUGINS = load_plugins()
TASK = PLUGINS.tasks["persona"]
ITEMS = TASK.items("train")[:8]
PROFILE = PLUGINS.baselines["profile"]
PLACEMENT = Placement("cpu", "float32", threads=1)
SETTINGS = TrainConfig(lr=1e-3, batch_size=8, max_length=512)
END = "<|end|>"


def pairs_of(objective: Objective, negatives: int = 1) -> PairSet:
    """One batch of pairs, contrasted with the users that come after."""
    others = [[ITEMS[(n + 2 * k) % len(ITEMS)] for k in range(1, negatives + 1)] for n in range(len(ITEMS))]
    pairs = tuple(
        Pair(i.id, PROFILE.messages(i), TASK.gold(i), TASK.gold(o), PROFILE.messages(replace(i, context=o.context)))
        for i, row in zip(ITEMS, others, strict=True)
        for o in row
    )
    return PairSet(pairs, {}, "digest", objective)


def training(data: PairSet | PromptSet, **changes: object) -> Training:
    settings = SETTINGS.model_copy(update=changes)
    return Training(FOLDER, model_digest(FOLDER), "persona", "recipe", 0, data, settings, PLACEMENT)


def first_loss(data: PairSet | PromptSet, out: Path, **changes: object) -> float:
    train(training(data, **changes), out, lambda step, total: None)
    curve = json.loads((out / "lineage.json").read_text())["curve"]
    return float(curve[0]["loss"])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
    return dict(model.named_parameters())


def changed(folder: Path) -> set[str]:
    before, after = weights(FOLDER), weights(folder)
    return {name for name in before if not torch.equal(before[name], after[name])}


def likelihood(prompt: tuple[Message, ...], response: str) -> tuple[float, int]:
    """Log-probability and tokens of a response with its end, by the code that evaluates."""
    generator = HFGenerator(FOLDER, "base", PLACEMENT)
    asked = LikelihoodRequest(generator.render(prompt, None).text, (response + generator.tokenizer.eos_token,))
    _, (found,) = next(iter(generator.likelihoods([asked])))
    return found.logprob, found.n_tokens


def cross_entropy(row: list[float], label: int) -> float:
    return math.log(sum(math.exp(x - max(row)) for x in row)) + max(row) - row[label]


def test_the_first_loss_of_sft_is_the_mean_negative_log_likelihood(tmp_path: Path) -> None:
    data = pairs_of("sft", negatives=2)
    found = [likelihood(p.prompt, p.chosen) for p in data.pairs[::2]]
    loss = first_loss(data, tmp_path)
    assert loss == pytest.approx(-sum(x for x, _ in found) / sum(n for _, n in found), abs=1e-3)
    assert changed(tmp_path) == weights(FOLDER).keys()
    lineage = json.loads((tmp_path / "lineage.json").read_text())
    assert lineage["objective"] == "sft"
    assert lineage["pairs"]["used"] == len(ITEMS)  # each response once, however many negatives it has


@pytest.mark.parametrize("negatives", [1, 3])
def test_the_first_loss_of_sami_is_the_symmetric_cross_entropy(tmp_path: Path, negatives: int) -> None:
    data = pairs_of("sami", negatives)
    losses = []
    for n in range(0, len(data.pairs), negatives):
        group = data.pairs[n : n + negatives]
        prompts = [group[0].prompt, *(p.contrast for p in group)]
        responses = [group[0].chosen, *(p.rejected for p in group)]
        matrix = [[lp / k for lp, k in (likelihood(p, r) for r in responses)] for p in prompts]
        columns = [list(column) for column in zip(*matrix, strict=True)]
        both = [cross_entropy(row, i) for side in (matrix, columns) for i, row in enumerate(side)]
        losses.append(sum(both) / len(both))
    assert first_loss(data, tmp_path) == pytest.approx(sum(losses) / len(losses), abs=1e-3)
    assert changed(tmp_path) == weights(FOLDER).keys()


def test_the_first_loss_of_infonce_is_the_cross_entropy_over_prompts(tmp_path: Path) -> None:
    data = pairs_of("infonce")
    rows = [[likelihood(p, pair.chosen)[0] / 100 for p in (pair.prompt, pair.contrast)] for pair in data.pairs]
    expected = sum(cross_entropy(row, 0) for row in rows) / len(rows)
    assert first_loss(data, tmp_path) == pytest.approx(expected, abs=1e-4)
    assert changed(tmp_path) == weights(FOLDER).keys()


@pytest.mark.parametrize("objective", ["sft", "sami", "infonce"])
def test_a_second_epoch_lowers_the_loss_and_lora_is_merged(tmp_path: Path, objective: Objective) -> None:
    train(training(pairs_of(objective), method="lora", lora_rank=4, epochs=4.0), tmp_path, lambda step, total: None)
    moved = changed(tmp_path)
    assert moved
    assert all("proj" in name for name in moved)
    curve = json.loads((tmp_path / "lineage.json").read_text())["curve"]
    assert [point["step"] for point in curve] == [1, 2, 3, 4]
    assert curve[-1]["loss"] < curve[0]["loss"]


def test_contrastive_trainings_report_how_far_the_own_prompt_is_ahead(tmp_path: Path) -> None:
    train(training(pairs_of("infonce"), epochs=3.0), tmp_path, lambda step, total: None)
    curve = json.loads((tmp_path / "lineage.json").read_text())["curve"]
    assert all(0 <= point["accuracy"] <= 1 for point in curve)
    assert curve[-1]["margin"] > curve[0]["margin"]


def prompts(reward: Reward) -> PromptSet:
    found = tuple((item, PROFILE.messages(item)) for item in ITEMS)
    return PromptSet(found, Decoding(48, 1.0), reward, "digest")


def test_grpo_is_rewarded_by_the_task_and_starts_from_zero(tmp_path: Path) -> None:
    seen: list[float] = []
    score = score_reward(TASK)

    def rate(items: Sequence[Item], texts: Sequence[str]) -> Ratings:
        found = score.rate(items, texts)
        seen.extend(found.values)
        return Ratings(found.values, {"ratings": len(texts)})

    loss = first_loss(prompts(replace(score, rate=rate)), tmp_path, batch_size=4, generations=3, lr=1e-4)
    assert loss == pytest.approx(0, abs=1e-3)
    assert len(seen) == len(ITEMS) * 3
    lineage = json.loads((tmp_path / "lineage.json").read_text())
    assert [point["step"] for point in lineage["curve"]] == [1, 2]
    assert lineage["curve"][0]["reward"] == pytest.approx(sum(seen[:12]) / 12, abs=1e-4)
    assert (lineage["reward"], lineage["pairs"]["used"]) == ({"name": "score", "ratings": 24}, 8)
    assert changed(tmp_path) == weights(FOLDER).keys()


def test_samples_of_grpo_end_where_the_turn_of_the_template_does(tmp_path: Path) -> None:
    base = make_chat_model(tmp_path / "base", generation={"eos_token_id": 1})
    job = replace(training(prompts(score_reward(TASK)), batch_size=4, max_length=8192), base=base)
    for token, ends in (("", {1}), ("<|end|>", {1, 3})):
        trainer: Any = grpo.prepare(replace(job, end_token=token), str(tmp_path), lambda step, total: None).trainer
        assert set(trainer.eos_token_ids) == ends


def test_rewards_of_grpo_are_of_answers_without_thoughts(tmp_path: Path) -> None:
    seen: list[str] = []

    def rate(items: Sequence[Item], texts: Sequence[str]) -> Ratings:
        seen.extend(texts)
        return Ratings(tuple(1 / (1 + len(text)) for text in texts))

    data = prompts(Reward("short", "short", rate, thought_tags=(("#", "e"),)))
    train(training(data, batch_size=4, generations=2), tmp_path, lambda step, total: None)
    assert any(seen)
    assert not any("e" in text for text in seen)  # nearly every sampled response has this letter


def test_grpo_with_lora_and_fewer_prompts_than_a_batch(tmp_path: Path) -> None:
    data = prompts(score_reward(TASK))
    data = replace(data, prompts=data.prompts[:3])
    train(training(data, method="lora", lora_rank=4, batch_size=16, generations=4), tmp_path, lambda step, total: None)
    moved = changed(tmp_path)
    assert moved
    assert all("proj" in name for name in moved)
    lineage = json.loads((tmp_path / "lineage.json").read_text())
    assert (lineage["pairs"]["used"], len(lineage["curve"])) == (3, 1)


def test_a_last_batch_that_is_not_full_is_counted(tmp_path: Path) -> None:
    train(training(prompts(score_reward(TASK)), batch_size=3, generations=3), tmp_path, lambda step, total: None)
    lineage = json.loads((tmp_path / "lineage.json").read_text())
    assert (lineage["pairs"]["used"], len(lineage["curve"])) == (6, 2)
    assert lineage["pairs"]["discarded"] == {"last batch not full": 2}
    assert lineage["pairs"]["too_long"] == 0


def test_grpo_raises_what_is_rewarded(tmp_path: Path) -> None:
    """Short answers are worth more: after some steps the answers are shorter."""
    short = Reward("short", "short", lambda items, texts: Ratings(tuple(1 / (1 + len(t.split())) for t in texts)))
    job = training(prompts(short), batch_size=4, generations=8, lr=1e-3, epochs=8.0, kl=0.0)
    train(job, tmp_path, lambda step, total: None)
    curve = json.loads((tmp_path / "lineage.json").read_text())["curve"]
    first, last = ([p["reward"] for p in part] for part in (curve[:4], curve[-4:]))
    assert sum(last) > sum(first)


def test_rewards_that_never_differ_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    one = Reward("one", "one", lambda items, texts: Ratings((1.0,) * len(texts)))
    with pytest.raises(TrainingError, match="rewarded alike"):
        train(training(prompts(one)), tmp_path, print)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("objective", ["sft", "sami", "infonce"])
def test_examples_that_are_too_long_are_counted(tmp_path: Path, objective: Objective) -> None:
    data = pairs_of(objective)
    long = replace(data.pairs[0], chosen="word " * 500)
    data = replace(data, pairs=(long, *data.pairs[1:]))
    train(training(data), tmp_path, lambda step, total: None)
    counts = json.loads((tmp_path / "lineage.json").read_text())["pairs"]
    assert (counts["used"], counts["too_long"]) == (7, 1)
    with pytest.raises(TrainingError, match=r"fits into train\.max_length"):
        train(training(data, max_length=10), tmp_path, lambda step, total: None)


def test_wrong_first_losses_are_refused() -> None:
    sft.check_first(2.0, 2.001)
    contrastive.check_first(0.69, 0.692)
    grpo.check_first(0.001)
    with pytest.raises(TrainingError, match=r"first loss is 2\.0000, but"):
        sft.check_first(2.0, 2.2)
    with pytest.raises(TrainingError, match="one sequence at a time"):
        contrastive.check_first(0.6, 0.7)
    for check in (sft.check_first, contrastive.check_first):
        with pytest.raises(TrainingError, match="nan"):
            check(0.6, math.nan)
    with pytest.raises(TrainingError, match="not 0"):
        grpo.check_first(0.3)


@pytest.mark.parametrize("objective", ["sft", "sami", "infonce"])
def test_a_diverging_training_is_an_error_and_leaves_nothing(tmp_path: Path, objective: Objective) -> None:
    with pytest.raises(TrainingError, match=r"lower train\.lr"):
        train(training(pairs_of(objective), lr=1e25, batch_size=2), tmp_path, lambda step, total: None)
    assert not list(tmp_path.iterdir())
