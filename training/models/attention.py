"""Attention of a U-Net whose images share texts: a text's keys and values are computed once, however many read it.

The two images of a pair have one prompt, so half of that work was done twice. The numbers are those of diffusers'
own attention; weights and names stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

_UNUSED = ("spatial_norm", "group_norm", "norm_cross", "norm_q", "norm_k")  # by Stable Diffusion's transformers


def share_texts(model: nn.Module) -> None:
    """Let every attention of the U-Net take `text_rows`, by cross_attention_kwargs. See `SharedTextAttention`."""
    for module in model.modules():
        if type(module) is Attention and _is_plain(module):
            module.__class__ = SharedTextAttention


def _is_plain(module: Any) -> bool:
    nothing_else = all(getattr(module, name) is None for name in _UNUSED)
    scaled = module.residual_connection or module.rescale_output_factor != 1.0
    return nothing_else and not scaled and type(module.processor) is AttnProcessor2_0


class SharedTextAttention(Attention):
    """Scaled dot-product attention of N images to themselves, or to T texts.

    `text_rows` (N,) says which text each image reads; without it there is one for each. `attention_mask` (T, 1, L) is
    added to the texts' scores.
    """

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        text_rows: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        key, value, mask = self.to_k(source), self.to_v(source), attention_mask
        if encoder_hidden_states is not None and text_rows is not None:
            key, value = key.index_select(0, text_rows), value.index_select(0, text_rows)
            mask = None if mask is None else mask.index_select(0, text_rows)
        query, key, value = (self._heads(tensor) for tensor in (self.to_q(hidden_states), key, value))
        mask = None if mask is None else mask.unsqueeze(1)  # the same for every head
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out, dropout = self.to_out
        made: Tensor = dropout(out(seen.transpose(1, 2).flatten(2)))
        return made

    def _heads(self, tensor: Tensor) -> Tensor:
        """(N, L, heads · d) → (N, heads, L, d)."""
        split: Tensor = tensor.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return split
