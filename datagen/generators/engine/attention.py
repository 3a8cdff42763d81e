"""Attention to texts that stay the same for all steps of a batch: their keys and values are computed in the first."""

from __future__ import annotations

from typing import Any

# What diffusers' attention may do besides, and Stable Diffusion's does not.
_OTHERWISE = ("spatial_norm", "group_norm", "norm_cross", "norm_q", "norm_k")


class KeptTexts:
    """What the attentions of one U-Net computed of the texts that they were shown last."""

    def __init__(self, unet: Any) -> None:
        from diffusers.models.attention_processor import Attention, AttnProcessor2_0

        self._texts: Any = None
        self._read: dict[Any, tuple[Any, Any]] = {}
        for module in unet.modules():
            if type(module) is Attention and module.is_cross_attention and type(module.processor) is AttnProcessor2_0:
                plain = all(getattr(module, name) is None for name in _OTHERWISE) and not module.residual_connection
                if plain and module.rescale_output_factor == 1.0:
                    module.set_processor(_Processor(self, module.processor))

    def read(self, attn: Any, texts: Any) -> tuple[Any, Any]:
        """The keys and values (N, heads, tokens, d) of an attention; `texts` (N, tokens, width)."""
        if self._texts is not texts:
            self.forget()
            self._texts = texts
        if attn not in self._read:
            self._read[attn] = (_heads(attn, attn.to_k(texts)), _heads(attn, attn.to_v(texts)))
        return self._read[attn]

    def forget(self) -> None:
        """Keep nothing, so that the memory is free."""
        self._texts = None
        self._read.clear()


class _Processor:
    """diffusers' scaled dot-product attention to other states."""

    def __init__(self, kept: KeptTexts, plain: Any) -> None:
        self._kept = kept
        self._plain = plain

    def __call__(
        self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, attention_mask: Any = None
    ) -> Any:
        import torch.nn.functional as F

        if encoder_hidden_states is None or attention_mask is not None:
            return self._plain(attn, hidden_states, encoder_hidden_states, attention_mask)
        key, value = self._kept.read(attn, encoder_hidden_states)
        seen = F.scaled_dot_product_attention(_heads(attn, attn.to_q(hidden_states)), key, value)
        return attn.to_out[1](attn.to_out[0](seen.transpose(1, 2).flatten(2)))


def _heads(attn: Any, states: Any) -> Any:
    """(N, L, heads · d) → (N, heads, L, d)."""
    return states.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
