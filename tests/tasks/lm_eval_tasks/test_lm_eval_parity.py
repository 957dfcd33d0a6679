"""Parity with lm-eval's own tasks on the same rows: targets, options and the scores of gold responses are equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from paths import DATA

from mipo_bench.tasks.answers import LETTERS, final_number
from mipo_bench.tasks.public.arc import ArcChallenge, ArcEasy
from mipo_bench.tasks.public.gsm8k import Gsm8k
from mipo_bench.tasks.public.mmlu import Mmlu
from mipo_bench.tasks.public.public_task import PublicTask


def of_lm_eval(definition: str, files: str, folder: Path) -> Any:
    """lm-eval's own task on our files. `*` in `files` is replaced by the split."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    own = Path(lm_eval.__file__).parent / "tasks" / definition
    train = DATA / files.replace("*", "train" if "all/" not in files else "auxiliary_train")
    held, dev = DATA / files.replace("*", "test"), DATA / files.replace("*", "dev")
    splits = {"train": train, "validation": held, "test": held} | ({"dev": dev} if dev.exists() else {})
    paths = ", ".join(f"{split}: {path}" for split, path in splits.items())
    (folder / "parity.yaml").write_text(
        f"include: {own}\ntask: parity\ndataset_path: json\ndataset_name: null\n"
        f"dataset_kwargs: {{cache_dir: {folder}, data_files: {{{paths}}}}}\n"
    )
    loaded = TaskManager(include_defaults=False, include_path=str(folder)).load("parity")
    return loaded["tasks"]["parity"]


def test_targets_of_gsm8k_are_those_of_lm_eval(tmp_path: Path) -> None:
    theirs, ours = of_lm_eval("gsm8k/gsm8k.yaml", "gsm8k/main/*.jsonl", tmp_path), Gsm8k(DATA).items("eval")
    for doc, item in zip(theirs.test_docs(), ours, strict=True):
        assert item.prompt.startswith(doc["question"])
        assert final_number(theirs.doc_to_target(doc)) == float(item.target)


@pytest.mark.parametrize(
    ("task", "definition", "files"),
    [
        (ArcChallenge, "arc/arc_challenge.yaml", "ai2_arc/ARC-Challenge-*.jsonl"),
        (ArcEasy, "arc/arc_easy.yaml", "ai2_arc/ARC-Easy-*.jsonl"),
    ],
)
def test_options_and_targets_of_arc_are_those_of_lm_eval(
    task: type[PublicTask], definition: str, files: str, tmp_path: Path
) -> None:
    theirs, ours = of_lm_eval(definition, files, tmp_path), task(DATA).items("eval")
    for doc, item in zip(theirs.test_docs(), ours, strict=True):
        assert item.id == doc["id"]
        assert tuple(theirs.doc_to_choice(doc)) == item.options
        assert LETTERS[theirs.doc_to_target(doc)] == item.target


def test_letters_of_mmlu_are_those_of_lm_eval(tmp_path: Path) -> None:
    theirs = of_lm_eval("mmlu/default/_default_template_yaml", "mmlu/all/*.jsonl", tmp_path)
    for doc, item in zip(theirs.test_docs(), Mmlu(DATA).items("eval"), strict=True):
        assert theirs.doc_to_choice(doc)[theirs.doc_to_target(doc)] == item.target
        assert theirs.doc_to_text(doc).removesuffix("\nAnswer:") == item.prompt.rpartition("\n")[0]
