"""Groups of lm-eval's tasks as one task: weights, clusters, refused parts, and names that lm-eval does not have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from definitions.parity import ours
from definitions.scripted import Script, ScriptedLM
from task_files import CHOICE, write_task

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import PluginError
from mipo_bench.harness.evaluation.scoring import describe_task
from mipo_bench.harness.planning.plan import make_plan
from mipo_bench.reports.stats import Scores, summarize
from mipo_bench.tasks.lm_eval.family import lm_eval_task
from mipo_bench.tasks.lm_eval.group import LMEvalGroup

WORDS = ("red", "green", "blue", "black")
SCRIPT = Script(WORDS)
MEAN = {"aggregation": "mean", "higher_is_better": True}


def part(folder: Path, name: str, golds: Sequence[int], **settings: Any) -> Path:
    rows = [
        {"question": f"Which is {n} of {name}?", "choices": list(WORDS), "gold": gold} for n, gold in enumerate(golds)
    ]
    bare = CHOICE | {"fewshot_split": None, "training_split": "train", "tag": "colours_tag"}
    train = [{"question": f"Which of {name}?", "choices": list(WORDS), "gold": 0}]
    return write_task(folder, name, {"test": rows, "train": train}, bare | settings)


def group(folder: Path, weighted: bool, tasks: Any) -> Path:
    metrics = [{"metric": "acc", "weight_by_size": weighted}]
    path = folder / "colours.yaml"
    path.write_text(yaml.safe_dump({"group": "colours", "task": tasks, "aggregate_metric_list": metrics}))
    return path


@pytest.mark.parametrize(
    ("weighted", "members"),
    [
        (True, [{"group": "in", "task": ["light", "dark"]}, "odd"]),
        (False, ["light", "dark", "odd"]),
        pytest.param(False, ["colours_tag"], marks=pytest.mark.training),  # looks through all files of lm-eval
    ],
)
def test_a_group_is_one_task_with_the_weights_of_lm_eval(weighted: bool, members: Any, tmp_path: Path) -> None:
    from lm_eval import evaluator
    from lm_eval.tasks import TaskManager

    for name, golds in (("light", range(3)), ("dark", [0, 1] * 9), ("odd", [3] * 5)):
        part(tmp_path, name, [n % 4 for n in golds])
    path = group(tmp_path, weighted, members)
    task = lm_eval_task(str(path))
    assert isinstance(task, LMEvalGroup)
    answered = ours(task, SCRIPT, tmp_path / "store")
    tasks = TaskManager(include_defaults=False, include_path=str(tmp_path)).load("colours")
    results = evaluator.evaluate(
        ScriptedLM(SCRIPT), tasks, apply_chat_template=True, fewshot_as_multiturn=True, bootstrap_iters=0
    )
    record = describe_task(task, "plain", answered.items)
    assert record.group_average == ("micro" if weighted else "macro")
    scores = Scores.from_columns(
        item=record.items, value=[score.value for score in answered.scores.values()], cluster=record.users
    )
    assert summarize(scores, weight=task.average).mean == pytest.approx(results["groups"]["colours"]["acc,none"])
    assert sorted(set(record.users or ())) == ["dark", "light", "odd"]
    assert {item.user_id for item in task.items("train")} == {None}
    assert len(make_plan(RunConfig(tasks=(f"lm-eval:{path}",), limit=4)).tasks[0].items) == 4


def test_a_refused_part_of_a_group_is_named_with_the_reason(tmp_path: Path) -> None:
    part(tmp_path, "light", [0, 1])
    part(tmp_path, "dark", [0, 1], metric_list=[{"metric": "mcc"}])
    with pytest.raises(PluginError) as caught:
        lm_eval_task(str(group(tmp_path, True, ["light", "dark"])))
    assert "colours.yaml: its part dark is refused: lm-eval:dark cannot be scored item by item: mcc is" in str(
        caught.value
    )
    part(tmp_path, "dark", [0, 1], test_split="absent")
    with pytest.raises(PluginError, match=r"its part dark cannot be loaded: its data have no split 'absent'"):
        lm_eval_task(str(group(tmp_path, True, ["light", "dark"])))
    part(tmp_path, "dark", [0, 1], metric_list=[{"metric": "acc_norm", **MEAN}])
    with pytest.raises(
        PluginError, match=r"no metric of the group can be scored in all of its parts\. Missing: acc in dark"
    ):
        lm_eval_task(str(group(tmp_path, True, ["light", "dark"])))
