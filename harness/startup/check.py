"""The start-up check: chats are rendered and looked at before anything is computed, and all problems are said at once.

It reads the small files of the model's folder and loads no weights. `run` ends with the problems and notes the rest;
`doctor` lists both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ModelError, first_line
from mipo_bench.harness.generators.kept_prompts import Remember, tokenizer_key
from mipo_bench.harness.generators.model_folder import has_dated_template
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.generators.tokenizer import load_tokenizer
from mipo_bench.harness.gguf.dequantise import notes_on
from mipo_bench.harness.planning.plan import Plan
from mipo_bench.harness.startup.chats import ChatChecks
from mipo_bench.harness.startup.findings import Finding
from mipo_bench.harness.startup.prompts import prompt_findings, prompted

CHECK_VERSION = "start-1"
"""Goes up whenever the check finds something else in the same model and plan."""
_CAUSAL = ("ForCausalLM", "LMHeadModel")
"""Endings of the class names of causal language models."""


def check_start_once(
    folder: Path, placement: Placement, config: RunConfig, plan: Plan, remember: Remember
) -> list[str]:
    """As `check_start`, but not again where its result is known: for the same model, settings and chats."""
    chats = (chat for _, _, chats in prompted(plan) for chat in chats)
    texts = [(c.item.id, c.context, *((m.role, m.content) for m in c.messages)) for c in chats]
    limits = [(t.task.name, t.decoding.max_new_tokens) for t in plan.tasks]
    settings = (config.max_length, config.overflow, any(arm.recipe for arm in plan.arms), str(placement.thought_tags))
    key = [CHECK_VERSION, *tokenizer_key(folder, placement), str(notes_on(folder)), *settings, *limits, *texts]
    return list(remember(["start", *key], lambda: check_start(folder, placement, config, plan)))


def check_start(folder: Path, placement: Placement, config: RunConfig, plan: Plan) -> list[str]:
    """The notes of the start-up check. Raises ModelError with all problems, a line each."""
    findings = list(examine_start(folder, placement, config, plan))
    problems = [finding.text for finding in findings if finding.state == "fail"]
    if problems:
        head = f"the run cannot start with the model {config.model!r}:"
        raise ModelError(f"{head} {problems[0]}" if len(problems) == 1 else "\n- ".join([head, *problems]))
    return [finding.text for finding in findings if finding.state == "warn"]


def examine_start(folder: Path, placement: Placement, config: RunConfig, plan: Plan | None) -> Iterator[Finding]:
    """Examine architecture, tokenizer, chat template and, with a plan, its prompts. Yields problems and notes only."""
    from transformers import AutoConfig

    settings = None
    try:
        settings = AutoConfig.from_pretrained(folder, trust_remote_code=placement.trust_remote_code)
        yield from _architecture(settings)
    except Exception as error:  # noqa: BLE001 - code of a model's folder may raise anything; the message tells
        yield Finding("model", "fail", f"the configuration of {folder} cannot be read: {first_line(error)}")
    try:
        tokenizer = load_tokenizer(folder, placement, notes := [])
    except ModelError as error:
        yield Finding("chat", "fail", str(error))
        return
    yield from (Finding("model", "warn", note) for note in notes_on(folder))
    if has_dated_template(folder):
        notes.append(_date_note(tokenizer))
    yield from (Finding("chat", "warn", note) for note in notes)
    trains = any(arm.recipe for arm in plan.arms) if plan else config.recipes != ()
    found = list(ChatChecks(tokenizer, folder, placement, trains).findings())
    yield from found
    if plan and settings is not None and all(finding.state != "fail" for finding in found):
        yield from prompt_findings(plan, config, tokenizer, settings.get_text_config())


def _architecture(settings: Any) -> Iterator[Finding]:
    """A finding for a model that is no causal language model, such as BERT, T5, or a reward model."""
    names = [str(name) for name in settings.architectures or ()]
    remote = "AutoModelForCausalLM" in (getattr(settings, "auto_map", None) or {})
    if remote or not names or any(name.endswith(_CAUSAL) for name in names):
        return
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if not {*names} & {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()}:
        text = f"the architecture {names[0]} is no causal language model: it cannot continue a chat. Take a chat model."
        yield Finding("model", "fail", text)


def _date_note(tokenizer: Any) -> str:
    if "strftime_now(" in str(tokenizer.chat_template):
        return "the chat template prints today's date in a way that cannot be fixed: prompts change with the day"
    return "the chat template prints today's date: prompts show 26 July 2024 in its place, so that they stay the same"
