"""`mipo-bench export-prompts`: writes the prompts of a run for another program to answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.files import whole_or_not_at_all
from mipo_bench.harness.core.redaction import redact
from mipo_bench.harness.core.text import without_control_characters
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.exchange.prompts import PromptRows, Render, left_out
from mipo_bench.harness.generators.hf_generator import HFGenerator
from mipo_bench.harness.generators.model_folder import find_model_folder, resolve_model
from mipo_bench.harness.generators.placement import Placement
from mipo_bench.harness.generators.remote import chat_as_json
from mipo_bench.harness.planning.plan import Plan, make_plan
from mipo_bench.harness.run.environment import silence_libraries
from mipo_bench.reports.numbers import plural

STANDARD_OUTPUT = "-"
_SHOWN = 5
"""The largest number of failed prompts that are listed."""


def run_export(config: RunConfig, file: str) -> int:
    """Write the prompts and return the exit code: 0, or 1 if a prompt cannot be made.

    Raises ConfigError for a baseline or recipe that is named and cannot be exported, StorageError if the file cannot be
    written.
    """
    silence_libraries()
    _check(config)
    if config.source.has_weights:
        find_model_folder(config.model)  # before the data, which may have to be downloaded
    plan = make_plan(config.model_copy(update={"recipes": ()}))
    _check_baselines(config, plan)
    notes = [*plan.notes]
    rows = PromptRows(plan, *_renderer(config, notes))
    count = _write(rows.rows(), file)
    notes += [f"left out: {name} {reason}" for name, reason in left_out(plan).items()]
    notes += [f"no prompt: {line}" for line in rows.failed[:_SHOWN]]
    notes += [f"no prompt for {len(rows.failed) - _SHOWN} more"] if len(rows.failed) > _SHOWN else []
    for line in notes:
        sys.stderr.write(without_control_characters(redact(line)) + "\n")
    done = sys.stderr if file == STANDARD_OUTPUT else sys.stdout
    done.write(f"wrote {plural(count, 'prompt')} to {file if file != STANDARD_OUTPUT else 'the standard output'}\n")
    return 1 if rows.failed else 0


def _check(config: RunConfig) -> None:
    """Raise ConfigError for a configuration whose answers do not come from prompts of the base model."""
    if config.source.kind == "responses":
        raise ConfigError(f"--model {config.model} has responses, and prompts are wanted: leave it out.")
    if config.recipes:
        raise ConfigError(
            f"--recipes {','.join(config.recipes)}: a trained model is asked with the prompts of the reference. Leave"
            ' the recipes out; write the answers of a checkpoint with its name as "arm" and with "train_seed".'
        )


def _check_baselines(config: RunConfig, plan: Plan) -> None:
    """Raise ConfigError if a baseline that is named cannot be exported."""
    problems = [
        f"baseline {name!r} {reason}: it cannot be exported. Leave it out; `mipo-bench run --backend openai` asks a"
        " server in this way."
        for name, reason in left_out(plan).items()
        if name in (config.baselines or ())
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _renderer(config: RunConfig, notes: list[str]) -> tuple[Render, bool]:
    """The function that renders the chats, and whether a model's template does. The model's notes go to `notes`."""
    if "model" in config.model_fields_set and config.source.has_weights:
        placement = Placement(trust_remote_code=config.trust_remote_code, chat=config.chat)
        return HFGenerator(resolve_model(config.model, config.store), "", placement, notes).render, True
    return partial(chat_as_json, chat=config.chat), False


def _write(rows: Iterable[Mapping[str, Any]], file: str) -> int:
    """Write JSON Lines in ASCII alone, and return their number. A file is complete or absent."""
    if file == STANDARD_OUTPUT:
        return _write_lines(rows, sys.stdout)
    with whole_or_not_at_all(Path(file)) as scratch, scratch.open("w", encoding="ascii") as out:
        return _write_lines(rows, out)


def _write_lines(rows: Iterable[Mapping[str, Any]], out: IO[str]) -> int:
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the number of the last row
        out.write(json.dumps(row) + "\n")
    return count
