"""What a U-Net keeps from the way there for the way back, made less: same numbers, and next to no time.

Autograd keeps the input of every convolution, though for a frozen one only its weight is read again; and of a gated
GELU, a quarter of a transformer's activations, both the gate and what GELU makes of it.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.models.activations import GEGLU
from torch import Tensor, nn


def spare(model: nn.Module) -> None:
    """Let the model's convolutions and gated GELUs keep no more than they need. Weights and names stay as they are."""
    for module in model.modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros":
            module.__class__ = SparingConv2d
        elif type(module) is GEGLU:
            module.__class__ = SparingGEGLU


class SparingConv2d(nn.Conv2d):
    """A convolution that keeps its input only while its weights are trained."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if weight.requires_grad or not (torch.is_grad_enabled() and input.requires_grad):
            return cast(Tensor, super()._conv_forward(input, weight, bias))
        tensors: list[Tensor | None] = [input, weight, bias]
        kind = input.device.type
        if torch.is_autocast_enabled(kind):  # a Function's way back knows nothing of autocast
            tensors = [None if t is None else t.to(torch.get_autocast_dtype(kind)) for t in tensors]
        made = _FrozenConvolution.apply(*tensors, self.stride, self.padding, self.dilation, self.groups)
        return cast(Tensor, made)


class SparingGEGLU(GEGLU):  # type: ignore[misc]  # diffusers is not typed
    """Half of the projection times GELU of the other half; GELU is computed a second time on the way back."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        return cast(Tensor, _GatedGelu.apply(self.proj(hidden_states)))


class _FrozenConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, *places: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.places = input.shape, places
        return F.conv2d(input, weight, bias, *places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.places
        # The input's shape is all that is read of it for its own gradient.
        shaped = gradients[0].new_empty(1).expand(ctx.shape)
        given, *_ = torch.ops.aten.convolution_backward(
            gradients[0], shaped, weight, None, stride, padding, dilation, False, [0], groups, [True, False, False]
        )
        return given, *[None] * (2 + len(ctx.places))


class _GatedGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor) -> Tensor:
        ctx.save_for_backward(projected)
        value, gate = projected.chunk(2, dim=-1)
        return value * F.gelu(gate)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (projected,) = ctx.saved_tensors
        value, gate = projected.chunk(2, dim=-1)
        back = torch.ops.aten.gelu_backward(gradients[0] * value, gate)
        return torch.cat([gradients[0] * F.gelu(gate), back], dim=-1)
