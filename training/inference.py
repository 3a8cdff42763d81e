"""Give a stock diffusers pipeline its values: prompts and principles in, the pipeline's own arguments out.

    pipe = StableDiffusionPipeline.from_pretrained(model)
    guide = ValueGuide(pipe, "DIR/value_encoder")
    images = pipe(**guide(prompts, principles), guidance_scale=4.0).images      # a principle may be None

Tokens are made by the functions that training uses, so padding cannot differ. The unconditional branch, and prompts
whose principle is None, get no value: with all principles None the arguments are the pipeline's own embeddings and
the images are bit-identical to the base model's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.config import TrainingError
from training.diffusion import tokenize
from training.methods.livo import attach, value_tokens


def use_probability(base_share: float, token_share: float = 1.0) -> float:
    """How often to use the token of a `balance` principle so that two groups come out even.

    With the minority at `base_share` without the token and at `token_share` with it, the mixture is even at
    p = (0.5 - base_share) / (token_share - base_share), clipped to [0, 1]: (0.5 - q)/(1 - q) for 1.
    The released code fixes p = 0.5, which is right only for base_share 0.
    """
    if token_share <= base_share:
        return 0.0
    return min(1.0, max(0.0, (0.5 - base_share) / (token_share - base_share)))


def spread(probability: float, size: int, seed: int) -> list[bool]:
    """Which of `size` images use a token of this probability: as evenly as possible, from a random start."""
    start = random.Random(seed).random()
    return [int(start + (i + 1) * probability) > int(start + i * probability) for i in range(size)]


class ValueGuide:
    """Makes a pipeline's prompt embeddings with value tokens; works on SD 1.5-shaped pipelines, in batches.

    A batch is 78 tokens long as soon as one prompt has a principle. Rows without one, and the unconditional ones, then
    carry an all-zero vector in the token's place, which a hook on the U-Net masks out of the cross-attention: exactly
    the 77-token result up to rounding. `close()` takes the hook off again.
    """

    def __init__(self, pipe: Any, value_encoder: str | Path) -> None:
        if getattr(pipe, "text_encoder_2", None) is not None:
            raise TrainingError("value encoders steer SD 1.5-shaped pipelines; SDXL is not supported yet")
        from transformers import CLIPTextModel

        try:
            encoder = CLIPTextModel.from_pretrained(value_encoder, use_safetensors=True)
        except Exception as error:
            raise TrainingError(f"no value encoder at {value_encoder}: give the folder that training wrote") from error
        if encoder.config.hidden_size != pipe.unet.config.cross_attention_dim:
            raise TrainingError(
                f"the value encoder is {encoder.config.hidden_size} wide, the model's context "
                f"{pipe.unet.config.cross_attention_dim}: it was trained on another model"
            )
        self.pipe = pipe
        self.encoder = encoder.to(pipe.unet.device).eval()
        self._hook = pipe.unet.register_forward_pre_hook(mask_empty_slots, with_kwargs=True)

    @torch.no_grad()
    def __call__(
        self,
        prompts: Sequence[str],
        principles: Sequence[str | None],
        negative_prompts: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """`prompt_embeds` and `negative_prompt_embeds`, (N, 77, D) without any principle and (N, 78, D) with one."""
        prompts, principles = list(prompts), list(principles)
        if len(prompts) != len(principles):
            raise TrainingError(
                f"{len(prompts)} prompts but {len(principles)} principles; give one (or None) a prompt"
            )
        hidden = self._encode(prompts)
        negative = self._encode(list(negative_prompts) if negative_prompts is not None else [""] * len(prompts))
        steered = [i for i, principle in enumerate(principles) if principle is not None]
        if steered:
            slots = torch.zeros(len(prompts), hidden.shape[-1], dtype=hidden.dtype, device=hidden.device)
            negative = attach(torch.zeros_like(slots), negative)
            tokens = value_tokens(
                self.encoder,
                self.pipe.tokenizer,
                [str(principles[i]) for i in steered],
                [prompts[i] for i in steered],
            )
            slots[steered] = tokens.to(slots.dtype)
            hidden = attach(slots, hidden)
        return {"prompt_embeds": hidden, "negative_prompt_embeds": negative}

    def _encode(self, texts: list[str]) -> Tensor:
        encoder = self.pipe.text_encoder
        hidden: Tensor = encoder(tokenize(self.pipe.tokenizer, texts).to(encoder.device))[0]
        return hidden

    def close(self) -> None:
        """Take the hook off the pipeline's U-Net."""
        self._hook.remove()


def mask_empty_slots(
    unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Hide context tokens that are all zero: no encoder ever makes one, so they mean "no value here"."""
    hidden = kwargs.get("encoder_hidden_states")
    if hidden is None or kwargs.get("encoder_attention_mask") is not None:
        return args, kwargs
    filled = (hidden != 0).any(dim=-1)
    if not bool(filled[:, 0].all()):
        kwargs = {**kwargs, "encoder_attention_mask": filled}
    return args, kwargs
