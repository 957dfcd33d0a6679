"""Between texts and token ids: requests are encoded, and generated tokens become responses.

`TextCodec` does both for one tokenizer; it also decides when a response is finished. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mipo_bench.harness.core.text import storable
from mipo_bench.harness.inference.shapes import FINE, Shapes
from mipo_bench.harness.protocols import Request
from mipo_bench.harness.types import Decoding, Response
from mipo_bench.tasks.reading.thoughts import THOUGHT_TAGS, ThoughtTag

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FinishReason = Literal["stop", "length"]
Encode = Callable[[str], Sequence[int]]
"""Gives the tokens of a text without adding any."""
_REMEMBERED_TOKENS = 1 << 20
"""Tokens of prompts that are remembered, in some 50 MB."""
_PUBLIC_TAGS = tuple(tag for pair in THOUGHT_TAGS for tag in pair)


@dataclass(frozen=True, slots=True)
class TokenizedRequest:
    """A request in tokens. `contrast` holds those of its contrast prompt, None without one.

    `shapes` are those of the model's device.
    """

    position: int
    request: Request
    prompt: tuple[int, ...]
    contrast: tuple[int, ...] | None = None
    shapes: Shapes = FINE

    @property
    def prompts(self) -> list[tuple[int, ...]]:
        """One for each slot that it takes."""
        return [self.prompt] if self.contrast is None else [self.prompt, self.contrast]

    @property
    def longest(self) -> int:
        """Tokens of its longest prompt."""
        return max(map(len, self.prompts))

    @property
    def columns(self) -> int:
        """Columns of its slots."""
        return self.shapes.columns(self.longest + self.request.decoding.max_new_tokens)


class TextCodec:
    """The tokenizer of a model, with the tokens that begin a text and end a response."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        further_ends: Sequence[int] = (),
        further_tags: Sequence[str] = (),
    ) -> None:
        """End tokens are the tokenizer's, those of the model's generation_config.json, and `further_ends`.

        Tags around thoughts stay in texts also where they are special tokens; `further_tags` are such tags besides
        those of public models.
        The token that begins a text is the tokenizer's BOS, else an end token; 0 where the model knows neither.
        """
        self.tokenizer: Any = tokenizer  # its types promise lists of strings and more where one string comes back
        self.eos_ids = _eos_ids(model, tokenizer) | {*further_ends}
        beginnings = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, *sorted(self.eos_ids), 0)
        size = model.config.get_text_config().vocab_size
        self.bos_id = int(next(token for token in beginnings if token is not None and token < size))
        self.thought_tags = special_tags(self.tokenizer, [*_PUBLIC_TAGS, *further_tags])
        self.forget()

    def encode(self, text: str) -> tuple[int, ...]:
        """Tokens of a rendered text, which has its special tokens already."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def encode_prompt(self, text: str) -> tuple[int, ...]:
        """The same with at least one token: an empty prompt is the token that begins a text."""
        return self._remembered(text) or (self.bos_id,)

    def _remembered(self, prompt: str) -> tuple[int, ...]:
        """The tokens of a prompt, which is encoded to order the prompts, to compute it, and for each text after it."""
        tokens = self._prompts.get(prompt)
        if tokens is None:
            tokens = self._prompts[prompt] = self.encode(prompt)
            self._remembered_tokens += len(tokens)
            if self._remembered_tokens > _REMEMBERED_TOKENS:
                self.forget()
        return tokens

    def forget(self) -> None:
        """Remember no prompt."""
        self._prompts: dict[str, tuple[int, ...]] = {}
        self._remembered_tokens = 0

    def encode_pair(self, prompt: str, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The tokens of a prompt, at least one, and of the text that continues it (see `encode_pair`)."""
        before, tail = encode_pair(prompt, text, self.encode, self._remembered)
        return tuple(before) or (self.bos_id,), tuple(tail)

    def windows(self, text: str, size: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """The parts of a text by itself, each with the tokens before it that fit with it into `size` tokens.

        They are lm-eval's for rolling log-probabilities: every token is scored once, the first of the text after the
        token that begins a text.
        """
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        found = get_rolling_token_windows(list(self.encode(text)), self.bos_id, size, context_len=1)
        return [(tuple(before), tuple(part)) for before, part in map(make_disjoint_window, found)]

    def finish_reason(self, request: Request, tokens: Sequence[int]) -> FinishReason | None:
        """How a response ends at its newest token; None where it goes on."""
        if tokens[-1] in self.eos_ids or self._has_stop_string(tokens, request.decoding.stop):
            return "stop"
        return "length" if len(tokens) >= request.decoding.max_new_tokens else None

    def _has_stop_string(self, tokens: Sequence[int], stops: Sequence[str]) -> bool:
        """Whether a stop string is among the last tokens. Few are decoded: each is at least one byte of text."""
        if not stops:
            return False
        enough = max(len(stop.encode()) for stop in stops) + 4
        tail = str(self.tokenizer.decode(tokens[-enough:], skip_special_tokens=True))
        return any(stop and stop in tail for stop in stops)

    def response(self, tokenized: TokenizedRequest, tokens: Sequence[int], finish: FinishReason) -> Response:
        """The response in generated tokens, without the token that ended it."""
        kept = tokens[:-1] if tokens[-1] in self.eos_ids else tokens
        whole = self._decode(kept)
        text = finished_text(whole, tokenized.request.decoding)
        return Response(text, len(tokenized.prompt), len(kept), finish)

    def _decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens without special tokens. Tags around thoughts stay: they show where the answer begins."""
        text, start = "", 0
        for place in [n for n, token in enumerate(tokens) if token in self.thought_tags]:
            text += self.tokenizer.decode(tokens[start:place], skip_special_tokens=True)
            text += self.thought_tags[tokens[place]]
            start = place + 1
        return f"{text}{self.tokenizer.decode(tokens[start:], skip_special_tokens=True)}"


def encode_pair(prompt: str, text: str, encode: Encode, encode_prompt: Encode) -> tuple[Sequence[int], Sequence[int]]:
    """The tokens of a prompt and of the text that continues it. `encode_prompt` may remember what `encode` gives.

    Both are encoded as one string, which is then cut where the prompt's own tokens end: tokens that reach across the
    border belong to the text. White space at the end of the prompt is counted to the text, because tokenizers put it
    at the beginning of a word (`_encode_pair` of lm-eval 0.4.13).
    """
    before = encode_prompt(prompt.rstrip())
    return before, encode(prompt + text)[len(before) :]


def finished_text(text: str, decoding: Decoding) -> str:
    """The response in a decoded text: all before the first stop string, stripped of white space unless kept."""
    for stop in decoding.stop:
        if stop:
            text = text.split(stop, maxsplit=1)[0]
    return storable(text if decoding.verbatim else text.strip())


def special_tags(tokenizer: Any, tags: Sequence[str]) -> dict[int, str]:
    """Id -> text of those of the tags that are special tokens, as `[THINK]` is for Magistral."""
    added = tokenizer.added_tokens_decoder.items()
    return {token: entry.content for token, entry in added if entry.special and entry.content in tags}


def special_further_tags(tokenizer: Any, tags: Sequence[ThoughtTag]) -> list[str]:
    """The tags around thoughts that are special tokens of this tokenizer, and are not those of public models."""
    further = {tag for pair in tags for tag in pair} - set(_PUBLIC_TAGS)
    return sorted(special_tags(tokenizer, list(further)).values())


def _eos_ids(model: Any, tokenizer: Any) -> set[int]:
    configured = model.generation_config.eos_token_id
    ids = set(configured) if isinstance(configured, list) else {configured}
    return {int(token) for token in ids | {tokenizer.eos_token_id} if token is not None}
