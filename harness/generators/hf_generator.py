"""The `Generator` for a Hugging Face model folder: generation with transformers in this process.

`HFGenerator` renders prompts and loads weights at the first use; `inference.decoder.Decoder` does the computing. Light
code imports this module, so torch, transformers and the decoder are imported inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mipo_bench.harness.core.hashing import digest
from mipo_bench.harness.core.progress import current_stage
from mipo_bench.harness.errors import ModelError, first_line, refuse_missing_weights
from mipo_bench.harness.generators.chat_template import end_of_turn_token, own_system_text, render
from mipo_bench.harness.generators.kept_prompts import Remember, render_kept, tokenizer_key
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.generators.tokenizer import load_tokenizer, missing_end_token
from mipo_bench.harness.inference.memory import budget, free_memory
from mipo_bench.harness.inference.tokens import TextCodec, special_further_tags
from mipo_bench.harness.protocols import Chat, Likelihood, LikelihoodRequest, Prompt, Request
from mipo_bench.harness.types import Message, Response

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from mipo_bench.harness.inference.decoder import Decoder

GENERATION_VERSION = "hf-7"
"""Goes up whenever generation can answer the same request differently: it is part of the content keys of answers."""
_UNLIMITED = 1 << 30
"""The context window in tokens of a model that states none."""


def load_model(folder: Path, placement: Placement) -> PreTrainedModel:
    """The model of a folder, in evaluation mode on its device. Raises ModelError if it cannot be loaded."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    if placement.threads:
        torch.set_num_threads(placement.threads)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, placement.dtype),
            device_map=placement.device_map,
            output_loading_info=True,
            **placement.load_kwargs,
        )
        model, found = loaded
        refuse_missing_weights(folder, found["missing_keys"])
        if placement.device_map is None:
            move: Any = model.to  # its wrapper's type is wrong in transformers
            move(placement.device)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"cannot load the model {folder}: {first_line(error)}") from error
    model.eval()
    return cast("PreTrainedModel", model)


class HFGenerator:
    """A causal language model of transformers. Its weights load at the first generation."""

    def __init__(
        self,
        folder: Path,
        key: str,
        placement: Placement,
        notes: list[str] | None = None,
        load: Callable[[Path, Placement], PreTrainedModel] | None = None,
        remember: Remember | None = None,
    ) -> None:
        """`key` identifies everything that can change an answer. Notes for the report are added to `notes`.

        `load` replaces `load_model`. With `remember`, prompts and facts of the tokenizer are kept.
        """
        self.folder = folder
        self._key = key
        self.placement = placement
        self.notes = [] if notes is None else notes
        self._load = load or load_model
        self._remember = remember or (lambda _, compute: compute())

    @cached_property
    def digest(self) -> str:
        """See `Generator`. End tokens and tags that the model's files do not name change answers, and so the digest."""
        ends = ["ends at", self.missing_end_token] if self.missing_end_token else []
        tags = ["keeps", *self.further_tags] if self.further_tags else []
        return digest([self._key, *ends, *tags]) if ends or tags else self._key

    @property
    def missing_end_token(self) -> str:
        """See `tokenizer.missing_end_token`."""
        return str(self._facts["missing_end_token"])

    @property
    def further_tags(self) -> list[str]:
        """See `special_further_tags`."""
        return list(self._facts["further_tags"])

    @cached_property
    def _facts(self) -> Mapping[str, Any]:
        """The facts of the tokenizer that a run needs even if it renders nothing."""
        tags = self.placement.thought_tags
        return dict(self._remember(["tokenizer", *self._tokenizer_key, *map(str, tags)], self._find_facts))

    @cached_property
    def _tokenizer_key(self) -> tuple[str, ...]:
        return tokenizer_key(self.folder, self.placement)

    def _find_facts(self) -> dict[str, Any]:
        return {
            "missing_end_token": missing_end_token(self.tokenizer, self.folder, self.placement),
            "further_tags": special_further_tags(self.tokenizer, self.placement.thought_tags),
            "end_of_turn_token": end_of_turn_token(self.tokenizer, self.placement.chat),
            "control_tokens": [str(token) for token in self.tokenizer.all_special_tokens],
        }

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, padding on the left."""
        tokenizer = load_tokenizer(self.folder, self.placement)
        if system_text := own_system_text(tokenizer, self.placement.chat):
            self.notes.append(
                "where a prompt has no system turn, the model's chat template writes one of its own"
                f" ({system_text[:60]!r}):"
                " arms and rejected responses without context differ from those with it by that too; --set"
                " chat.system_in_user=true puts the context into the user's turn"
            )
        return tokenizer

    @property
    def end_of_turn_token(self) -> str:
        """See `Generator`."""
        return str(self._facts["end_of_turn_token"])

    @property
    def control_tokens(self) -> list[str]:
        """See `Generator`."""
        return list(self._facts["control_tokens"])

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model, in evaluation mode on its device."""
        with current_stage().doing("loading the model"):
            return self._load(self.folder, self.placement)

    def unload(self) -> None:
        """Free the memory of the weights. They load again at the next use."""
        if [self.__dict__.pop(name) for name in ("decoder", "model") if name in self.__dict__]:
            free_memory()

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:
        """See `chat_template.render`."""
        return render(self.tokenizer, messages, context, self.placement.chat)

    def render_all(self, chats: Sequence[Chat]) -> list[Prompt | None]:
        """See `RemembersPrompts`."""
        return render_kept(chats, self._tokenizer_key, self._remember, lambda chat: self.render(*chat))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`."""
        return self.decoder.generate(requests)

    def likelihoods(self, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """See `Generator`."""
        return self.decoder.likelihoods(asked)

    @cached_property
    def decoder(self) -> Decoder:
        """The decoder on the loaded weights."""
        from mipo_bench.harness.inference.decoder import Decoder

        window = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or _UNLIMITED
        max_total_tokens = min(window, self.placement.max_length or _UNLIMITED)
        slots = self.placement.batch_size or budget(self.model)
        tokenizer: Any = self.tokenizer  # its types promise a list where one number comes back
        ends = [int(tokenizer.convert_tokens_to_ids(self.missing_end_token))] if self.missing_end_token else []
        codec = TextCodec(self.model, tokenizer, ends, self.further_tags)
        return Decoder(self.model, codec, slots, max_total_tokens, self.notes)
