"""Presets: named sets of settings (`--preset`), and the points that each does not reproduce."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {
        "seeds": 3,
        "decoding": {"temperature": 0.1, "top_p": 0.9},
        "train": {
            "method": "full",
            "loss": "sigmoid",
            "lr": 5e-7,
            "beta": 0.1,
            "epochs": 1.0,
            "batch_size": 4,
            "warmup": 0.03,
            "max_length": 15360,
        },
        "chat": {"system_in_user": True},
        "judge": {"protocol": "pointwise", "temperature": 0.1, "top_p": 0.9},
        "reference": {"gsm8k": "few-shot", "svamp": "few-shot"},
    }
}
"""`paper` follows arXiv 2603.19294 and its authors' public training and evaluation scripts (an OpenRLHF fork)."""

NOT_REPRODUCED: Mapping[str, tuple[str, ...]] = {
    "paper": (
        "weights are trained in float32 (or bfloat16 autocast) where the paper's are bfloat16: steps of 5e-7 vanish",
        "identical chosen and rejected responses are left out and counted; the authors' permutation can pair them",
        "the temperature at which pairs are sampled is not stated in the paper: pairs.temperature stays as it is",
        "the main score of a judged task counts a tie as half a win; the paper's, a tie as a win, is shown as `paper`",
        "significance is tested as in every run; the paper reports means over seeds",
    )
}
"""Preset -> points that it does not reproduce."""


def differences(preset: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """One line for each value of the preset that differs from the default."""
    for key, value in preset.items():
        usual = defaults.get(key)
        if isinstance(value, Mapping):
            yield from differences(value, usual if isinstance(usual, Mapping) else {}, f"{prefix}{key}.")
        elif (list(usual) if isinstance(usual, list | tuple) else usual) != value:
            shown = ", ".join(value) if isinstance(value, list) else value
            yield f"{prefix}{key} = {shown} (default {'left to the task' if usual is None else usual})"
