"""Loads the configured judge for each judged task and rejects a judge that cannot be used.

`check_judge` runs before any work begins. `load_judges` serves a run, `load_judge` serves `mipo-bench check-judge`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from mipo_bench.harness.config.judge_spec import JudgeConfig, JudgeKind, JudgeSpec
from mipo_bench.harness.config.schema import ChatConfig, RunConfig
from mipo_bench.harness.core.hashing import digest, model_digest
from mipo_bench.harness.core.provenance import package_versions
from mipo_bench.harness.errors import ConfigError, first_line
from mipo_bench.harness.evaluation.scoring import scorer_hash
from mipo_bench.harness.generators.entailment import EntailmentModel, nli_labels
from mipo_bench.harness.generators.hf_generator import GENERATION_VERSION, HFGenerator
from mipo_bench.harness.generators.model_folder import check_model, find_model_folder, model_files, resolve_model
from mipo_bench.harness.generators.openai_generator import OpenAIGenerator
from mipo_bench.harness.generators.placement import Placement, resolve_placement
from mipo_bench.harness.judging.judges import RuleJudge, generator_judge
from mipo_bench.harness.judging.nli_judge import nli_judge
from mipo_bench.harness.judging.verdict_file import file_judge
from mipo_bench.harness.plugins.optional import is_checked, is_judged, rules_decide
from mipo_bench.harness.protocols import Judge
from mipo_bench.harness.servers.chat_server import ChatServer
from mipo_bench.harness.types import Decoding, Task
from mipo_bench.reports.records.judges import Protocol, ValidationFile, ValidationRecord

WAYS = "rules, file:PATH, nli:MODEL, openai:MODEL@URL, or the folder, GGUF file or Hugging Face id of a chat model"


@dataclass(frozen=True)
class AssignedJudge:
    """The judge of a task, and the notes about it that the report prints."""

    judge: Judge
    kind: JudgeKind
    notes: tuple[str, ...] = ()
    unload: Callable[[], None] = lambda: None
    """Frees the memory of a judge that is loaded in this process."""
    validation: ValidationRecord | None = None
    remarks: Callable[[], Sequence[str]] = tuple
    """Notes on the requests to its server so far."""
    answers_checks: bool = False
    """Whether the task has checks, which it answers in place of the protocol of the settings."""
    others: tuple[AssignedJudge, ...] = ()
    """Further judges of the task."""

    def protocol(self, settings: JudgeConfig) -> Protocol:
        """The way in which the judge decides on the task."""
        return "checks" if self.answers_checks else settings.protocol

    @property
    def members(self) -> tuple[AssignedJudge, ...]:
        """The judge itself and the others."""
        return (self, *self.others)


def check_judge(config: RunConfig, tasks: Sequence[Task]) -> None:
    """Raise ConfigError or ModelError for a judge that cannot be used. Loads nothing."""
    judged = [task for task in tasks if is_judged(task)]
    unjudged = [task.name for task in judged if config.judge.spec is None and not rules_decide(task)]
    if unjudged:
        raise ConfigError(
            f"only a judge can score {', '.join(unjudged)}. Name one with --judge: {WAYS}; or leave these tasks out."
        )
    for name in config.judge.names if judged else ():
        _check_spec(JudgeSpec.parse(name), [task.name for task in judged if is_checked(task)])


def _check_spec(spec: JudgeSpec, checked: Sequence[str]) -> None:
    """Raise ConfigError or ModelError unless the judge can be used, also for the tasks with checks."""
    if checked and spec.kind in ("rules", "file"):
        raise ConfigError(
            f"{', '.join(checked)}: a judge must answer questions about each response, which {spec.kind} cannot. Name a"
            " model: openai:MODEL@URL, nli:MODEL, or the folder, GGUF file or Hugging Face id of a chat model."
        )
    if spec.kind == "file":
        file_judge(spec.path)
    elif spec.kind == "server":
        ChatServer(spec.model, spec.url)
    elif spec.kind == "nli":
        if folder := find_model_folder(spec.model):
            nli_labels(folder, spec.model)
    elif spec.kind == "model":
        check_model(spec.model)


def load_judges(config: RunConfig, tasks: Sequence[Task]) -> dict[str, AssignedJudge]:
    """The judge of each judged task, by the task's name. Models load at their first question.

    Raises ConfigError or ModelError, also for a server that cannot be reached or a validation file of another judge.
    """
    check_judge(config, tasks)
    judged = [task for task in tasks if is_judged(task)]
    if not judged:
        return {}
    specs = [JudgeSpec.parse(name) for name in config.judge.names]
    shared = {spec: load_judge(spec, config) for spec in specs if spec.kind != "rules"}
    found = {}
    for task in judged:
        members = [shared[spec] if spec in shared else _by_rules(task, config) for spec in specs]
        members = [replace(member, answers_checks=is_checked(task)) for member in members]
        first, *others = _validated(members, config)
        found[task.name] = replace(first, others=tuple(others))
    return found


def _by_rules(task: Task, config: RunConfig) -> AssignedJudge:
    """The rules of the task as its judge."""
    return AssignedJudge(
        RuleJudge(task, digest(["judge-rules", scorer_hash(task, config.tags_around_thoughts)])), "rules"
    )


def load_judge(spec: JudgeSpec, config: RunConfig) -> AssignedJudge:
    """The judge that `--judge` names. Raises ConfigError (also for `rules`, which need a task) or ModelError."""
    if spec.kind == "rules":
        raise ConfigError("--judge rules: rules belong to a task, and no task is given. Name another judge.")
    settings, tags = config.judge, config.tags_around_thoughts
    decoding = Decoding(settings.max_new_tokens, settings.temperature, settings.top_p)
    if spec.kind == "file":
        return AssignedJudge(file_judge(spec.path), "file")
    if spec.kind == "nli":
        return _entailment_judge(spec.model, config)
    if spec.kind == "server":
        server = ChatServer(spec.model, spec.url)
        server.check()
        notes = _related(config.model, server.model, None, None)
        key = f"{server.model} at {server.url}"  # in the keys of stored verdicts: another text would make them invalid
        remote = OpenAIGenerator(server, key, ChatConfig(), config.batch_size or 32, [])
        judge = generator_judge(server.model, remote, decoding, tags)
        return AssignedJudge(judge, "server", notes, remarks=lambda: server.taken.notes)
    folder = resolve_model(spec.model, config.store)
    weights, where = model_digest(folder), _own_placement(config)
    local = HFGenerator(
        folder, digest(["judge", GENERATION_VERSION, weights, *where.generation_key, *_libraries()]), where
    )
    notes = _related(config.model, spec.model, _folder_of(config), folder)
    return AssignedJudge(generator_judge(spec.model, local, decoding, tags), "model", notes, local.unload)


def _entailment_judge(model: str, config: RunConfig) -> AssignedJudge:
    """The judge on an entailment model. Raises ModelError for a model that is none."""
    folder, where = model_files(model), _own_placement(config)
    entailment = EntailmentModel(folder, model, where)
    key = digest([model_digest(folder), *where.numerics_key, *_libraries()])
    return AssignedJudge(nli_judge(f"nli:{model}", entailment, key), "nli", unload=entailment.unload)


def _libraries() -> list[str]:
    """The versions of the libraries that compute a judge's answers."""
    versions = package_versions()
    return [str(versions[name]) for name in ("torch", "transformers", "tokenizers")]


