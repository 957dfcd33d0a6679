"""Entailment models: sequence classifiers of transformers that read a premise and a hypothesis (NLI cross-encoders).

`EntailmentModel` loads at its first question. A premise that is longer than the model's window is read in windows, and
counts with the largest probability of any.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.errors import ModelError, first_line, refuse_missing_weights
from mipo_bench.harness.generators.placement import Placement

if TYPE_CHECKING:
    import torch

LONGEST = 512
"""Most tokens of a pair where the tokenizer names no limit."""


@dataclass(frozen=True, slots=True)
class Entailed:
    """The probabilities that a premise entails a hypothesis and contradicts it (0 for models of two labels)."""

    entailed: float
    contradicted: float


@dataclass(frozen=True, slots=True)
class NliLabels:
    """The positions of two labels in a model's output; `contradiction` is None for models of two labels."""

    entailment: int
    contradiction: int | None


def nli_labels(folder: Path, model: str) -> NliLabels:
    """The labels of an entailment model, from its config.json. Raises ModelError for any other model."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        names = {int(n): str(name).lower() for n, name in config.get("id2label", {}).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"nli:{model}: {folder} has no readable config.json: {first_line(error)}.") from error
    found = [n for n, name in names.items() if "entail" in name and not name.startswith(("not", "non", "un"))]
    against = [n for n, name in names.items() if "contradict" in name]
    classifies = any("SequenceClassification" in str(name) for name in config.get("architectures") or ())
    if not classifies or len(found) != 1 or len(against) > 1:
        what = ", ".join(map(str, config.get("architectures") or ())) or str(config.get("model_type"))
        raise ModelError(
            f"nli:{model} is no entailment model: it is {what} with the labels {', '.join(names.values()) or 'none'}."
            " An entailment model is a sequence classifier of transformers with one label 'entailment', such as"
            " cross-encoder/nli-deberta-v3-small."
        )
    return NliLabels(found[0], against[0] if against else None)


class EntailmentModel:
    """An entailment model in this process. Probabilities do not depend on the batch, up to rounding."""

    def __init__(self, folder: Path, name: str, where: Placement) -> None:
        self.labels = nli_labels(folder, name)
        self._folder, self._name, self._where = folder, name, where

    def check(self, pairs: Sequence[tuple[str, str]]) -> list[Entailed]:
        """The probabilities of each pair of premise and hypothesis, in order. Raises ModelError if it cannot load."""
        tokens, owners = self._windows(pairs)
        best = [Entailed(0.0, 0.0)] * len(pairs)
        order = sorted(range(len(tokens)), key=lambda n: -len(tokens[n]["input_ids"]))  # alike lengths: little padding
        size = self._where.batch_size or 32
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            for n, found in zip(batch, self._probabilities([tokens[n] for n in batch]), strict=True):
                before = best[owners[n]]
                best[owners[n]] = Entailed(
                    max(before.entailed, found.entailed), max(before.contradicted, found.contradicted)
                )
        return best

    def unload(self) -> None:
        """Free the memory of the model; the next question loads it again."""
        self.__dict__.pop("_loaded", None)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and model."""
        from safetensors import SafetensorError
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        where = self._where
        try:
            tokenizer = AutoTokenizer.from_pretrained(self._folder, trust_remote_code=where.trust_remote_code)
            loaded: Any = AutoModelForSequenceClassification.from_pretrained(
                self._folder, dtype=where.dtype, output_loading_info=True, **where.load_kwargs
            )
        except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"nli:{self._name} cannot be loaded: {first_line(error)}") from error
        model, found = loaded
        refuse_missing_weights(f"nli:{self._name}", found["missing_keys"])
        return tokenizer, model.to(where.device).eval()

    @property
    def _limit(self) -> int:
        """Most tokens of a pair: the smaller of the tokenizer's limit and the model's positions."""
        tokenizer, model = self._loaded
        positions = getattr(model.config, "max_position_embeddings", LONGEST) or LONGEST
        offset = 2 if "roberta" in model.config.model_type else 0  # its first positions are never used
        return min(int(tokenizer.model_max_length), positions - offset, LONGEST)

    def _windows(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[dict[str, list[int]]], list[int]]:
        """The tokens of every window of every pair, and the position of its pair."""
        tokenizer, _ = self._loaded
        limit = self._limit
        if not pairs:
            return [], []
        hypotheses = [self._cut(text, limit // 2) for _, text in pairs]
        found = tokenizer(
            [premise for premise, _ in pairs],
            hypotheses,
            truncation="only_first",
            max_length=limit,
            return_overflowing_tokens=True,
        )
        owners = list(map(int, found.pop("overflow_to_sample_mapping", range(len(pairs)))))
        names = [name for name in tokenizer.model_input_names if name in found]
        return [{name: found[name][n] for name in names} for n in range(len(owners))], owners

    def _cut(self, text: str, limit: int) -> str:
        """The text up to so many tokens."""
        tokenizer, _ = self._loaded
        if len(text) <= limit:  # a token has one character or more
            return text
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return text if len(offsets) <= limit else text[: offsets[limit - 1][1]]

    def _probabilities(self, batch: Sequence[dict[str, list[int]]]) -> list[Entailed]:
        import torch

        tokenizer, model = self._loaded
        padded = tokenizer.pad(batch, return_tensors="pt").to(self._where.device)
        with torch.inference_mode():
            logits: torch.Tensor = model(**padded).logits.float()
        rows = logits.softmax(-1).tolist()
        against = self.labels.contradiction
        return [Entailed(row[self.labels.entailment], 0.0 if against is None else row[against]) for row in rows]
