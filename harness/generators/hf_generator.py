"""Generation with transformers: the `Generator` behind a Hugging Face model folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mipo_bench.harness.config.schema import ChatConfig, RunConfig
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.generators.chat_template import DEFAULT_CHAT, own_system_text, render
from mipo_bench.harness.inference.decoder import Decoder
from mipo_bench.harness.inference.memory import budget, free_memory
from mipo_bench.harness.types import Continuations, Likelihood, Message, Prompt, Request, Response

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a model is computed."""

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 0
    """0 leaves it to torch."""
    batch_size: int = 32
    """0 takes what the GPU's memory holds."""
    trust_remote_code: bool = False
    attention: str = "auto"
    device_map: str | None = None
    max_length: int | None = None
    chat: ChatConfig = DEFAULT_CHAT
    gpu: str = ""
    """The name of the GPU."""

    @property
    def loading(self) -> dict[str, Any]:
        """How transformers loads a model, whatever for. Weights come from safetensors only."""
        chosen = {} if self.attention == "auto" else {"attn_implementation": self.attention}
        return {"use_safetensors": True, "trust_remote_code": self.trust_remote_code, **chosen}

    @property
    def identity(self) -> tuple[str, ...]:
        """What of it can change an answer or a training, for content keys: rounding depends on the hardware too."""
        where = self.gpu or f"{self.threads} threads"
        how = (self.dtype, self.attention, str(self.device_map), str(self.max_length))
        return (self.device.split(":")[0], where, *how, self.chat.model_dump_json())

    @property
    def answering(self) -> tuple[str, ...]:
        """The same for answers, which the number of slots can change too."""
        return (*self.identity, str(self.batch_size))


def place(config: RunConfig) -> Placement:
    """Settle what the configuration leaves to `auto`. Raises ModelError for what cannot be used.

    The device is a GPU if there is one. Responses are computed in float32 where something is trained: rounded to
    bfloat16, most of the small steps of a training vanish again from the weights. Else bfloat16 on a GPU.
    """
    import torch

    device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"device {device!r} cannot be used: {reason}. Take --set device=cpu, or auto.") from error
    trains = config.recipes is None or len(config.recipes) > 0
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if trains or device == "cpu" else "bfloat16"
    if config.attention == "flash_attention_2" and dtype == "float32":
        raise ModelError(
            "attention = 'flash_attention_2' computes in 16 bits alone, and responses are computed in float32 where"
            " something is trained. Leave it at auto, or give --set dtype=bfloat16."
        )
    gpu = device.startswith("cuda")
    return Placement(
        device,
        dtype,
        config.threads or torch.get_num_threads(),
        config.batch_size or (0 if gpu else _USUAL),
        config.trust_remote_code,
        config.attention,
        config.device_map,
        config.max_length,
        config.chat,
        torch.cuda.get_device_name(device) if gpu else "",
    )


def load_model(folder: Path, placement: Placement) -> PreTrainedModel:
    """The model of a folder, in evaluation mode on its device. Raises ModelError where it cannot be loaded."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    if placement.threads:
        torch.set_num_threads(placement.threads)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, placement.dtype),
            device_map=placement.device_map,
            **placement.loading,
        )
        if placement.device_map is None:
            move: Any = model.to  # its wrapper's type is wrong in transformers
            move(placement.device)
    except Exception as error:
        raise ModelError(f"cannot load the model {folder}: {error}") from error
    model.eval()
    return cast("PreTrainedModel", model)


class HFGenerator:
    """A causal language model of transformers. Weights load at the first generation, not before."""

    def __init__(
        self,
        folder: Path,
        digest: str,
        placement: Placement,
        notes: list[str] | None = None,
        load: Callable[[Path, Placement], PreTrainedModel] | None = None,
    ) -> None:
        """Remember the folder. `digest` identifies all that decides an answer; `notes` takes what a report should say.

        `load` loads the weights in place of `load_model`.
        """
        self.folder = folder
        self.digest = digest
        self.placement = placement
        self.notes = [] if notes is None else notes
        self._load = load or load_model

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, padding on the left."""
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(
                self.folder, padding_side="left", trust_remote_code=self.placement.trust_remote_code
            )
        except Exception as error:
            raise ModelError(f"cannot load the tokenizer of {self.folder}: {error}") from error
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if said := own_system_text(tokenizer, self.placement.chat):
            self.notes.append(
                f"where a prompt has no system turn, the model's chat template writes one of its own ({said[:60]!r}):"
                " arms and rejected responses without context differ from those with it by that too; --set"
                " chat.system_in_user=true puts the context into the user's turn"
            )
        return tokenizer

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model, in evaluation mode on its device."""
        return self._load(self.folder, self.placement)

    def unload(self) -> None:
        """Give the weights' memory back; they load again when they are needed."""
        if [self.__dict__.pop(name) for name in ("decoder", "model") if name in self.__dict__]:
            free_memory()

    def render(self, messages: Sequence[Message], context: str | None) -> Prompt:
        """See `prompts.render`."""
        return render(self.tokenizer, messages, context, self.placement.chat)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generator`."""
        return self.decoder.generate(requests)

    def likelihoods(self, asked: Sequence[Continuations]) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
        """See `Generator`."""
        return self.decoder.likelihoods(asked)

    @cached_property
    def decoder(self) -> Decoder:
        """What answers; the weights load with it."""
        window = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or _ENDLESS
        room = min(window, self.placement.max_length or _ENDLESS)
        rows = self.placement.batch_size or budget(self.model)
        return Decoder(self.model, self.tokenizer, rows, room, self.notes)


_USUAL = 32
_ENDLESS = 1 << 30
"""Tokens that a model without a stated window may be given."""