def _own_placement(config: RunConfig) -> Placement:
    """The run's placement without the judged model's chat settings, and in bfloat16 on a GPU.

    A judge is never trained, so it does not need float32.
    """
    placement = resolve_placement(config)
    dtype = "bfloat16" if config.dtype == "auto" and placement.device.startswith("cuda") else placement.dtype
    return replace(placement, dtype=dtype, chat=ChatConfig(), max_length=None)


def _folder_of(config: RunConfig) -> Path | None:
    """The folder of the judged model; None for a file of responses and for a model on a server."""
    return resolve_model(config.model, config.store) if config.source.has_weights else None


_COMMON_WORDS = {"instruct", "chat", "base", "model", "preview", "mini", "small", "large", "turbo", "latest", "distill"}


def _related(model: str, judge: str, folder: Path | None, judge_folder: Path | None) -> tuple[str, ...]:
    """Notes if judge and judged model seem to be of one family: models prefer text that resembles their own."""
    if folder and judge_folder and model_digest(folder) == model_digest(judge_folder):
        return ("the judge is the judged model itself and may prefer its own style",)
    shared = sorted(_stems(model) & _stems(judge))
    if shared:
        return (
            f"judge and judged model share a family name ({', '.join(shared)}): the judge may prefer its own style",
        )
    if folder and judge_folder:
        kinds = {
            json.loads((f / "config.json").read_text(encoding="utf-8"))["model_type"] for f in (folder, judge_folder)
        }
        if len(kinds) == 1:
            return (f"judge and judged model have one architecture ({kinds.pop()}): perhaps one family",)
    return ()


def _stems(name: str) -> set[str]:
    """The words of a model's name, without its owner, that can name a family of models."""
    words = re.findall(r"[a-z]{3,}", name.rstrip("/").rpartition("/")[2].lower())
    return set(words) - _COMMON_WORDS


def _validated(members: Sequence[AssignedJudge], config: RunConfig) -> list[AssignedJudge]:
    """The judges, with the result of `check-judge` where it is about one. Raises ConfigError if it is about none."""
    path = config.judge.validation_file
    if path is None:
        return list(members)
    try:
        found = ValidationFile.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        reason = first_line(error)
        raise ConfigError(
            f"judge.validation_file: {path} is not a file that `mipo-bench check-judge` wrote: {reason}"
        ) from error
    meant = [(found.digest, found.protocol) == (one.judge.digest, one.protocol(config.judge)) for one in members]
    if not any(meant):
        given = " or ".join(
            f"{one.judge.name!r} ({one.judge.digest[:10]}, {one.protocol(config.judge)})" for one in members
        )
        raise ConfigError(
            f"judge.validation_file: {path} is about the judge {found.name!r} ({found.digest[:10]}, {found.protocol}),"
            f" not about {given}. Run `mipo-bench check-judge` with this judge."
        )
    return [
        replace(one, validation=found.validation) if is_meant else one
        for one, is_meant in zip(members, meant, strict=True)
    ]
