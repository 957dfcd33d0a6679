"""One response by transformers' own generation loop, for architectures that cannot be computed in slots.

`generate_single` samples with the same random numbers as the slots do, and ends a response at the same token.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, StoppingCriteriaList

from mipo_bench.harness.core.pace import Kind
from mipo_bench.harness.core.progress import current_stage
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.inference.continuous_batching import StopCheck
from mipo_bench.harness.inference.sampling import Draws, sample_tokens
from mipo_bench.harness.inference.tokens import TextCodec, TokenizedRequest

_NEUTRAL: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
}
"""transformers fills unset values from the model's generation_config.json (Qwen2.5: repetition penalty, top-k)."""


def generate_single(model: PreTrainedModel, codec: TextCodec, tokenized: TokenizedRequest) -> list[int]:
    """The tokens of the response, with the one that ends it. Raises ModelError for context-aware decoding."""
    if tokenized.contrast is not None:
        raise ModelError("context-aware decoding needs a model that can be computed in slots; this one cannot")
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=tokenized.request.decoding.max_new_tokens,
        eos_token_id=sorted(codec.eos_ids) or None,
        pad_token_id=codec.tokenizer.pad_token_id,
        **_NEUTRAL,
    )
    ids = torch.tensor([tokenized.prompt], dtype=torch.long, device=model.device)
    hooks = _Hooks(tokenized, codec.finish_reason)
    generate: Any = model.generate
    with torch.inference_mode():
        out = generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=settings,
            logits_processor=LogitsProcessorList([hooks.choose]),
            stopping_criteria=StoppingCriteriaList([hooks.is_finished]),
        )
    tokens: list[int] = out[0, len(tokenized.prompt) :].tolist()
    return tokens


class _Hooks:
    """The functions that transformers' loop calls at every token of a response."""

    def __init__(self, tokenized: TokenizedRequest, stop_check: StopCheck) -> None:
        self.request, self.prompt_length, self.stop_check = tokenized.request, len(tokenized.prompt), stop_check
        self.draws = Draws(self.request.seed, self.request.decoding)

    def choose(self, input_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Leave only the token that `sample_tokens` takes."""
        step = input_ids.shape[1] - self.prompt_length
        token = sample_tokens(logits.float(), [self.request.decoding], [self.draws.at(step)])
        return torch.full_like(logits, -torch.inf).index_fill(1, torch.tensor(token, device=logits.device), 0.0)

    def is_finished(self, input_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - interface
        """Whether the response is finished, (1)."""
        tokens = input_ids[0, self.prompt_length :].tolist()
        finish = self.stop_check(self.request, tokens)
        length = (Kind.of(self.request), len(tokens))
        current_stage().decode([] if finish else [length], [length] if finish else [])
        return torch.tensor([finish is not None], device=input_ids.device)
