"""Linear layers of a large model on a CPU, with weights in the blocked order that oneDNN's kernels read.

torch multiplies plain float32 weights with MKL, which brings them into such an order again at every call. With few rows
that takes as long as the product. Plain bfloat16 weights are brought into it by oneDNN itself, at every call as well.
torch's compiler packs the weights of a frozen model by the same two operators.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

_LARGE_MODEL = 1 << 25
"""Parameters from which one prompt keeps a CPU busy, so that computing idle rows would cost more than it saves."""


class PackedLinear(torch.nn.Module):
    """What `torch.nn.Linear` computes, from packed weights. It cannot be trained or saved."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        """The weights of `linear` may go afterwards."""
        super().__init__()
        self.bias = linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self.packed, self.bias, "none", [], "")
        return out


def is_large_on_cpu(model: PreTrainedModel) -> bool:
    """Whether one prompt keeps the CPU busy that the model is on."""
    if model.device.type != "cpu":
        return False
    packed = sum(m.in_features * m.out_features for m in model.modules() if isinstance(m, PackedLinear))
    return packed + sum(p.numel() for p in model.parameters()) > _LARGE_MODEL


def pack_linear_layers(model: PreTrainedModel) -> None:
    """Replace the linear layers of a model by packed ones, if it is large, on a CPU, and in a format that oneDNN packs.

    Weights that nothing else holds are freed one by one, so that hardly more memory is needed.
    """
    if not is_large_on_cpu(model) or not _can_pack(model.dtype):
        return
    if getattr(model, "hf_device_map", None) is not None:
        return  # accelerate moves the weights of its layers in and out of memory
    for name in [name for name, layer in model.named_modules() if type(layer) is torch.nn.Linear]:
        model.set_submodule(name, PackedLinear(model.get_submodule(name)))  # type: ignore[arg-type]


def _can_pack(dtype: torch.dtype) -> bool:
    """Whether oneDNN packs weights of this format on this CPU."""
    if not torch.backends.mkldnn.is_available():
        return False
    bfloat16 = dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32 or bfloat16
