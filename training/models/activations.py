"""Memory-efficient U-Net layers: less saved for the backward pass, bit-identical gradients, no time lost.

Autograd saves the input of every convolution, though the backward pass of a frozen one reads only its weight; of a
residual block also the outputs of its norms, which SiLU's backward pass reads; and of a transformer's
feed-forward both halves of the gate and their product. Here these are not saved, or recomputed. Frozen weights in half
precision, where the layer computes in float32, are widened while it does and saved as they are.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn


def save_memory(model: nn.Module) -> None:
    """Have these layers save no more than the backward pass needs. Weights and names stay as they are."""
    for module in model.modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros":
            module.__class__ = SparingConv2d
        elif type(module) is nn.Linear and module.weight.dtype != torch.float32:
            module.__class__ = SparingLinear
        elif type(module) is ResnetBlock2D and _is_plain(module):
            module.__class__ = SparingResnetBlock
        elif type(module) is FeedForward and _is_gated(module):
            module.__class__ = SparingFeedForward


def _is_plain(module: Any) -> bool:
    moved = module.up or module.down or module.skip_time_act or module.time_emb_proj is None
    other = module.time_embedding_norm != "default" or module.output_scale_factor != 1.0 or module.dropout.p != 0
    return not (moved or other) and type(module.nonlinearity) is nn.SiLU


def _is_gated(module: Any) -> bool:
    kinds = [type(layer) for layer in module.net]
    return kinds == [GEGLU, nn.Dropout, nn.Linear] and module.net[1].p == 0


class SparingLinear(nn.Linear):
    """A linear layer whose weights are frozen and in half precision, whatever it computes in."""

    def forward(self, input: Tensor) -> Tensor:
        given, weight, bias = _as_autocast(input, self.weight, self.bias)
        return cast(Tensor, _FrozenLinear.apply(given, weight, bias))


class SparingConv2d(nn.Conv2d):
    """A convolution that saves its input only while its weights are trained."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if weight.requires_grad:
            return cast(Tensor, super()._conv_forward(input, weight, bias))
        tensors = _as_autocast(input, weight, bias)
        if not (torch.is_grad_enabled() and input.requires_grad):
            return cast(Tensor, super()._conv_forward(*_like(*tensors)))
        output = _FrozenConvolution.apply(*tensors, self.stride, self.padding, self.dilation, self.groups)
        return cast(Tensor, output)


class SparingResnetBlock(ResnetBlock2D):
    """x + conv(SiLU(norm(conv(SiLU(norm(x))) + time))); the norms are recomputed in the backward pass."""

    def forward(self, input_tensor: Tensor, temb: Tensor, *_: Any, **__: Any) -> Tensor:
        time = self.time_emb_proj(F.silu(temb))[:, :, None, None]
        inner = self.conv1(_normed_silu(self.norm1, input_tensor)) + time
        output: Tensor = self.conv2(_normed_silu(self.norm2, inner))
        return output + (input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor))


class SparingFeedForward(FeedForward):
    """W (a · GELU(b)) + c, of which only the projection (a, b) is saved; GELU is recomputed in the backward pass."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        gelu, _dropout, out = self.net
        tensors = _as_autocast(gelu.proj(hidden_states), out.weight, out.bias)
        return cast(Tensor, _GatedLinear.apply(*tensors))


def _normed_silu(norm: nn.GroupNorm, images: Tensor) -> Tensor:
    if torch.is_autocast_enabled("cuda"):
        images = images.float()  # as autocast would for the norm alone
    return cast(Tensor, _NormedSilu.apply(images, norm.weight, norm.bias, norm.num_groups, norm.eps))


def _as_autocast(*tensors: Tensor | None) -> list[Tensor | None]:
    """In the dtype that autocast would give them: the backward pass of a Function is not autocast."""
    kind = next(t for t in tensors if t is not None).device.type
    if not torch.is_autocast_enabled(kind):
        return list(tensors)
    return [None if t is None else t.to(torch.get_autocast_dtype(kind)) for t in tensors]


def _like(first: Any, *others: Tensor | None) -> tuple[Any, ...]:
    """All in the dtype of the first: weights that are held in half precision may be given float32."""
    return first, *(None if other is None else other.to(first.dtype) for other in others)


class _FrozenLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return F.linear(*_like(input, weight, bias))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return gradients[0] @ weight.to(gradients[0].dtype), None, None


class _FrozenConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, *places: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.places = input.shape, places
        return F.conv2d(*_like(input, weight, bias), *places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (outer,), (weight,) = gradients, ctx.saved_tensors
        stride, padding, dilation, groups = ctx.places
        # The input's shape is all that is read of it for its own gradient.
        read = outer.new_empty(1).expand(ctx.shape), weight.to(outer.dtype), None
        given, *_ = torch.ops.aten.convolution_backward(
            outer, *read, stride, padding, dilation, False, [0], groups, [True, False, False]
        )
        return given, *[None] * (2 + len(ctx.places))


class _NormedSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        count, channels, *sides = images.shape
        sizes = count, channels, math.prod(sides), groups
        normed, mean, deviation = torch.ops.aten.native_group_norm(images, weight, bias, *sizes, eps)
        ctx.save_for_backward(images, weight, bias, mean, deviation)
        ctx.sizes, ctx.eps = sizes, eps
        return F.silu(normed, inplace=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (given,) = gradients
        images, weight, bias, mean, deviation = ctx.saved_tensors
        normed, _, _ = torch.ops.aten.native_group_norm(images, weight, bias, *ctx.sizes, ctx.eps)
        torch.ops.aten.silu_backward.grad_input(given, normed, grad_input=normed)
        found = torch.ops.aten.native_group_norm_backward(
            normed, images, mean, deviation, weight, *ctx.sizes, ctx.needs_input_grad[:3]
        )
        return *found, None, None


class _GatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(projected, weight)
        value, gate = projected.chunk(2, dim=-1)
        return F.linear(*_like(F.gelu(gate).mul_(value), weight, bias))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (given,) = gradients
        projected, weight = ctx.saved_tensors
        value, gate = projected.chunk(2, dim=-1)
        to_projected = to_weight = to_bias = None
        opened = F.gelu(gate)
        if ctx.needs_input_grad[1]:
            to_weight = given.flatten(0, -2).t() @ (opened * value).flatten(0, -2)
        if ctx.needs_input_grad[2]:
            to_bias = given.flatten(0, -2).sum(0)
        if ctx.needs_input_grad[0]:
            to_projected = torch.empty_like(projected)  # both halves are written where they belong: no copies
            to_value, to_gate = to_projected.chunk(2, dim=-1)
            inner = given @ weight.to(given.dtype)
            torch.mul(inner, opened, out=to_value)
            torch.ops.aten.gelu_backward.grad_input(inner.mul_(value), gate, grad_input=to_gate)
        return to_projected, to_weight, to_bias
