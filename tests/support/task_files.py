"""Files with tasks: lm-eval's, on local data made from the embedded tasks, and Python files of plugins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.types import Split
from mipo_bench.tasks.embedded.arithmetic import Arithmetic
from mipo_bench.tasks.embedded.facts import LETTERS, Facts


def write_task(folder: Path, name: str, rows: dict[str, list[dict[str, Any]]], settings: dict[str, Any]) -> Path:
    """Write a task file and its data. `rows` are by split."""
    files = {}
    for split, content in rows.items():
        file = folder / f"{name}-{split}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in content))
        files[split] = str(file)
    data = {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": files}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data | settings, sort_keys=False))
    return path


def choice_task(folder: Path, size: int = 12, **settings: Any) -> Path:
    """Facts as multiple choice, options by name, with a description and a training split to draw shots from."""
    task = Facts()
    splits: dict[str, Split] = {"test": "eval", "train": "train"}
    rows = {
        split: [
            {"question": i.prompt.split("\n")[0], "choices": list(i.options), "gold": LETTERS.index(i.target)}
            for i in task.items(ours)[:size]
        ]
        for split, ours in splits.items()
    }
    return write_task(folder, "local_facts", rows, CHOICE | settings)


def generate_task(folder: Path, size: int = 12, **settings: Any) -> Path:
    """Word problems with a worked answer, a stop string, two filters and two metrics."""
    task = Arithmetic()
    splits: dict[str, Split] = {"test": "eval", "train": "train"}
    rows = {
        split: [{"question": i.prompt, "answer": task.gold(i)} for i in task.items(ours)[:size]]
        for split, ours in splits.items()
    }
    return write_task(folder, "local_sums", rows, GENERATE | settings)


_MEAN = {"aggregation": "mean", "higher_is_better": True}
CHOICE: dict[str, Any] = {
    "output_type": "multiple_choice",
    "training_split": "train",
    "test_split": "test",
    "fewshot_split": "train",
    "description": "Answer with what the question asks for.\n\n",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "choices",
    "doc_to_target": "gold",
    "metric_list": [{"metric": "acc", **_MEAN}, {"metric": "acc_norm", **_MEAN}],
    "metadata": {"version": 1.0},
}
GENERATE: dict[str, Any] = {
    "output_type": "generate_until",
    "training_split": "train",
    "test_split": "test",
    "fewshot_split": "train",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n\n", " coins"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 60},
    "filter_list": [
        {
            "name": "after-answer",
            "filter": [{"function": "regex", "regex_pattern": "Answer: (-?[0-9]+)"}, {"function": "take_first"}],
        },
        {
            "name": "last-number",
            "filter": [
                {"function": "regex", "group_select": -1, "regex_pattern": "(-?[0-9]+)"},
                {"function": "take_first"},
            ],
        },
        {"name": "whole", "filter": [{"function": "take_first"}]},
    ],
    "metric_list": [{"metric": "exact_match", **_MEAN, "regexes_to_ignore": ["(?s).*Answer: "]}],
    "metadata": {"version": 2.0},
}

TASK = """
from mipo_bench.tasks.embedded.arithmetic import Arithmetic

class Sums(Arithmetic):
    name = "{name}"
    default = {default}

TASKS = [Sums]
"""
FAMILY = """
from mipo_bench.tasks.embedded.arithmetic import Arithmetic

class Member(Arithmetic):
    def __init__(self, rest):
        self.name = {name}
        self.version = int(rest)

def version(rest):
    return Member(rest)

TASK_FAMILIES = {{"sums": version}}
"""
BASELINE = """
from mipo_bench.baselines.prompting.plain import Plain
from mipo_bench.baselines.recipes.mipo_random import MipoRandom

class Loud(Plain):
    name = "loud"

class Other(MipoRandom):
    name = "other"

BASELINES = [Loud]
RECIPES = (Other,)
"""


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def task_file(path: Path, name: str = "sums", *, default: bool = True) -> Path:
    return write(path, TASK.format(name=name, default=default))


def config(*include: Path, **options: object) -> RunConfig:
    return load_config(None, [], {"include": list(include), **options})
