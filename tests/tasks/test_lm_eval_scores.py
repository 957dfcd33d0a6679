"""The score of every item equals lm-eval's score for the same model on the same task file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from task_files import choice_task, generate_task

from mipo_bench.harness.generators.chat_template import prompt_of
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.types import Response, Score
from mipo_bench.tasks.lm_eval.task import LMEvalTask


@pytest.fixture(scope="module")
def generator() -> HFGenerator:
    return HFGenerator(embedded_folder(), "embedded", Placement(threads=1))


@dataclass(frozen=True)
class Answered:
    """The rendered prompts, responses and scores, in order."""

    prompts: list[str]
    responses: list[Response]
    scores: list[Score]


def ours(path: Path, shots: int, generator: HFGenerator) -> Answered:
    from mipo_bench.baselines.prompting.few_shot import FewShot
    from mipo_bench.baselines.prompting.plain import Plain

    task = LMEvalTask(f"{path}@{shots}")
    items = task.items("eval")
    prompts = [prompt_of(FewShot() if shots else Plain(), item, generator).text for item in items]
    requests = [Request(p, 0, task.decoding, item.options) for p, item in zip(prompts, items, strict=True)]
    answers = [response for _, response in sorted(generator.generate(requests), key=lambda found: found[0])]
    return Answered(prompts, answers, [task.score(item, answer) for item, answer in zip(items, answers, strict=True)])


def theirs(path: Path, shots: int, generator: HFGenerator) -> list[dict[str, Any]]:
    """lm-eval's samples: one per document and filter."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(pretrained=generator.model, tokenizer=generator.tokenizer, batch_size=8, device="cpu")
    results = lm_eval.simple_evaluate(
        model=model,
        tasks=[str(path)],
        task_manager=TaskManager(include_defaults=False),
        num_fewshot=shots,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        log_samples=True,
        bootstrap_iters=0,
    )
    samples: list[dict[str, Any]] = results["samples"][path.stem]
    return samples


@pytest.mark.training
@pytest.mark.parametrize("shots", [0, 2])
def test_multiple_choice_scores_are_those_of_lm_eval(shots: int, generator: HFGenerator, tmp_path: Path) -> None:
    path = choice_task(tmp_path, 40)
    answered, samples = ours(path, shots, generator), theirs(path, shots, generator)
    scores = answered.scores
    assert [s["arguments"][0][0] for s in samples] == answered.prompts
    for sample, response in zip(samples, answered.responses, strict=True):
        assert response.option_logprobs == pytest.approx([r[0][0] for r in sample["resps"]], abs=1e-3)
    assert [s["acc"] for s in samples] == [score.value for score in scores]
    assert [s["acc_norm"] for s in samples] == [score.parts["acc_norm"] for score in scores]
    assert {score.value for score in scores} == {0.0, 1.0}


@pytest.mark.training
@pytest.mark.parametrize("shots", [0, 2])
def test_generated_answers_are_scored_as_lm_eval_scores_them(
    shots: int, generator: HFGenerator, tmp_path: Path
) -> None:
    path = generate_task(tmp_path, 40)
    answered, samples = ours(path, shots, generator), theirs(path, shots, generator)
    scores = answered.scores
    by_filter = {name: [s for s in samples if s["filter"] == name] for name in ("after-answer", "last-number", "whole")}
    assert [s["arguments"][0][0] for s in by_filter["after-answer"]] == answered.prompts
    assert [s["resps"][0][0] for s in by_filter["whole"]] == [response.text for response in answered.responses]
    assert [s["exact_match"] for s in by_filter["after-answer"]] == [score.value for score in scores]
    for name in ("last-number", "whole"):
        found = [score.parts[f"exact_match ({name})"] for score in scores]
        assert [s["exact_match"] for s in by_filter[name]] == found
    assert [s["filtered_resps"][0] == "[invalid]" for s in by_filter["after-answer"]] == [not x.parsed for x in scores]
    assert len({score.value for score in scores}) == 2
