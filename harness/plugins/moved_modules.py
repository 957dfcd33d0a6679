"""The new names of modules that plugins of version 0.1 could import, for the message about an old plugin."""

from __future__ import annotations

import re

_PROMPTING = (
    *("chain_of_thought", "few_shot", "no_context", "persona_role", "plain", "profile", "profile_instruction"),
    *("profile_summary", "rephrase", "self_refine", "user_thoughts"),
)
_MOVED = {
    "harness.config": "harness.config.schema",
    "harness.pairs": "harness.training.pairs",
    "harness.plugins": "harness.testing",
    "harness.provenance": "harness.core.hashing",
    "harness.scoring": "harness.evaluation.scoring",
    "harness.store": "harness.store.run_store",
    "harness.tokens": "harness.core.text",
    "reports.compare": "reports.analysis.comparisons",
    "reports.record": "reports.records.report",
    "reports.reportfile": "reports.records.report_file",
    "baselines.stepped": "baselines.prompting.multi_step",
    "tasks.data.judged": "tasks.public.preference_task",
    "tasks.data.public": "tasks.public.public_task",
    "tasks.lm_eval_find": "tasks.lm_eval.index",
    "tasks.lm_eval_metrics": "tasks.lm_eval.metrics",
    "tasks.lm_eval_task": "tasks.lm_eval.task",
    **{f"baselines.{name}": f"baselines.prompting.{name}" for name in _PROMPTING},
    **{f"baselines.{name}": f"baselines.decoding.{name}" for name in ("best_of_n", "cad", "domain_pmi")},
    **{
        f"tasks.{name}": f"tasks.embedded.{name}"
        for name in ("arithmetic", "facts", "facts_table", "persona", "persona_judged", "persona_world")
    },
    **{
        f"tasks.{name}": f"tasks.public.{name}"
        for name in ("arc", "community_alignment", "gsm8k", "mmlu", "multifaceted_bench", "prism", "svamp")
    },
}


_PROTOCOLS = ("Request", "Prompt", "Likelihood", "Generator", "Question", "Verdict", "Judge", "Pair", "Arm")
_RENAMED = {
    **{f"harness.types.{name}": f"harness.protocols.{name}" for name in _PROTOCOLS},
    "harness.types.Continuations": "harness.protocols.LikelihoodRequest",
    "harness.types.ForeignTask": "harness.types.ExternalTask",
    "tasks.answers.number_score": "tasks.answers.NumberAnswers",
    "tasks.answers.letter_score": "tasks.answers.LetterAnswers",
    "tasks.answers.lettered": "tasks.answers.multiple_choice_prompt",
    "tasks.data.rows.Row": "tasks.data.rows.DataRow",
}
"""Names that a module which is still there no longer has."""
_MISSING = re.compile(r"cannot import name '(\w+)'")


def moved(error: BaseException) -> str:
    """A sentence that names the new place of an import that failed; empty where nothing is known."""
    if not isinstance(error, ImportError) or not error.name:
        return ""
    module, missing = error.name.removeprefix("mipo_bench."), _MISSING.match(str(error))
    if missing and (new := _RENAMED.get(f"{module}.{missing[1]}")):
        return f" ({missing[1]} is mipo_bench.{new} now)"
    new = _MOVED.get(module)
    return f" ({error.name} is mipo_bench.{new} now)" if new else ""
