"""A model that an engine of lm-eval runs, and the translation of requests into lm-eval's terms.

lm-eval's request cache is never used. Its keys hold only the prompt, so one model would get the answers of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from mipo_bench.harness.config.schema import ChatConfig
from mipo_bench.harness.core.progress import current_stage
from mipo_bench.harness.core.redaction import redact_environment
from mipo_bench.harness.errors import ModelError
from mipo_bench.harness.generators.tokenizer import fix_date
from mipo_bench.harness.inference.memory import free_memory
from mipo_bench.harness.inference.tokens import encode_pair
from mipo_bench.harness.protocols import Likelihood, LikelihoodRequest, Request
from mipo_bench.harness.servers.retry import RetryPolicy
from mipo_bench.harness.types import Decoding

Seeding = Literal["torch", "request", "none"]


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """The capabilities of an engine.

    `served`: the engine is a server, which gets `workers` requests at a time. `chats`: the server takes messages and
    applies the chat template itself. `seeding`: the seed goes to torch's global generator, to each request, or nowhere.
    """

    name: str
    seeding: Seeding
    served: bool = False
    chats: bool = False
    workers: int = 1
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that is not built yet.

    `build` makes the lm-eval `LM`. `digest` covers the model's identity and the engine's settings. `folder` is the
    model's folder; it is None for a model on a server. `missing_end_token` is the token that ends a turn where the
    model's files do not name it as an end.
    """

    build: Callable[[], Any]
    digest: str
    traits: EngineTraits
    chat: ChatConfig
    folder: Path | None = None
    missing_end_token: str = ""


class LMEvalModel:
    """An lm-eval `LM`, built at its first use, and its tokenizer."""

    def __init__(self, spec: ModelSpec) -> None:
        """Build nothing yet."""
        self.spec, self.traits = spec, spec.traits

    @cached_property
    def lm(self) -> Any:
        """The lm-eval `LM`. Raises ModelError if it cannot be built."""
        try:
            with current_stage().doing("loading the model"):
                return self.spec.build()
        except Exception as error:
            reason = f"{type(error).__name__}: {redact_environment(str(error))}"
            raise ModelError(f"backend {self.traits.name!r} cannot be started: {reason}") from error

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer; None if the server applies the chat template. Raises ModelError for one without a template."""
        if self.traits.chats:
            return None
        found = getattr(self.lm, "tokenizer", None)
        if not hasattr(found, "apply_chat_template"):
            raise ModelError(
                f"backend {self.traits.name!r} has no chat template: name a tokenizer that has one with"
                " --set backend_args.tokenizer=FOLDER_OR_ID."
            )
        fix_date(found)
        return found

    def unload(self) -> None:
        """Free the model's memory. It is built again at the next use."""
        if [self.__dict__.pop(name) for name in ("tokenizer", "lm") if name in self.__dict__]:
            free_memory()

    def generate(self, requests: Sequence[Request]) -> list[str]:
        """The generated texts for requests with equal decoding, in order. Raises ValueError if a reply has no text."""
        if self.traits.seeding == "torch" and requests[0].decoding.temperature > 0:
            import torch

            torch.manual_seed(requests[0].seed)
        instances = [self._instance("generate_until", r.prompt, self._settings(r.decoding, r.seed)) for r in requests]
        found = self.lm.generate_until(instances, disable_tqdm=True)
        if len(found) != len(requests) or any(not isinstance(text, str) for text in found):
            raise ValueError("the reply has no text")
        return list(found)

    def likelihoods(self, question: LikelihoodRequest) -> tuple[Likelihood, ...] | None:
        """The likelihood of each text after the prompt; None if the engine gives no log-probabilities."""
        if self.tokenizer is None:
            return None
        try:
            found = self._logprobs(question)
        except NotImplementedError:
            return None
        except KeyError as error:  # an OpenAI-compatible server without `echo` sends no logprobs
            if error.args != ("logprobs",):
                raise
            return None
        encode = partial(self.tokenizer.encode, add_special_tokens=False)
        counts = [len(encode_pair(question.prompt, text, encode, encode)[1]) for text in question.texts]
        return tuple(Likelihood(float(p), n, bool(greedy)) for (p, greedy), n in zip(found, counts, strict=True))

    def _logprobs(self, question: LikelihoodRequest) -> list[tuple[float, bool]]:
        """(log-probability, greedy) of each text; a text without a prompt is scored in windows, and is never greedy."""
        if question.prompt:
            asked = [self._instance("loglikelihood", question.prompt, text) for text in question.texts]
            return list(self.lm.loglikelihood(asked, disable_tqdm=True))
        from lm_eval.api.instance import Instance

        alone = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in question.texts]
        return [(float(logprob), False) for logprob in self.lm.loglikelihood_rolling(alone, disable_tqdm=True)]

    def _settings(self, d: Decoding, seed: int) -> dict[str, Any]:
        """The decoding as lm-eval's `gen_kwargs`. `until` is always set: its default ends texts at a blank line."""
        ends = [self.spec.missing_end_token] if self.spec.missing_end_token else []
        settings: dict[str, Any] = {"until": [*d.stop, *ends], "max_gen_toks": d.max_new_tokens}
        settings |= {"do_sample": d.temperature > 0, "temperature": d.temperature}
        if self.traits.seeding == "torch":  # missing values would come from the model's generation_config.json
            settings |= {"top_k": 0, "repetition_penalty": 1.0}
        if d.temperature > 0:
            settings["top_p"] = d.top_p
            if self.traits.seeding == "request":
                settings["seed"] = seed % (1 << 31)
        return settings

    def _instance(self, kind: str, prompt: str, argument: Any) -> Any:
        """An lm-eval request of this kind. A prompt in JSON is marked as a chat."""
        from lm_eval.api.instance import Instance
        from lm_eval.models.api_models import JsonChatStr

        return Instance(kind, {}, (JsonChatStr(prompt) if self.tokenizer is None else prompt, argument), 0)
