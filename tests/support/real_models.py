"""Small randomly initialised models of several architectures, each with its own kind of tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    Gemma2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
SPECIAL = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>"]
CHATML = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
REFUSES_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
SHAPE: dict[str, Any] = {
    "vocab_size": len(BYTES) + len(SPECIAL),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 4096,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
GROUPED: dict[str, Any] = {"num_key_value_heads": 1}
ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SHAPE, **GROUPED),
    "qwen2": lambda: Qwen2Config(**SHAPE, **GROUPED),
    "gemma2": lambda: Gemma2Config(**SHAPE, **GROUPED, head_dim=16, sliding_window=64),
    "mistral": lambda: MistralConfig(**SHAPE, **GROUPED, sliding_window=64),
    "gpt_neox": lambda: GPTNeoXConfig(**SHAPE),
}
WITHOUT_PAD = {"llama", "mistral", "gpt_neox"}


def make_model(architecture: str, folder: Path, *, seed: int = 0) -> Path:
    """Save a random model of about 40,000 parameters with a byte-level tokenizer and a chat template."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(ARCHITECTURES[architecture]())
    model.save_pretrained(folder)
    vocabulary = {token: n for n, token in enumerate([*SPECIAL, *BYTES])}
    core = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    if architecture not in WITHOUT_PAD:
        names["pad_token"] = "<s>"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, additional_special_tokens=SPECIAL[2:], **names)
    tokenizer.chat_template = REFUSES_SYSTEM if architecture == "gemma2" else CHATML
    tokenizer.save_pretrained(folder)
    return folder
