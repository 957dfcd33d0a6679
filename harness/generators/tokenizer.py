"""A model's tokenizer as prompts and trainings need it: with a fixed date in its chat template, and a pad token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipo_bench.harness.errors import ModelError, first_line
from mipo_bench.harness.generators.chat_template import FIXED_DATE, end_of_turn_token
from mipo_bench.harness.generators.model_folder import configured_ends, vocabulary_size
from mipo_bench.harness.generators.placement import Placement

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_DATE_CALL = re.compile(r"strftime_now\(\s*(?:format\s*=\s*)?(?P<quote>['\"])(?P<format>[^'\"]*)(?P=quote)\s*\)")
"""A call of transformers' `strftime_now` with a literal format."""


def load_tokenizer(
    folder: Path, placement: Placement, notes: list[str] | None = None, padding_side: str = "left"
) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder. A pad token that cannot be used is added to `notes`.

    Its template prints FIXED_DATE in place of today's date. A pad token that is missing, or beyond the embedding, is
    replaced by a token that the model knows: padding is masked, so any token will do. Raises ModelError if the
    tokenizer cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, padding_side=padding_side, trust_remote_code=placement.trust_remote_code
        )
    except Exception as error:
        raise ModelError(f"cannot load the tokenizer of {folder}: {first_line(error)}") from error
    fix_date(tokenizer)
    size, pad = vocabulary_size(folder), tokenizer.pad_token
    if not _known(tokenizer.pad_token_id, size):
        tokenizer.pad_token = _any_token(tokenizer, placement, size)
        if pad is not None and notes is not None:
            notes.append(
                f"the pad token {pad!r} has no embedding in the model: {tokenizer.pad_token!r} takes its place"
            )
    return tokenizer


def fix_date(tokenizer: Any) -> None:
    """Let the chat template print FIXED_DATE: prompts, and with them the keys of answers, must not change daily."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, str):
        tokenizer.chat_template = with_fixed_date(template)
    elif isinstance(template, Mapping):
        tokenizer.chat_template = {name: with_fixed_date(text) for name, text in template.items()}


def with_fixed_date(template: str, date: datetime = FIXED_DATE) -> str:
    """The template with the text of a fixed date in place of each `strftime_now("FORMAT")`."""
    return _DATE_CALL.sub(lambda call: f"{call['quote']}{date.strftime(call['format'])}{call['quote']}", template)


def missing_end_token(tokenizer: Any, folder: Path, placement: Placement) -> str:
    """The template's end-of-turn token if neither the tokenizer nor the model's files know it as an end; else empty.

    Without it a response would never end before its token limit.
    """
    token = end_of_turn_token(tokenizer, placement.chat)
    number = tokenizer.convert_tokens_to_ids(token) if token else None
    ends = {*configured_ends(folder), tokenizer.eos_token_id}
    return token if _known(number, vocabulary_size(folder)) and number not in ends else ""


def _any_token(tokenizer: Any, placement: Placement, vocabulary: int) -> str:
    wanted = [tokenizer.eos_token, end_of_turn_token(tokenizer, placement.chat), *tokenizer.all_special_tokens]
    known = (t for t in wanted if t and _known(tokenizer.convert_tokens_to_ids(t), vocabulary))
    return str(next(known, None) or tokenizer.convert_ids_to_tokens(0))


def _known(token: int | None, vocabulary: int) -> bool:
    """Whether this is the id of a token that has an embedding."""
    return token is not None and 0 <= token < vocabulary
