"""Parses the judge that `--judge` names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mipo_bench.harness.core.files import expanded

JudgeKind = Literal["rules", "model", "server", "file"]


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """A judge: a task's rules, a model that is loaded here, a model at a server, or a file of verdicts.

    `model` is the model's folder, Hugging Face id, or name at the server `url`; `path` is the file of verdicts.
    """

    kind: JudgeKind
    model: str = ""
    url: str = ""
    path: Path = Path()

    @classmethod
    def parse(cls, text: str) -> JudgeSpec:
        """Read `rules`, `file:PATH`, `openai:MODEL@URL`, or a model's folder or id. Raises ValueError otherwise."""
        kind, colon, rest = text.partition(":")
        if text == "rules":
            return cls("rules")
        if colon and kind == "file":
            if not rest.strip():
                raise ValueError("write it as file:PATH, the file of verdicts")
            return cls("file", path=expanded(rest.strip()))
        if colon and kind == "openai":
            model, _, url = rest.rpartition("@")
            if not model or not url:
                raise ValueError("write it as openai:MODEL@URL, such as openai:my-judge@http://localhost:8000/v1")
            return cls("server", model=model, url=url)
        if not text.strip():
            raise ValueError("write rules, file:PATH, openai:MODEL@URL, or the folder or id of a chat model")
        return cls("model", model=str(expanded(text)) if text.startswith("~") else text)
