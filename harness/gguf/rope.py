"""The scaling of the rotary embedding that GGUF files of Llama 3 hold as a tensor, and transformers as settings."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

_LLAMA_3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""`rope_scaling` in the config.json of Llama 3.1, 3.2 and 3.3, whose `factor` differs by size."""


def llama3_scaling(config: Any, divisors: Sequence[float]) -> dict[str, Any] | None:
    """The `rope_parameters` of transformers that divide the frequencies like a file's `rope_freqs.weight`.

    `config` is the model's configuration, which lacks them; `divisors` has one number for each frequency, shape
    (head_dim / 2,). None if Llama 3's settings do not give these divisors.
    """
    import numpy as np
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    parameters = {**config.rope_parameters, "rope_type": "llama3", "factor": float(max(divisors)), **_LLAMA_3}
    scaled = deepcopy(config)
    scaled.rope_parameters = parameters
    frequencies = np.asarray(ROPE_INIT_FUNCTIONS["llama3"](scaled, "cpu")[0])
    plain = config.rope_parameters["rope_theta"] ** -(np.arange(len(frequencies)) / len(frequencies))
    same = len(divisors) == len(frequencies) and np.allclose(plain / frequencies, divisors, rtol=1e-3)
    return parameters if same else None
