"""The settings of judges, and the parser of the judge that `--judge` names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mipo_bench.harness.config.values import ConfigSection, Count, Temperature, Texts, TopP, UserPath, Whole, listed
from mipo_bench.harness.core.files import expanded

JudgeKind = Literal["rules", "model", "server", "file", "nli"]


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """A judge: a task's rules, a chat model loaded here or at a server, a file of verdicts, an entailment model.

    `model` is the model's folder, Hugging Face id, or name at the server `url`; `path` is the file of verdicts.
    """

    kind: JudgeKind
    model: str = ""
    url: str = ""
    path: Path = Path()

    @classmethod
    def parse(cls, text: str) -> JudgeSpec:
        """Read `rules`, `file:PATH`, `nli:MODEL`, `openai:MODEL@URL`, or a model's folder or id. Raises ValueError."""
        kind, colon, rest = text.partition(":")
        if text == "rules":
            return cls("rules")
        if colon and kind == "file":
            if not rest.strip():
                raise ValueError("write it as file:PATH, the file of verdicts")
            return cls("file", path=expanded(rest.strip()))
        if colon and kind == "nli":
            if not rest.strip():
                raise ValueError("write it as nli:MODEL, the folder or Hugging Face id of an entailment model")
            return cls("nli", model=str(expanded(rest.strip())) if rest.startswith("~") else rest.strip())
        if colon and kind == "openai":
            model, _, url = rest.rpartition("@")
            if not model or not url:
                raise ValueError("write it as openai:MODEL@URL, such as openai:my-judge@http://localhost:8000/v1")
            return cls("server", model=model, url=url)
        if not text.strip():
            raise ValueError("write rules, file:PATH, nli:MODEL, openai:MODEL@URL, or the folder or id of a chat model")
        return cls("model", model=str(expanded(text)) if text.startswith("~") else text)


def _judge_name(text: str) -> str:
    """The name of a judge, checked. Raises ValueError."""
    JudgeSpec.parse(text)
    return text


class JudgeConfig(ConfigSection):
    """The judge of judged tasks. Temperature and top-p are the paper's (arXiv 2603.19294)."""

    name: Annotated[str, AfterValidator(_judge_name)] | None = None
    """rules, file:PATH, nli:MODEL, openai:MODEL@URL, or a model folder or id; None: the task's rules if they decide."""
    others: Annotated[
        tuple[Annotated[str, AfterValidator(_judge_name)], ...], BeforeValidator(listed, json_schema_input_type=Texts)
    ] = Field(default=(), exclude_if=lambda others: not others)  # a report of one judge is as it was before
    """Further judges (`--judge A --judge B`): an item is won or lost only where all judges say so."""
    protocol: Literal["pairwise", "pointwise"] = "pairwise"
    """Two responses compared in both orders, or each response rated by itself from 1 to 5."""
    temperature: Temperature = 0.1
    top_p: TopP = 0.9
    max_new_tokens: Count = 256
    """Longest answer of a judge, in tokens."""
    retest: Annotated[Whole, Field(ge=0)] = 50
    """Number of a task's questions that are asked twice, to measure whether the judge agrees with itself."""
    shuffled: bool = False
    """Whether a model judge also judges with another user's profile, as a control; doubles its calls."""
    validation_file: UserPath | None = None
    """The file that `mipo-bench check-judge` wrote for this judge."""

    @property
    def spec(self) -> JudgeSpec | None:
        """The judge that `name` describes; None for the task's rules."""
        return None if self.name is None else JudgeSpec.parse(self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all judges; the task's rules if none is named."""
        return (self.name or "rules", *self.others)

    @model_validator(mode="after")
    def _different(self) -> Self:
        """Check that the judges are different ones, and that others stand behind a first."""
        if self.others and self.name is None:
            raise ValueError("others: name the first judge in judge.name")
        if twice := [name for name in self.names if self.names.count(name) > 1]:
            raise ValueError(f"others: {twice[0]} is named twice; name different judges")
        return self
