"""The source of a run's answers, which `--model` and `--backend` describe together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OWN = "transformers"
OPENAI = "openai"
TRAINING_BACKENDS = ("transformers", "hf", "hf-auto", "huggingface", "vllm", "sglang")
"""Backends that load a model folder, and so can run a trained checkpoint; all others only run prompting arms."""


RESPONSES = (".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz")
"""Endings of the names of files of responses, in small letters."""


@dataclass(frozen=True, slots=True)
class AnswerSource:
    """The source of a run's answers: the harness's own engine, one of lm-eval's, a chat server, or a responses file.

    `has_weights` says that the base model's weights are on this machine: it can be trained, and compared with the
    weights of a judge.
    """

    kind: Literal["own", "lm-eval", "openai", "responses"]
    has_weights: bool

    @classmethod
    def of(cls, model: str, backend: str) -> AnswerSource:
        """The source that `--model` and `--backend` together describe."""
        if model.lower().endswith(RESPONSES):
            return cls("responses", has_weights=False)
        if backend == OWN:
            return cls("own", has_weights=True)
        if backend == OPENAI:
            return cls("openai", has_weights=False)
        return cls("lm-eval", has_weights=backend in TRAINING_BACKENDS)
