"""Generation with transformers: the `Generator` behind a Hugging Face model folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mipo_bench.harness.config import ChatConfig, RunConfig
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.prompts import DEFAULT_CHAT, render
from mipo_bench.harness.tokens import encode_pair, finished_text
from mipo_bench.harness.types import Continuations, Decoding, Likelihood, Message, Prompt, Request, Response

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a model is computed."""

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 0
    batch_size: int = 32
    trust_remote_code: bool = False
    attention: str = "auto"
    device_map: str | None = None
    max_length: int | None = None
    chat: ChatConfig = DEFAULT_CHAT

    @property
    def loading(self) -> dict[str, Any]:
        """How transformers loads a model, whatever for. Weights come from safetensors only."""
        chosen = {} if self.attention == "auto" else {"attn_implementation": self.attention}
        return {"use_safetensors": True, "trust_remote_code": self.trust_remote_code, **chosen}

    @property
    def identity(self) -> tuple[str, ...]:
        """What of it can change an answer or a training, for content keys."""
        chat = self.chat.model_dump_json()
        return (self.device.split(":")[0], self.dtype, self.attention, str(self.max_length), chat)


def place(config: RunConfig) -> Placement:
    """Settle what the configuration leaves to `auto`. Raises ModelError for a device that is not there.

    The device is a GPU if there is one. Responses are computed in float32 where something is trained: rounded to
    bfloat16, most of the small steps of a training vanish again from the weights. Else bfloat16 on a GPU.
    """
    import torch

    device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"device {device!r} cannot be used: {reason}. Take --set device=cpu, or auto.") from error
    trains = config.recipes is None or len(config.recipes) > 0
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if trains or device == "cpu" else "bfloat16"
    return Placement(
        device,
        dtype,
        config.threads,
        config.batch_size,
        config.trust_remote_code,
        config.attention,
        config.device_map,
        config.max_length,
        config.chat,
    )


