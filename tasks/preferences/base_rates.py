"""Base rates: the share of responses without any context that meet a preference.

Measured on SmolLM2-135M-Instruct (GGUF Q4_1, computed in float32) on 2026-11-27, temperature 0.1, at most 160 tokens,
one response to each training request, with `no-context` prompts:

    OMP_NUM_THREADS=1 python tests/benchmarks/studies/preferences_base_rates.py MODEL
"""

from __future__ import annotations

from collections.abc import Mapping

COUNTED_BELOW = 0.7
"""A preference counts towards the score if its base rate is lower. Fixed before the rates were measured."""
BASE_RATES: Mapping[str, float] = {
    "max_words=40": 0.17,  # of 71
    "max_words=60": 0.31,  # of 71
    "word_range=40-70": 0.17,  # of 71
    "word_range=60-90": 0.06,  # of 71
    "sentences=3": 0.13,  # of 71
    "sentences=4": 0.03,  # of 71
    "short_sentences=15": 0.13,  # of 71
    "bullets": 0.03,  # of 71
    "numbered_steps": 0.57,  # of 14
    "no_lists": 0.80,  # of 71
    "table": 0.00,  # of 14
    "heading": 0.00,  # of 71
    "bold": 0.08,  # of 71
    "no_markdown": 0.73,  # of 71
    "greeting": 0.00,  # of 71
    "no_preamble": 0.96,  # of 71
    "answer_first": 0.18,  # of 11
    "closing_question": 0.00,  # of 71
    "closing_summary": 0.00,  # of 71
    "name": 0.00,  # of 71
    "no_emoji": 0.96,  # of 71
    "emoji": 0.00,  # of 71
    "no_exclamation": 0.96,  # of 71
    "no_contractions": 0.51,  # of 71
    "simple_words": 0.17,  # of 71
    "language=Spanish": 0.00,  # of 71
    "language=French": 0.00,  # of 71
    "language=German": 0.00,  # of 71
    "language=Italian": 0.00,  # of 71
    "british_spelling": 0.00,  # of 9
    "example": 0.07,  # of 71
    "pros_and_cons": 0.14,  # of 7
    "units=metric": 0.17,  # of 12
    "units=imperial": 0.08,  # of 12
    "dates=iso": 0.00,  # of 7
    "dates=day_first": 0.43,  # of 7
    "type_hints": 0.00,  # of 6
    "docstrings": 0.00,  # of 6
}
