"""The two halves of a guided batch are one until the U-Net first looks at their texts: that is computed of one half.

Only where the time alone is told besides the texts, as in Stable Diffusion 1.5 and 2; SDXL tells each half its own
pooled text from the first layer on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class SharedStart:
    """The first layers of one U-Net, of which a half computes both while `on` lasts."""

    def __init__(self, unet: Any) -> None:
        self._on = False
        names = ("addition_embed_type", "class_embed_type", "num_class_embeds", "encoder_hid_dim_type")
        told = any(unet.config.get(name) for name in names)
        for module in () if told else _before_texts(unet):
            module.forward = self._halved(module.forward)

    @contextlib.contextmanager
    def on(self, doubled: bool) -> Iterator[None]:
        """For batches (2N, …) whose second half begins as its first."""
        self._on = doubled
        try:
            yield
        finally:
            self._on = False

    def _halved(self, plain: Any) -> Any:
        import torch

        def forward(states: Any, *others: Any, **named: Any) -> Any:
            if not self._on:
                return plain(states, *others, **named)
            half = len(states) // 2
            others = tuple(other[:half] if torch.is_tensor(other) else other for other in others)
            made = plain(states[:half], *others, **named)
            return torch.cat([made, made])

        return forward


def _before_texts(unet: Any) -> Iterator[Any]:
    """The layers that see a batch before any text does, in order."""
    from diffusers.models.unets.unet_2d_blocks import CrossAttnDownBlock2D, DownBlock2D

    yield unet.conv_in
    for block in unet.down_blocks:
        if type(block) is DownBlock2D:
            yield from block.resnets
            yield from block.downsamplers or ()
            continue
        if type(block) is CrossAttnDownBlock2D:
            yield from _of_attention(block)
        return


def _of_attention(block: Any) -> Iterator[Any]:
    """The first layers of a block up to the questions that its first attention puts to the texts."""
    attention = block.attentions[0]
    yield block.resnets[0]
    yield from (attention.norm, attention.proj_in)
    first = attention.transformer_blocks[0]
    if first.norm_type == "layer_norm" and not first.only_cross_attention:
        yield from (first.norm1, first.attn1, first.norm2, first.attn2.to_q)
