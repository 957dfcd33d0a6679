"""Kinds of lm-eval's tasks beside choice and generation, compared item by item with `lm_eval.simple_evaluate`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from definitions.parity import Answered, differences, ours, theirs, with_samples_of
from definitions.scripted import Script
from fakes import FakeGenerator
from task_files import CHOICE, GENERATE, write_task

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.exchange.from_responses import _asked
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.harness.types import Continuation, Response
from mipo_bench.tasks.lm_eval.family import lm_eval_task
from mipo_bench.tasks.lm_eval.task import LMEvalTask

WORDS = ("red", "green", "blue", "black")
SCRIPT = Script([*WORDS, "Answer: 4", "Answer: 3", "Answer: 3", "none of these"])
MEAN = {"aggregation": "mean", "higher_is_better": True}
BARE = {"test_split": "test", "metadata": {"version": 1.0}}
LAST_WORD = BARE | {
    "output_type": "loglikelihood",
    "doc_to_text": "{{text.rsplit(' ', 1)[0]}}",
    "doc_to_target": "{{' ' + text.rsplit(' ', 1)[1]}}",
    "metric_list": [{"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
                    {"metric": "acc", **MEAN}],
}  # fmt: skip
PAGES = BARE | {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}"}
_NUMBER = {"function": "regex", "regex_pattern": "Answer: ([0-9]+)"}
_FIRST = {"function": "take_first"}
VOTES = GENERATE | {
    "training_split": None,
    "fewshot_split": None,
    "repeats": 5,
    "generation_kwargs": {"until": ["\n"], "do_sample": True, "temperature": 0.7, "max_gen_toks": 9},
    "filter_list": [
        {
            "name": "vote",
            "filter": [_NUMBER, {"function": "take_first_k", "k": 4}, {"function": "majority_vote"}, _FIRST],
        },
        {"name": "first", "filter": [_NUMBER, _FIRST]},
    ],
}
CONTEXTS = BARE | {
    "output_type": "multiple_choice",
    "doc_to_text": "gold",
    "doc_to_choice": "{{[text.replace('_', one), text.replace('_', two)]}}",
    "doc_to_target": "{{rest}}",
    "metric_list": [{"metric": "acc", **MEAN}],
}


CLASS = '''
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask

class Extract(ConfigurableTask):
    """Generates an answer, and asks for the log-probability of another."""

    VERSION = 3

    def __init__(self, config=None):
        super().__init__(config={k: v for k, v in config.items() if k != "class"})

    def construct_requests(self, doc, ctx, chat_template=None, apply_chat_template=False, **kwargs):
        return [
            Instance("generate_until", doc, (ctx, {"until": ["."], "max_gen_toks": 7}), 0, **kwargs),
            Instance("loglikelihood", doc, (ctx, " unanswerable"), 1, **kwargs),
        ]

    def process_results(self, doc, results):
        text, (logprob, _) = results
        percent = 100.0 * (doc["answer"] == text)
        return {"contains": float(doc["answer"] in text), "sure": float(logprob > -5), "percent": percent}

    def aggregation(self):
        return {"contains": mean, "sure": lambda items: sum(items) / len(items), "percent": mean}

    def higher_is_better(self):
        return {"contains": True, "sure": False, "percent": True}
'''


def sentences(count: int = 24) -> list[dict[str, Any]]:
    return [{"text": f"The box {n} on the left of the {WORDS[n % 3]} door is {WORDS[n % 4]}"} for n in range(count)]


def winogrande() -> list[dict[str, Any]]:
    sides = {"one": "red", "two": "blue", "rest": "open."}
    return [{"text": f"Of {n} boxes _ is", **sides, "gold": n % 2} for n in range(24)]


def choices() -> list[dict[str, Any]]:
    return [{"question": f"Which is {n}?", "choices": list(WORDS), "gold": n % 4} for n in range(24)]


@dataclass(frozen=True)
class Evaluated:
    """Files of all kinds in one folder, and lm-eval's results on them, of one call."""

    folder: Path
    results: Mapping[str, Any]

    def both(self, name: str) -> tuple[LMEvalTask, Answered, Mapping[str, Any]]:
        """A task on both sides, and the check that they agree on every item."""
        task = lm_eval_task(str(self.folder / f"{name}.yaml"))
        assert isinstance(task, LMEvalTask)
        answered = ours(task, SCRIPT, self.folder / f"store-{name}")
        assert differences(task, answered, self.results["samples"][name]) == []
        return task, answered, self.results["results"][name]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    folder = tmp_path_factory.mktemp("kinds")
    untrained = CHOICE | {"training_split": None, "fewshot_split": None}
    prior = [{"metric": name, **MEAN} for name in ("acc_mutual_info", "exact_match", "acc", "acc_bytes")]
    lower = [{"metric": "acc", "aggregation": "mean", "higher_is_better": False}, {"metric": "brier_score"}]
    (folder / "extract_code.py").write_text(CLASS)
    answers = [{"question": f"Which is {n}?", "answer": WORDS[n % 4]} for n in range(24)]
    asked = {"test_split": "test", "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}"}
    kinds: dict[str, tuple[list[dict[str, Any]], Mapping[str, Any]]] = {
        "last_word": (sentences(), LAST_WORD),
        "pages": (sentences(), PAGES),
        "contexts": (winogrande(), CONTEXTS),
        "prior": (choices(), untrained | {"metric_list": prior}),
        "lower": (choices(), untrained | {"metric_list": lower}),
        "votes": ([{"question": f"What is {n}?", "answer": "3"} for n in range(24)], VOTES),
        "extract": (answers, asked),
    }
    paths = [write_task(folder, name, {"test": rows}, dict(kind)) for name, (rows, kind) in kinds.items()]
    paths[-1].write_text(paths[-1].read_text() + "class: !function extract_code.Extract\n")
    return Evaluated(folder, theirs(map(str, paths), SCRIPT))


