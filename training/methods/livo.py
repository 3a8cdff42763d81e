"""LiVO (arXiv 2410.12700): a value encoder that steers a frozen Stable Diffusion by one extra context token.

The value encoder is a trainable copy of the text encoder; it reads "principle, prompt" and its pooled vector is put in
front of the frozen encoder's 77 tokens. The reference is the same frozen U-Net without that token. Only the value
encoder gets gradients. `attach` and `value_tokens` are the only places where the token is made, in training and at
inference alike, so the two cannot differ in padding or order.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.config import TrainingError
from training.diffusion import Batch, Context, StableDiffusion, predict, squared_error, tokenize
from training.losses import Errors
from training.methods import Step


def value_text(principle: str, prompt: str) -> str:
    """What the value encoder reads: the principle first, so that truncation eats the end of a long prompt."""
    return f"{principle}, {prompt}"


def value_tokens(encoder: Any, tokenizer: Any, principles: Sequence[str], prompts: Sequence[str]) -> Tensor:
    """Value tokens (N, D): the pooled output of "principle, prompt", padded like every prompt."""
    texts = [value_text(v, p) for v, p in zip(principles, prompts, strict=True)]
    tokens: Tensor = encoder(tokenize(tokenizer, texts).to(encoder.device))[1]
    return tokens


def attach(tokens: Tensor, hidden: Tensor) -> Tensor:
    """The context with the value token in front: (N, D) and (N, 77, D) → (N, 78, D)."""
    return torch.cat([tokens[:, None].to(hidden.dtype), hidden], dim=1)


class LivoMethod:
    """Trains a value encoder. `keep` above 0 adds a penalty that the paper does not have (see `step`)."""

    def __init__(self, model: StableDiffusion, *, keep: float) -> None:
        if model.is_xl:
            raise TrainingError("livo trains on SD 1.5 and the embedded model; SDXL is not supported yet")
        self.model = model
        self.keep = keep
        self.encoder = copy.deepcopy(model.text_encoders[0]).requires_grad_(True)

    def parameters(self) -> list[nn.Parameter]:
        """The weights of the value encoder."""
        return list(self.encoder.parameters())

    def step(self, batch: Batch, *, reference: bool) -> Step:
        """Errors with the token and without; with `keep`, a penalty on what another principle's token changes.

        The penalty is keep · mean((eps(x_t, c_other) - eps(x_t, c))^2) on one image of each pair, where c_other
        carries the token of a principle that does not belong to the pair: a token must do nothing where its principle
        is not at stake. It costs one more prediction a pair; 0 is LiVO as released. `reference` must be True.
        """
        if not reference:
            raise ValueError("LiVO has no loss without its reference")
        size = len(batch)
        unet, context = self.model.unet, batch.context.doubled()
        with torch.no_grad():
            plain = predict(unet, batch.latents, batch.timesteps, context)
        bystanders = self._bystanders(batch).to(plain.device)
        pairs = bystanders % size
        tokens = value_tokens(
            self.encoder,
            self.model.tokenizers[0],
            [*batch.principles, *(str(batch.other_principles[i]) for i in pairs.tolist())],
            [*batch.prompts, *(batch.prompts[i] for i in pairs.tolist())],
        )
        rows = torch.cat([torch.arange(2 * size, device=plain.device), bystanders])
        hidden = attach(torch.cat([tokens[:size], tokens]), context.hidden[rows])
        steered = predict(unet, batch.latents[rows], batch.timesteps[rows], Context(hidden))
        chosen, rejected = squared_error(steered[: 2 * size], batch.target).chunk(2)
        ref_chosen, ref_rejected = squared_error(plain, batch.target).chunk(2)
        errors = Errors(chosen, rejected, ref_chosen, ref_rejected)
        if not len(bystanders):
            return Step(errors)
        drift = squared_error(steered[2 * size :], plain[bystanders])
        return Step(errors, torch.zeros_like(chosen).index_put((pairs,), self.keep * drift))

    def _bystanders(self, batch: Batch) -> Tensor:
        """Rows of the 2B images that are shown another principle's token: chosen and rejected by turns."""
        if not self.keep:
            return torch.empty(0, dtype=torch.long)
        known = [i for i, other in enumerate(batch.other_principles) if other is not None]
        return torch.tensor([i + (i % 2) * len(batch) for i in known], dtype=torch.long)

    def save(self, folder: Path) -> None:
        """Write `value_encoder/`, an ordinary CLIPTextModel folder."""
        self.encoder.save_pretrained(folder / "value_encoder", safe_serialization=True)
