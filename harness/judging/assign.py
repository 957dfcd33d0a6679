"""From the configuration to the judge of each judged task. Everything that can be refused is refused here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mipo_bench.harness.config.schema import OWN, TRAINING_BACKENDS, ChatConfig, RunConfig
from mipo_bench.harness.core.hashing import digest, model_digest
from mipo_bench.harness.core.provenance import package_versions
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.evaluation.scoring import scorer_hash
from mipo_bench.harness.generators.chat_client import ChatServer
from mipo_bench.harness.generators.hf_generator import GENERATION, HFGenerator
from mipo_bench.harness.generators.model_folder import locate, resolve
from mipo_bench.harness.generators.placement import Placement, place
from mipo_bench.harness.generators.responses_file import is_responses
from mipo_bench.harness.judging.judges import RuleJudge, generator_judge, server_judge
from mipo_bench.harness.judging.verdict_file import file_judge
from mipo_bench.harness.plugins.optional import is_judged, rules_decide
from mipo_bench.harness.protocols import Judge
from mipo_bench.harness.types import Decoding, Task
from mipo_bench.reports.records.judges import ValidationFile, ValidationRecord

Kind = Literal["rules", "model", "server", "file"]
WAYS = "rules, file:PATH, openai:MODEL@URL, or the folder or Hugging Face id of a chat model"


@dataclass(frozen=True)
class Assigned:
    """A task's judge. `notes` are what the report must say of it."""

    judge: Judge
    kind: Kind
    notes: tuple[str, ...] = ()
    unload: Callable[[], None] = lambda: None
    """Gives the memory of a judge that is loaded here back."""
    validation: ValidationRecord | None = None


def check_judge(config: RunConfig, tasks: Sequence[Task]) -> None:
    """Refuse what can be refused without loading anything. Raises ConfigError or ModelError."""
    by = config.judge.by
    judged = [task for task in tasks if is_judged(task)]
    helpless = [task.name for task in judged if by is None and not rules_decide(task)]
    if helpless:
        raise ConfigError(
            f"only a judge can score {', '.join(helpless)}. Name one with --judge: {WAYS}; or leave these tasks out."
        )
    if not judged or by is None or by == "rules":
        return
    if by.startswith("file:"):
        file_judge(Path(by.removeprefix("file:")))
    elif by.startswith("openai:"):
        _server(by)
    else:
        locate(by)


def load_judges(config: RunConfig, tasks: Sequence[Task]) -> dict[str, Assigned]:
    """The judge of each judged task, by the task's name. Models load at their first question.

    Raises ConfigError or ModelError, also where the server cannot be reached or the validation is another judge's.
    """
    check_judge(config, tasks)
    judged = [task for task in tasks if is_judged(task)]
    if not judged:
        return {}
    by = config.judge.by
    if by is None or by == "rules":
        found = {t.name: Assigned(RuleJudge(t, digest(["judge-rules", scorer_hash(t)])), "rules") for t in judged}
    else:
        one = load_judge(by, config)
        found = {task.name: one for task in judged}
    return {name: _validated(assigned, config) for name, assigned in found.items()}


def load_judge(by: str, config: RunConfig) -> Assigned:
    """A judge for any task, from what `--judge` says. Raises ConfigError or ModelError; `rules` need a task."""
    if by == "rules":
        raise ConfigError("--judge rules: rules belong to a task, and there is none here. Name another judge.")
    settings = config.judge
    decoding = Decoding(settings.max_new_tokens, settings.temperature, settings.top_p)
    if by.startswith("file:"):
        return Assigned(file_judge(Path(by.removeprefix("file:"))), "file")
    if by.startswith("openai:"):
        server = _server(by)
        server.check()
        notes = _related(config.model, server.model, None, None)
        return Assigned(server_judge(server, decoding, config.batch_size or 32), "server", notes)
    folder = resolve(by)
    weights, where = model_digest(folder), _own_placement(config)
    versions = package_versions()
    libraries = [versions[name] for name in ("torch", "transformers", "tokenizers")]
    generator = HFGenerator(folder, digest(["judge", GENERATION, weights, *where.answering, *libraries]), where)
    notes = _related(config.model, by, _folder_of(config), folder)
    control = [str(token) for token in generator.tokenizer.all_special_tokens]
    return Assigned(generator_judge(by, generator, decoding, control), "model", notes, generator.unload)


def _own_placement(config: RunConfig) -> Placement:
    """The judge is never trained: half the memory on a GPU, and none of the judged model's chat settings."""
    placement = place(config)
    dtype = "bfloat16" if config.dtype == "auto" and placement.device.startswith("cuda") else placement.dtype
    return replace(placement, dtype=dtype, chat=ChatConfig(), max_length=None)


def _server(by: str) -> ChatServer:
    model, sep, url = by.removeprefix("openai:").rpartition("@")
    if not sep or not model or not url:
        raise ConfigError(
            f"--judge {by!r}: write it as openai:MODEL@URL, such as openai:my-judge@http://localhost:8000/v1."
        )
    return ChatServer(model, url)


def _folder_of(config: RunConfig) -> Path | None:
    """The folder of the judged model; None where it is out of sight: given responses, or a server."""
    here = config.backend == OWN or config.backend in TRAINING_BACKENDS
    return resolve(config.model) if here and not is_responses(config.model) else None


_ORDINARY = {"instruct", "chat", "base", "model", "preview", "mini", "small", "large", "turbo", "latest", "distill"}


def _related(model: str, judge: str, folder: Path | None, judge_folder: Path | None) -> tuple[str, ...]:
    """What the judge has in common with the judged model: a model prefers what it would have written itself."""
    if folder and judge_folder and model_digest(folder) == model_digest(judge_folder):
        return ("the judge is the judged model itself: it may prefer its own style",)
    shared = sorted(_stems(model) & _stems(judge))
    if shared:
        return (f"judge and judged model are of one family by name ({', '.join(shared)}): it may prefer its own style",)
    if folder and judge_folder:
        kinds = {
            json.loads((f / "config.json").read_text(encoding="utf-8"))["model_type"] for f in (folder, judge_folder)
        }
        if len(kinds) == 1:
            return (f"judge and judged model have one architecture ({kinds.pop()}): perhaps one family",)
    return ()


def _stems(name: str) -> set[str]:
    """The words of a model's name, owner left out, that can name its family."""
    words = re.findall(r"[a-z]{3,}", name.rstrip("/").rpartition("/")[2].lower())
    return set(words) - _ORDINARY


def _validated(assigned: Assigned, config: RunConfig) -> Assigned:
    """With what `check-judge` found about this very judge. Raises ConfigError where it is about another one."""
    path = config.judge.validated
    if path is None:
        return assigned
    try:
        found = ValidationFile.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"judge.validated: {path} is not what `mipo-bench check-judge` writes: {reason}") from error
    mine = (assigned.judge.digest, config.judge.protocol)
    if (found.digest, found.protocol) != mine:
        raise ConfigError(
            f"judge.validated: {path} is about the judge {found.name!r} ({found.digest[:10]}, {found.protocol}), not"
            f" about {assigned.judge.name!r} ({mine[0][:10]}, {mine[1]}). Run `mipo-bench check-judge` with this one."
        )
    return replace(assigned, validation=found.validation)
