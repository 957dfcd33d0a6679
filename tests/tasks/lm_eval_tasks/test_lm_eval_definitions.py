"""Definitions that ship with lm-eval, on small files of the same schema, item by item against `simple_evaluate`.

`tests/data/lm_eval/rows.json` has rows for over a hundred; `lm_eval_coverage.py --parity` compares all of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import lm_eval.tasks
import pytest
from definitions.parity import Definition, compare
from lm_eval.tasks._yaml_loader import load_yaml
from paths import DATA

SAMPLE = (
    *("arc_easy", "mmlu_abstract_algebra", "truthfulqa_mc2", "crows_pairs_english", "winogrande", "copa"),
    *("lambada_openai", "asdiv", "wikitext", "squad_completion", "gsm8k_cot_self_consistency", "wmt16-de-en"),
    *("triviaqa", "mmlu_prox_af_biology"),
)
FOLDER = Path(lm_eval.tasks.__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    rows = json.loads((DATA / "lm_eval" / "rows.json").read_text())
    definitions = [Definition(name, load_yaml(FOLDER / rows[name]["file"]), rows[name]["rows"]) for name in SAMPLE]
    return compare(definitions, tmp_path_factory.mktemp("definitions"))


@pytest.mark.parametrize("name", SAMPLE)
def test_a_definition_gives_the_scores_of_lm_eval(name: str, found: dict[str, list[str]]) -> None:
    assert found[name] == []
