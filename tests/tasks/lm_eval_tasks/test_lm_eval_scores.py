"""The score of every item equals lm-eval's score for the same model on the same task file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from definitions import parity
from definitions.scripted import Script
from task_files import choice_task, generate_task, write_task

from mipo_bench.harness.generators.chat_template import prompt_of
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.types import Response, Score
from mipo_bench.tasks.lm_eval.family import lm_eval_task


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

    task = lm_eval_task(f"{path}@{shots}")
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


TEXTS: dict[str, Any] = {"test_split": "test", "doc_to_text": "", "doc_to_target": "{{text}}"}
TEXTS |= {"output_type": "loglikelihood_rolling"}
LAST = TEXTS | {"output_type": "loglikelihood", "doc_to_text": "{{asked}}", "doc_to_target": "{{' ' + last}}"}
LAST |= {"metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]}
BLANK = LAST | {"output_type": "multiple_choice", "doc_to_text": "gold", "doc_to_choice": "{{[asked, text]}}"}


@pytest.mark.training
def test_scored_texts_have_the_log_probabilities_of_lm_eval(generator: HFGenerator, tmp_path: Path) -> None:
    window = generator.decoder.max_total_tokens
    words = ["the", "cat", "of", "Mira", "sells", "four", "apples", "and", "three", "pears", "to", "Tom", "at", "noon"]
    rows: list[dict[str, Any]] = [
        {"text": " ".join(words * n), "asked": " ".join(words[:n]), "last": words[n], "gold": n % 2}
        for n in (1, 3, 9, 12)
    ]
    rows[3]["text"] = " ".join(words * (window // 4))
    assert len(generator.decoder.codec.encode(rows[3]["text"])) > 2 * window
    kinds = {"texts": TEXTS, "last": LAST, "blank": BLANK}
    for name, kind in kinds.items():
        data = [row | ({"text": row["text"][:99]} if name == "blank" else {}) for row in rows]
        path = write_task(tmp_path, name, {"test": data}, dict(kind))
        answered = parity.ours(lm_eval_task(str(path)), Script([""]), tmp_path / f"store-{name}", generator)
        for sample, item in zip(theirs(path, 0, generator), answered.items, strict=True):
            response = answered.responses[item.id]
            wanted = [r[0] if name == "texts" else r[0][0] for r in sample["resps"]]
            assert response.option_logprobs == pytest.approx(wanted, rel=1e-4)
            if name != "texts":
                assert response.greedy == tuple(r[0][1] for r in sample["resps"])
