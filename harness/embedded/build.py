"""Train the embedded model from scratch and write it as a Hugging Face folder.

    python -m mipo_bench.harness.embedded.build --out DIR [--seed 0]

The same seed, thread count and library versions give the same weights. Training runs in bfloat16 autocast over
float32 weights, on assistant tokens only.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mipo_bench.harness.embedded.corpus import RECALL_SHARES, TASK_SHARES, Chat, chats

BOS, PAD, END = "<|bos|>", "<|pad|>", "<|end|>"
ROLES = {role: f"<|{role}|>" for role in ("system", "user", "assistant")}
CHAT_TEMPLATE = (
    "{{ '" + BOS + "' }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '" + END + "' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of training with its own corpus mixture, optimizer and learning-rate schedule."""

    steps: int
    lr: float
    warmup: int
    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """All settings that decide the weights."""

    seed: int = 0
    batch: int = 64
    phases: tuple[Phase, ...] = (Phase(4000, 3e-3, 200, TASK_SHARES), Phase(600, 1e-3, 50, RECALL_SHARES))
    vocabulary: int = 1024
    width: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 384
    threads: int = 2


def train_tokenizer(recipe: BuildSettings) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer. Any text round-trips; each digit is a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[PAD, BOS, END, *ROLES.values()],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (m.content for chat in islice(chats(recipe.seed), 20_000) for m in chat)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def encode(tokenizer: PreTrainedTokenizerFast, chat: Chat) -> tuple[list[int], list[bool]]:
    """Token ids of a chat as the template renders it, and for each whether the loss counts it (the assistant's)."""
    vocabulary = tokenizer.get_vocab()
    ids, learned = [vocabulary[BOS]], [False]
    for message in chat:
        content = [*tokenizer.encode(message.content, add_special_tokens=False), vocabulary[END]]
        ids += [vocabulary[ROLES[message.role]], *content]
        learned += [False] + [message.role == "assistant"] * len(content)
    return ids, learned


def batches(
    tokenizer: PreTrainedTokenizerFast, phase: Phase, batch: int, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of similar length, padded on the right: ids and mask of learned tokens, both (batch, time)."""
    stream, rng = chats(seed + 1, phase.shares), random.Random(seed)
    while True:
        pool = [encode(tokenizer, chat) for chat in islice(stream, batch * 32)]
        pool.sort(key=lambda pair: len(pair[0]))
        groups = [pool[i : i + batch] for i in range(0, len(pool), batch)]
        rng.shuffle(groups)
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            pad = tokenizer.pad_token_id
            yield (
                torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in group]),
                torch.tensor([mask + [False] * (width - len(mask)) for _, mask in group]),
            )


def train(tokenizer: PreTrainedTokenizerFast, recipe: BuildSettings) -> LlamaForCausalLM:
    """Train the model from scratch; prints the loss every 200 steps."""
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(_config(tokenizer, recipe))
    for number, phase in enumerate(recipe.phases):
        train_phase(model, phase, batches(tokenizer, phase, recipe.batch, recipe.seed + number))
    return model


def train_phase(model: LlamaForCausalLM, phase: Phase, data: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Train the model for one phase, in place; prints the loss every 200 steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=phase.lr, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, phase))
    started, seen, losses = time.monotonic(), 0, []
    for step, (ids, mask) in enumerate(islice(data, phase.steps)):
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
            logits = model.lm_head(hidden[mask[:, 1:]])
        loss = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][mask[:, 1:]])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        seen += ids.numel()
        losses.append(loss.item())
        if (step + 1) % 200 == 0:
            rate = seen / (time.monotonic() - started)
            print(f"step {step + 1} loss {sum(losses[-200:]) / 200:.4f} tokens/s {rate:.0f}", flush=True)


def _rate(step: int, phase: Phase) -> float:
    """Linear warmup, then linear decay to zero."""
    return min((step + 1) / phase.warmup, (phase.steps - step) / (phase.steps - phase.warmup))


def _config(tokenizer: PreTrainedTokenizerFast, recipe: BuildSettings) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def build(out: Path, recipe: BuildSettings) -> None:
    """Train and save the model, its tokenizer and `build.json` (the settings, the size and the seconds)."""
    torch.set_num_threads(recipe.threads)
    started = time.monotonic()
    tokenizer = train_tokenizer(recipe)
    model = train(tokenizer, recipe)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    record: dict[str, Any] = {
        "recipe": asdict(recipe),
        "parameters": model.num_parameters(),
        "seconds": round(time.monotonic() - started),
        "torch": torch.__version__.split("+")[0],
    }
    (out / "build.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=BuildSettings().seed)
    arguments = parser.parse_args()
    build(arguments.out, BuildSettings(seed=arguments.seed))


if __name__ == "__main__":
    main()
