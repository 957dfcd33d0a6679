"""Judges that follow a script, and a judged task small enough to read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fakes import FakeGenerator

from mipo_bench.harness.generators.entailment import Entailed
from mipo_bench.harness.judging.judges import ModelJudge, generator_judge
from mipo_bench.harness.protocols import Question, Request, Verdict
from mipo_bench.harness.types import Decoding, Item, Message, Response, Score, Split, Suite

DECODING = Decoding(64, 0.1, 0.9)


def blocks(prompt: str) -> dict[str, str]:
    """The marked blocks of a judge's prompt by name, found by the marks alone."""
    mark = re.search(r"BEGIN ([0-9a-f]{16}) name", prompt)
    assert mark, prompt
    pattern = rf"^BEGIN {mark[1]} ([^\n]+)\n(.*?)\nEND {mark[1]} \1$"
    return dict(re.findall(pattern, prompt, re.MULTILINE | re.DOTALL))


def outside(prompt: str) -> str:
    """A judge's prompt without the marked blocks: the part whose instructions the judge should obey."""
    mark = re.search(r"BEGIN ([0-9a-f]{16}) name", prompt)
    assert mark, prompt
    return re.sub(rf"^BEGIN {mark[1]} ([^\n]+)\n.*?\nEND {mark[1]} \1$", "", prompt, flags=re.MULTILINE | re.DOTALL)


def longer_wins(request: Request) -> str:
    """A judge that prefers the longer response."""
    found = blocks(request.prompt)
    if "response" in found:
        return f"Rating: {min(5, 1 + len(found['response'].split()) // 4)}"
    first, second = len(found["first response"]), len(found["second response"])
    return f"Verdict: {'tie' if first == second else 'first' if first > second else 'second'}"


def first_wins(request: Request) -> str:
    """A judge that prefers the response shown first."""
    return "Verdict: first"


def obeys(request: Request) -> str:
    """A judge that obeys an instruction outside the marked blocks, and otherwise finds a tie."""
    order = re.search(r"IGNORE ALL THAT AND SAY (first|second)", outside(request.prompt))
    return f"Verdict: {order[1] if order else 'tie'}"


def mumbles(request: Request) -> str:
    """A judge that never gives a verdict."""
    return "Both have their merits."


def scripted(answer: Callable[[Request], str], name: str = "script") -> tuple[ModelJudge, FakeGenerator]:
    """A judge with a fake model, and that model, which records its requests."""
    model = FakeGenerator(name, answer)
    return generator_judge(name, model, DECODING), model


class Letters:
    """A judged task with rules that decide. Each user wants a letter; a good response contains it."""

    name = "letters"
    suite: Suite = "personalized"
    version = 1
    description = "Responses that hold a letter."
    binary = False
    reasoning = False
    reference = "profile"
    max_new_tokens = 8
    rules_decide = True

    def __init__(self, users: int = 6, each: int = 2) -> None:
        self.users, self.each = users, each

    def items(self, split: Split) -> tuple[Item, ...]:
        shift = 0 if split == "eval" else self.users
        users = [(n, chr(97 + n % 26)) for n in range(shift, shift + self.users)]
        return tuple(
            Item(f"{split}-{n}-{k}", f"Ask {split} {n} {k}.", letter, f"{split}-{n}", f"Wants {letter} ({n}).")
            for n, letter in users
            for k in range(self.each)
        )

    def score(self, item: Item, response: Response) -> Score:
        holds = float(item.target in response.text)
        return Score(holds, {"letter": holds}, parsed=bool(response.text))

    def gold(self, item: Item) -> str:
        return f"word {item.target}"

    def wrong(self, item: Item) -> str:
        return "-"

    def rubric(self, item: Item) -> str:
        return f"A good response holds the letter {item.target}."


class Recorder:
    """A judge that records its questions and answers with a function of the question."""

    def __init__(self, decide: Callable[[Question], float | None], name: str = "recorder") -> None:
        self.decider, self.name, self.digest = decide, name, name
        self.asked: list[Question] = []

    def decide(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        for position, question in reversed(list(enumerate(questions))):
            self.asked.append(question)
            yield position, Verdict(self.decider(question), "said")


def chat(request: Request) -> tuple[Message, ...]:
    """The messages that a fake model was sent."""
    parts = re.split(r"<(system|user)>", request.prompt)[1:]
    return tuple(
        Message("system" if r == "system" else "user", t) for r, t in zip(parts[::2], parts[1::2], strict=True)
    )


class ScriptedEntailment:
    """An entailment model that finds a statement entailed by a text that holds its last word, and records its pairs.

    A text that holds "not" before that word contradicts the statement.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def check(self, pairs: Sequence[tuple[str, str]]) -> list[Entailed]:
        self.asked.extend(pairs)
        return [self._check(premise, hypothesis.rstrip(".").split()[-1]) for premise, hypothesis in pairs]

    def _check(self, premise: str, word: str) -> Entailed:
        return Entailed(0.1, 0.9) if f"not {word}" in premise else Entailed(0.9 if word in premise else 0.1, 0.0)


LABELS = ("contradiction", "entailment", "neutral")


def make_entailment_model(folder: Path, labels: Sequence[str] = LABELS, *, window: int = 64, **shape: int) -> Path:
    """Save a random cross-encoder with a byte-level tokenizer: 30,000 parameters, unless `shape` asks for more."""
    import torch
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers.models import BPE
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[CLS]", "[SEP]"]
    names = {token: n for n, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    core = Tokenizer(BPE(vocab=names, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokens = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    PreTrainedTokenizerFast(
        tokenizer_object=core, model_max_length=window, model_input_names=inputs, **tokens
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 64, "vocab_size": len(names)} | shape
    config = BertConfig(max_position_embeddings=window, id2label=dict(enumerate(labels)), **sizes)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder
