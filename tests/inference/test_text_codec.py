"""Generated tokens become texts: special tokens are dropped, tags around thoughts are kept."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer

from mipo_bench.harness.generators.model_folder import embedded_folder
from mipo_bench.harness.inference import tokens
from mipo_bench.harness.inference.tokens import TextCodec, TokenizedRequest
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.types import Decoding
from mipo_bench.tasks.reading.thoughts import Answer, without_thoughts

REQUEST = TokenizedRequest(0, Request("How many?", 0, Decoding(64, 0.0)), (1, 2))


def codec_with(*special: str, further_tags: Sequence[str] = ()) -> TextCodec:
    tokenizer: Any = AutoTokenizer.from_pretrained(embedded_folder())
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=len(tokenizer)))
    model: Any = SimpleNamespace(config=config, generation_config=SimpleNamespace(eos_token_id=None))
    return TextCodec(model, tokenizer, further_tags=further_tags)


@pytest.mark.parametrize(
    ("text", "kept", "answer"),
    [
        ("[THINK]Maybe 15.[/THINK]It is 18.", "[THINK]Maybe 15.[/THINK]It is 18.", Answer("It is 18.", "closed")),
        ("[THINK]Maybe 15", "[THINK]Maybe 15", Answer("", "cut")),
        ("Maybe 15.[/THINK]18[OTHER]", "Maybe 15.[/THINK]18", Answer("18", "closed")),
        ("[OTHER]It is 18.", "It is 18.", Answer("It is 18.")),
        ("", "", Answer("")),
    ],
)
def test_tags_around_thoughts_stay_where_they_are_special_tokens(text: str, kept: str, answer: Answer) -> None:
    codec = codec_with("[THINK]", "[/THINK]", "[OTHER]")
    eos = next(iter(codec.eos_ids))
    response = codec.response(REQUEST, [*codec.encode(text), eos], "stop")
    assert response.text == kept
    assert without_thoughts(response.text) == answer


def test_configured_tags_around_thoughts_stay_too() -> None:
    text = "[MUSE]Maybe 15.[/MUSE]It is 18."
    plain, told = codec_with("[MUSE]", "[/MUSE]"), codec_with("[MUSE]", "[/MUSE]", further_tags=("[MUSE]", "[/MUSE]"))
    assert plain.response(REQUEST, plain.encode(text), "stop").text == "Maybe 15.It is 18."
    assert told.response(REQUEST, told.encode(text), "stop").text == text


def test_a_prompt_is_encoded_once_for_all_texts_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    codec, asked = codec_with(), list[str]()
    plain = codec.tokenizer.encode

    def counted(text: str, **options: Any) -> list[int]:
        asked.append(text)
        return list(plain(text, **options))

    monkeypatch.setattr(codec.tokenizer, "encode", counted)
    prompt = "How many? "
    pairs = [codec.encode_pair(prompt, text) for text in ("15", "It is 18.")]
    assert codec.encode_prompt("How many?") == pairs[0][0] == pairs[1][0]
    assert asked == ["How many?", "How many? 15", "How many? It is 18."]


def test_few_prompts_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = codec_with()
    monkeypatch.setattr(tokens, "_REMEMBERED_TOKENS", 40)
    for n in range(30):
        assert codec.encode_prompt(f"How many are {n}?") == codec.encode(f"How many are {n}?")
    assert sum(map(len, codec._prompts.values())) <= 40 + len(codec.encode("How many are 29?"))
    assert codec.encode_prompt("") == (codec.bos_id,)
