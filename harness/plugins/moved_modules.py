"""The new names of modules that plugins of version 0.1 could import, for the message about an old plugin."""

from __future__ import annotations

_PROMPTING = (
    *("chain_of_thought", "few_shot", "no_context", "persona_role", "plain", "profile", "profile_instruction"),
    *("profile_summary", "rephrase", "self_refine", "user_thoughts"),
)
_MOVED = {
    "harness.check_task": "harness.testing",
    "harness.plugins": "harness.testing",
    "harness.provenance": "harness.core.hashing",
    "baselines.stepped": "baselines.prompting.multi_step",
    "tasks.data.judged": "tasks.public.preference_task",
    "tasks.data.public": "tasks.public.public_task",
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


def moved(error: BaseException) -> str:
    """A note with the new name of a module whose import failed; empty if none is known."""
    if not isinstance(error, ImportError) or not error.name:
        return ""
    if error.name == "mipo_bench.harness.types":
        return " (requests, generators, judges and pairs are in mipo_bench.harness.protocols now)"
    new = _MOVED.get(error.name.removeprefix("mipo_bench."))
    return f" ({error.name} is mipo_bench.{new} now)" if new else ""
