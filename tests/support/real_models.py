"""Small random models of several architectures, each with its own kind of tokenizer, and requests to models."""

from __future__ import annotations

import random
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

from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.types import Decoding, Message, Response

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


def mixed_requests(n: int) -> list[Request]:
    """Texts of 5 to 150 tokens, some beyond the sliding windows, with every kind of decoding."""
    rng = random.Random(0)
    return [
        Request(
            "".join(rng.choices("abcdefgh ", k=rng.randint(5, 150))),
            seed,
            Decoding(rng.choice([1, 7, 40]), rng.choice([0.0, 0.7, 1.0]), rng.choice([0.9, 1.0]), ("e",) * (seed % 2)),
            ("a", "bcd", "") if seed % 3 == 0 else (),
            "xy" * rng.randint(1, 40) if seed % 4 == 0 else None,
            0.5,
        )
        for seed in range(n)
    ]


def chats(generator: HFGenerator, n: int) -> list[Request]:
    """Requests like those of a run on the embedded model."""
    rng, asked = random.Random(0), list[Request]()
    for name in ("persona", "facts"):
        task = load_plugins().tasks[name]
        for item in task.items("eval")[: n // 2]:
            prompt = generator.render([Message("user", f"{item.context or ''} {item.prompt}")], None)
            decoding = Decoding(task.max_new_tokens, rng.choice([0.0, 0.1, 1.0]), rng.choice([0.9, 1.0]))
            asked.append(Request(prompt.text, rng.randrange(1 << 40), decoding, item.options))
    return asked


def answers(generator: HFGenerator, asked: list[Request]) -> list[Response]:
    return [response for _, response in sorted(generator.generate(asked), key=lambda found: found[0])]


def check_independence(generator: HFGenerator, asked: list[Request]) -> None:
    """Assert that every response is identical in another order, in a subset, and alone."""
    together = dict(zip(asked, answers(generator, asked), strict=True))
    rng = random.Random(1)
    for part in (rng.sample(asked, len(asked)), rng.sample(asked, len(asked) // 5), asked[:1], asked[-1:]):
        assert dict(zip(part, answers(generator, part), strict=True)) == {
            request: together[request] for request in part
        }
    assert generator.notes == []  # the model is computed in slots, and their rows are rounded alike
