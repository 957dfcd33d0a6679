"""Settings with which an engine of lm-eval is asked."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from lm_eval.api.instance import Instance
from real_models import make_chat_model

from mipo_bench.harness.backends.lm_eval import LMEvalBackend
from mipo_bench.harness.config.loading import load_config
from mipo_bench.harness.generators.lm_eval_generator import LMEvalGenerator
from mipo_bench.harness.generators.lm_eval_model import LMEvalModel
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.generators.tokenizer import load_tokenizer
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.store.run_store import Store
from mipo_bench.harness.types import Decoding


class RecordingEngine:
    """An engine of lm-eval that answers nothing and keeps the settings that it was asked with."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = load_tokenizer(folder, Placement())
        self.settings: list[dict[str, object]] = []

    def started(self) -> RecordingEngine:
        return self

    def generate_until(self, instances: list[Instance], *, disable_tqdm: bool) -> list[str]:
        assert disable_tqdm
        self.settings += [instance.args[1] for instance in instances]
        return [""] * len(instances)


def test_a_missing_end_token_ends_the_responses_of_an_engine_of_lm_eval(tmp_path: Path) -> None:
    until = {}
    for name, named in (("named", [1, 3]), ("missing", 1)):
        folder = make_chat_model(tmp_path / name, generation={"eos_token_id": named})
        config = load_config(None, [], {"model": str(folder), "backend": "hf"})
        with closing(Store(tmp_path / f"{name}-store")) as store:
            base = LMEvalBackend(config, folder, Placement("cpu", "float32"), store).base
        assert isinstance(base, LMEvalGenerator)
        recording = RecordingEngine(folder)
        model = LMEvalModel(replace(base.spec, build=partial(RecordingEngine.started, recording)))
        model.generate([Request("hello", 0, Decoding(20, 0.0, stop=("\n",)))])
        until[name] = recording.settings[0]["until"]
    assert until == {"named": ["\n"], "missing": ["\n", "<|end|>"]}
