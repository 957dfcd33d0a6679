"""Small random models of several architectures, each with its own kind of tokenizer, and requests to models."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, get_tensor_name_map, quantize
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
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
    "gpt2": lambda: GPT2Config(vocab_size=SHAPE["vocab_size"], n_embd=32, n_layer=2, n_head=4, n_positions=1024),
}
WITHOUT_PAD = {"llama", "mistral", "gpt_neox"}


def make_model(architecture: str, folder: Path, *, seed: int = 0, **shape: int) -> Path:
    """Save a random model with a byte-level tokenizer and a chat template: 40,000 parameters, unless `shape` asks."""
    torch.manual_seed(seed)
    config = ARCHITECTURES[architecture]()
    config.update(shape)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
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


MERGE = "th"
"""The one token of `make_gguf` that is merged from two others."""


def make_gguf(
    file: Path,
    quantise: str = "Q8_0",
    *,
    template: str | None = PLAIN,
    tensors: dict[str, NDArray[Any] | None] | None = None,
    **metadata: Any,
) -> PreTrainedModel:
    """Write a random llama to a GGUF file as llama.cpp's converter does, and return the model with its float32 weights.

    Matrices are quantised as `quantise`. `tensors` are further ones, or None for one that is left out. `metadata` are
    further entries, with `__` for a dot in their names.
    """
    torch.manual_seed(0)
    shape = {**SHAPE, **GROUPED, "vocab_size": SHAPE["vocab_size"] + 1, "tie_word_embeddings": True}
    model: PreTrainedModel = AutoModelForCausalLM.from_config(LlamaConfig(**shape, initializer_range=0.2))
    writer = GGUFWriter(file, "llama")
    config = model.config
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*TURNS, *BYTES, MERGE])
    writer.add_token_types([3] * len(TURNS) + [1] * (len(BYTES) + 1))  # 3: control, 1: normal
    writer.add_token_merges([" ".join(MERGE)])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(4)
    if template is not None:
        writer.add_chat_template(template)
    for key, value in metadata.items():
        (writer.add_uint32 if isinstance(value, int) else writer.add_string)(key.replace("__", "."), value)
    extra = tensors or {}
    for name, weights in _gguf_tensors(model).items():
        kind = GGMLQuantizationType[quantise if weights.ndim > 1 else "F32"]
        if name not in extra:
            writer.add_tensor(name, quantize(weights, kind), raw_dtype=kind)
    for name, further in extra.items():
        if further is not None:
            writer.add_tensor(name, further)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _gguf_tensors(model: Any) -> dict[str, NDArray[np.float32]]:
    """The weights of a llama under the names and in the order of llama.cpp, which interleaves the heads of q and k."""
    config = model.config
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    found = {}
    for name, weights in model.state_dict().items():
        if name == "lm_head.weight":  # the embedding
            continue
        array = weights.numpy()
        for part, count in heads.items():
            if part in name:
                array = array.reshape(count, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        found[str(names.get_name(name, try_suffixes=(".weight",)))] = array
    return found


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
