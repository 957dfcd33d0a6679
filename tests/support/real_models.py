"""Small random models of several architectures, each with its own kind of tokenizer, and requests to models."""

from __future__ import annotations

import json
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
    T5Config,
    T5ForConditionalGeneration,
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
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    if architecture not in WITHOUT_PAD:
        names["pad_token"] = "<s>"
    save_tokenizer(folder, SPECIAL, names, REFUSES_SYSTEM if architecture == "gemma2" else CHATML)
    return folder


def save_tokenizer(folder: Path, special: list[str], names: dict[str, str], template: str | dict[str, str]) -> None:
    """Save a byte-level tokenizer: the special tokens come first, those beyond the first five last."""
    vocabulary = {token: n for n, token in enumerate([*special[:5], *BYTES, *special[5:]])}
    core = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, additional_special_tokens=special[2:], **names)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)


TURNS = ["<s>", "</s>", "<|turn|>", "<|end|>", "<|pad|>"]
"""The special tokens of `make_chat_model`; a model has no embedding for further ones."""
ASKED = "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
TURN = "<|turn|>{{ m.role }}\n{{ m.content }}<|end|>\n"
PLAIN = "{% for m in messages %}" + TURN + "{% endfor %}" + ASKED
THINKS_UNLESS_OFF = (
    "{% for m in messages %}{% if m.role == 'assistant' and loop.last %}<|turn|>assistant\n<think>\n\n</think>\n\n"
    "{{ m.content }}<|end|>\n{% else %}" + TURN + "{% endif %}{% endfor %}" + ASKED + "{% if add_generation_prompt"
    " and enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)
"""In the manner of Qwen3: the last response of a finished chat gets a block of thoughts."""
DROPS_THOUGHTS = (
    "{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}<|end|>\n{% endfor %}"
    + ASKED.replace("assistant\n", "assistant\n<think>\n")
)
"""In the manner of DeepSeek-R1: the prompt opens the thoughts, and finished chats lose them."""
ENDS = {"bos_token_id": 0, "eos_token_id": [1, 3]}
NAMED = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<|pad|>"}


def make_chat_model(
    folder: Path,
    template: str | dict[str, str] = PLAIN,
    *,
    names: dict[str, str] | None = None,
    generation: dict[str, Any] | None = None,
    further: tuple[str, ...] = (),
    **config: Any,
) -> Path:
    """Save a random model whose template ends turns with `<|end|>`. `generation` is its generation_config.json."""
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(Qwen2Config(**{**SHAPE, **GROUPED, **config})).save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps(ENDS if generation is None else generation))
    save_tokenizer(folder, [*TURNS, *further], NAMED if names is None else names, template)
    return folder


def make_encoder_decoder(folder: Path) -> Path:
    """Save a random T5."""
    shape = {"vocab_size": SHAPE["vocab_size"], "d_model": 8, "d_ff": 8, "num_layers": 1, "num_heads": 1, "d_kv": 8}
    T5ForConditionalGeneration(T5Config(**shape)).save_pretrained(folder)
    save_tokenizer(folder, TURNS, NAMED, PLAIN)
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
