"""Random weights of a real shape, with a tokenizer that knows every token: speed does not depend on their values."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from mipo_bench.harness.generators import model_folder

SHAPES: Mapping[str, dict[str, Any]] = {
    "qwen2.5-1.5b": {  # huggingface.co/Qwen/Qwen2.5-1.5B-Instruct, config.json
        "vocab_size": 151936,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    },
    "tiny": {
        "vocab_size": 4096,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}


def make_model(shape: str, folder: Path, device: str) -> None:
    """Save random weights of a shape, with a tokenizer that knows every token."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

    torch.manual_seed(0)
    config = Qwen2Config(**SHAPES[shape], tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_folder.embedded_folder()).save_pretrained(folder)
    file = folder / "tokenizer.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    vocabulary, merges = whole["model"]["vocab"], whole["model"]["merges"]
    special = {token["content"] for token in whole["added_tokens"]}
    known = [token for token in vocabulary if token not in special]
    for pair in product(known, known):
        if len(vocabulary) < config.vocab_size and "".join(pair) not in vocabulary:
            vocabulary["".join(pair)] = len(vocabulary)
            merges.append(pair)
    file.write_text(json.dumps(whole), encoding="utf-8")


def words(rng: random.Random, count: int) -> str:
    """Text of about this many tokens."""
    return " ".join(rng.choice(["tea", "music", "the", "garden", "of", "chess", "rain", "and"]) for _ in range(count))