class HFGenerator:
    """A causal language model of transformers. Weights load at the first generation, not before."""

    def __init__(self, folder: Path, digest: str, placement: Placement) -> None:
        """Remember the folder; `digest` is that of `provenance.model_digest`."""
        self.folder = folder
        self.digest = digest
        self.placement = placement

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, padding on the left."""
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(
                self.folder, padding_side="left", trust_remote_code=self.placement.trust_remote_code
            )
        except Exception as error:
            raise ModelError(f"cannot load the tokenizer of {self.folder}: {error}") from error
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model, in evaluation mode on its device."""
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        if self.placement.threads:
            torch.set_num_threads(self.placement.threads)
        try:
            model = AutoModelForCausalLM.from_pretrained(
                self.folder,
                dtype=getattr(torch, self.placement.dtype),
                device_map=self.placement.device_map,
                **self.placement.loading,
            )
        except Exception as error:
            raise ModelError(f"cannot load the model {self.folder}: {error}") from error
        if self.placement.device_map is None:
            move: Any = model.to  # its wrapper's type is wrong in transformers
            move(self.placement.device)
        model.eval()
        return cast("PreTrainedModel", model)

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:
        """See `prompts.render`."""
        return render(self.tokenizer, messages, context, self.placement.chat)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`: same decoding together, longest prompts first, so that padding stays small."""
        order = sorted(range(len(requests)), key=lambda i: (repr(requests[i].decoding), -len(requests[i].prompt), i))
        size = self.placement.batch_size
        groups = [list(g) for _, g in groupby(order, key=lambda i: requests[i].decoding)]
        for batch in (group[i : i + size] for group in groups for i in range(0, len(group), size)):
            yield from zip(batch, self._answer([requests[i] for i in batch]), strict=True)

    def likelihoods(self, asked: Sequence[Continuations]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """See `Generator`."""
        for position, question in enumerate(asked):
            rows = [encode_pair(self.tokenizer, question.prompt, text) for text in question.texts]
            yield position, tuple(self._continuations(rows))

    def _answer(self, requests: Sequence[Request]) -> list[Response]:
        """Answer one batch; all requests share their decoding."""
        decoding = requests[0].decoding
        ids = [self.tokenizer.encode(r.prompt, add_special_tokens=False) for r in requests]
        window = getattr(self.model.config, "max_position_embeddings", None) or _ENDLESS
        room = min(window, self.placement.max_length or _ENDLESS)
        fits = [i for i, tokens in enumerate(ids) if len(tokens) + decoding.max_new_tokens <= room]
        answers = [Response("", len(tokens), 0, "overflow") for tokens in ids]
        if fits:
            texts = self._sample([ids[i] for i in fits], [requests[i].seed for i in fits], decoding)
            options = self._option_logprobs([requests[i] for i in fits])
            for i, (text, n_tokens, stopped), logprobs in zip(fits, texts, options, strict=True):
                answers[i] = Response(text, len(ids[i]), n_tokens, "stop" if stopped else "length", logprobs)
        return answers

    def _sample(self, prompts: list[list[int]], seeds: list[int], decoding: Decoding) -> list[tuple[str, int, bool]]:
        """Text, number of new tokens (without the end token), and whether the model ended its turn."""
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        if decoding.max_new_tokens == 0:
            return [("", 0, True)] * len(prompts)
        ids, mask = self._pad(prompts)
        ends = _end_tokens(self.model, self.tokenizer)
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=decoding.max_new_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=self.tokenizer.pad_token_id,
            **_NEUTRAL,
        )
        sampler = [RowSampler(decoding, seeds, ids.shape[1])] if decoding.temperature > 0 else []
        with torch.inference_mode():
            generate: Any = self.model.generate  # typed as a union by transformers
            out = generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=settings,
                logits_processor=LogitsProcessorList(sampler),
            )
        return [self._finish(row, ends, decoding) for row in out[:, ids.shape[1] :].tolist()]

    def _finish(self, row: list[int], ends: set[int], decoding: Decoding) -> tuple[str, int, bool]:
        stop = next((i for i, token in enumerate(row) if token in ends), None)
        kept = row if stop is None else row[:stop]
        whole = str(self.tokenizer.decode(kept, skip_special_tokens=True))
        text = finished_text(whole, decoding)
        return text, len(kept), stop is not None or any(mark in whole for mark in decoding.stop)

    def _option_logprobs(self, requests: Sequence[Request]) -> list[tuple[float, ...] | None]:
        """The log-probabilities of each request's options in nats; None without options."""
        found = self.likelihoods([Continuations(r.prompt, r.options) for r in requests])
        return [tuple(x.logprob for x in row) if row else None for _, row in sorted(found)]

    def _continuations(self, rows: Sequence[tuple[list[int], list[int]]]) -> list[Likelihood]:
        """The likelihood of each continuation given its prompt."""
        import torch

        if not rows:
            return []
        ids, mask = self._pad([prompt + tail for prompt, tail in rows])
        longest = max(len(tail) for _, tail in rows)
        with torch.inference_mode():
            out = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                use_cache=False,
                logits_to_keep=longest + 1,
            )
        logprobs = torch.log_softmax(out.logits[:, :-1].float(), dim=-1)
        wanted = ids[:, -longest:]
        taken = logprobs.gather(-1, wanted.unsqueeze(-1)).squeeze(-1)
        first = logprobs.argmax(-1) == wanted
        return [
            Likelihood(float(taken[i, longest - n :].sum()), n, bool(first[i, longest - n :].all()))
            for i, n in enumerate(len(tail) for _, tail in rows)
        ]

    def _pad(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and attention mask, both (batch, time), padded on the left."""
        batch = self.tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        device = self.model.device
        return batch["input_ids"].to(device), batch["attention_mask"].to(device)


_ENDLESS = 1 << 30
"""Tokens that a model without a stated window may be given."""
_NEUTRAL: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
}
"""transformers fills unset values from the model's generation_config.json (Qwen2.5: repetition penalty, top-k)."""


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    found = set(ends) if isinstance(ends, list) else {ends}
    return {int(e) for e in found | {tokenizer.eos_token_id} if e is not None}


class RowSampler:
    """A logits processor that samples each row with its own random numbers, then leaves that token alone.

    Sampling is by inversion: one uniform number for each row and step, from the row's seed, picks a token from the
    nucleus (Holtzman et al. 2020, arXiv 1904.09751) in order of falling probability. So a row's sample does not depend
    on what else is in its batch.
    """

    def __init__(self, decoding: Decoding, seeds: Sequence[int], prompt_length: int) -> None:
        """Draw the uniform numbers, (rows, max_new_tokens)."""
        self.decoding = decoding
        self.prompt_length = prompt_length
        self.uniform = np.stack([np.random.default_rng(s).random(decoding.max_new_tokens) for s in seeds])

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of minus infinity but for the sampled token of each row; both (rows, vocabulary)."""
        import torch

        step = input_ids.shape[1] - self.prompt_length
        draw = torch.from_numpy(self.uniform[:, step]).to(scores.device, torch.float32).unsqueeze(1)
        probs, tokens = torch.softmax(scores.float() / self.decoding.temperature, dim=-1).sort(
            dim=-1, descending=True, stable=True
        )
        mass = probs.cumsum(dim=-1)
        kept = mass - probs < self.decoding.top_p
        total = (probs * kept).sum(dim=-1, keepdim=True)
        place = ((mass < draw * total) & kept).sum(dim=-1, keepdim=True)
        place = torch.minimum(place, kept.sum(dim=-1, keepdim=True) - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, tokens.gather(1, place), 0.0)