def values(answered: Answered) -> list[float]:
    return [score.value for score in answered.scores.values()]


def test_one_exact_continuation_is_greedy_or_not(evaluated: Evaluated) -> None:
    task, answered, results = evaluated.both("last_word")
    assert answered.items[0].continuations == (Continuation(" red"),)
    assert task.description.endswith("scored by acc")
    assert task.binary
    assert {0.0, 1.0} == set(values(answered))
    assert sum(values(answered)) / 24 == pytest.approx(results["acc,none"])
    parts = [score.parts["1/perplexity"] for score in answered.scores.values()]
    assert math.exp(-sum(map(math.log, parts)) / 24) == pytest.approx(results["perplexity,none"])


def test_a_text_by_itself_is_scored_by_its_probability_per_byte(evaluated: Evaluated) -> None:
    task, answered, results = evaluated.both("pages")
    item = answered.items[0]
    assert item.continuations == (Continuation(sentences(1)[0]["text"], ""),)
    assert task.description.endswith("scored by 1/byte_perplexity")
    sizes = [len(one["text"].encode()) for one in sentences()]
    nats = sum(-math.log(v) * size for v, size in zip(values(answered), sizes, strict=True))
    assert nats / sum(sizes) / math.log(2) == pytest.approx(results["bits_per_byte,none"])
    assert set(answered.scores["0"].parts) == {"1/word_perplexity", "2^-bits_per_byte"}
    assert task.items("train") == ()


def test_options_can_be_contexts_of_one_continuation(evaluated: Evaluated) -> None:
    task, answered, results = evaluated.both("contexts")
    item = answered.items[1]
    assert item.options == ("Of 1 boxes red is", "Of 1 boxes blue is")
    assert item.continuations == tuple(Continuation("open.", option) for option in item.options)
    assert item.target == task.gold(item) == "Of 1 boxes blue is"
    assert {0.0, 1.0} == set(values(answered))
    assert sum(values(answered)) / 24 == pytest.approx(results["acc,none"])
    assert task.score(item, Response(task.gold(item), 1, 1, "stop")).value == 1.0
    assert task.score(item, Response(task.wrong(item), 1, 1, "stop")).value == 0.0
    assert _asked(item) == 2


def test_greedy_options_and_options_without_their_question_are_asked_for(evaluated: Evaluated) -> None:
    task, answered, results = evaluated.both("prior")
    assert [c.prompt for c in answered.items[0].continuations] == [None] * 4 + [""] * 4
    assert task.description.endswith("scored by acc_mutual_info")
    for name in ("exact_match", "acc", "acc_bytes"):
        mean = sum(score.parts[name] for score in answered.scores.values()) / 24
        assert mean == pytest.approx(results[f"{name},none"])
        assert 0 < mean < 1


def test_the_votes_of_several_samples_are_filtered_as_in_lm_eval(evaluated: Evaluated) -> None:
    task = lm_eval_task(str(evaluated.folder / "votes.yaml"))
    assert isinstance(task, LMEvalTask)
    samples = evaluated.results["samples"]["votes"]
    answered = with_samples_of(ours(task, SCRIPT, evaluated.folder / "store-votes"), samples)
    assert differences(task, answered, samples) == []
    scores, response = answered.scores.values(), answered.responses["0"]
    assert (task.repeats, task.binary, len(response.samples)) == (5, False, 5)
    assert {0.0, 1.0} == {score.value for score in scores}
    assert [s.value for s in scores] != [s.parts["exact_match (first)"] for s in scores]
    assert task.filtered(answered.items[0], response)["vote"] in ("3", "4", "[invalid]")


def test_each_sample_has_a_seed_of_its_own_and_no_thoughts(evaluated: Evaluated, tmp_path: Path) -> None:
    task = lm_eval_task(str(evaluated.folder / "votes.yaml"))
    generator = FakeGenerator("draws", lambda request: f"<think>no</think>{request.seed}")
    found = ours(task, SCRIPT, tmp_path, generator)
    response, again = found.responses["0"], ours(task, SCRIPT, tmp_path, generator).responses["0"]
    assert response == again
    assert len(set(response.samples)) == 5
    assert all(sample.isdigit() for sample in response.samples)
    assert len(generator.asked) == 24 * 5


def test_a_task_class_mixes_generated_and_scored_texts(evaluated: Evaluated) -> None:
    task, answered, results = evaluated.both("extract")
    assert (task.decoding.max_new_tokens, task.decoding.stop, task.suite) == (7, (".",), "math")
    assert answered.items[0].continuations == (Continuation(" unanswerable"),)
    assert sum(values(answered)) / 24 == pytest.approx(results["contains,none"])
    assert set(answered.scores["0"].parts) == {"sure", "percent/100"}
    assert {0.0, 1.0} == set(values(answered))


def test_a_task_with_only_a_lower_is_better_metric_is_turned_round(evaluated: Evaluated) -> None:
    task, answered, results = evaluated.both("lower")
    assert "scored by 1 - acc" in task.description
    assert 1 - sum(values(answered)) / 24 == pytest.approx(results["acc,none"])
    mean = sum(score.parts["brier_score/2"] for score in answered.scores.values()) / 24
    assert 2 * mean == pytest.approx(results["brier_score,none"])


def test_only_baselines_of_one_prompt_apply_to_texts_that_are_scored(tmp_path: Path) -> None:
    path = write_task(tmp_path, "last_word", {"test": sentences(4)}, LAST_WORD)
    with pytest.raises(ConfigError, match="self-refine: does not apply"):
        make_plan(RunConfig(tasks=(f"lm-eval:{path}",), baselines=("self-refine",), recipes=()))
