"""LiVO (arXiv 2410.12700): a value encoder that steers a frozen Stable Diffusion by extra context tokens.

The value encoder reads "principle, prompt"; its vector at the end of that text becomes a token in front of the frozen
encoder's 77. The reference is the same frozen U-Net without it. Tokens are made and placed
by weights/value_pipeline.py, in training and at inference alike, so the two cannot differ in padding or order.

SD 1.5: the value encoder is a copy of the text encoder and the token its pooled output, as released. Put
differently, it is the row at the end of the text in the context that the pipeline itself would make of it. This also
says what SDXL's is (ours; the paper has SD 1.5 only): copies of both encoders, and of each the row at the end of the
text from the layer before the last, put together to 768 + 1280 = 2048. So the token starts as something that the
U-Net has always read; a projection of the pooled vectors would start as noise, and one encoder's copy would leave the
other's half of the token without a value. SDXL's pooled condition and its sizes stay those of the prompt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datagen.weights.value_pipeline import pad_tokens, prepend, to_device, value_tokens
from training.losses import Errors
from training.models import activations, attention
from training.models.diffusion import Batch, Context, StableDiffusion, predict, squared_error
from training.models.noise import unet_time
from training.trainables import value_encoder
from training.trainables.protocol import Step

SMALL = 1e-8  # far below any drift seen: the root's slope at 0 is infinite


@dataclasses.dataclass(frozen=True)
class Slots:
    """Places for value tokens in front of N prompts: tokens (N, K, D), and which of them are taken, (N, K).

    Cross-attention knows no positions, so which place a token has, and how many stay empty, makes no difference.
    """

    tokens: Tensor
    taken: Tensor

    @staticmethod
    def filled(tokens: Tensor, members: Sequence[Sequence[int]]) -> Slots:
        """Prompt i gets the rows members[i] of `tokens` (M, D); zeros are in the empty places."""
        return Slots(*pad_tokens(tokens, members))

    def prepend_to(self, context: Context) -> Context:
        """The context with the tokens in front, K + 77 long; empty places are hidden from the U-Net."""
        words = context.hidden
        mask = None
        if not self.taken.all():
            mask = torch.cat([self.taken, torch.ones(words.shape[:2], dtype=torch.bool)], dim=1)
            mask = to_device(mask, words.device)
        return dataclasses.replace(context, hidden=prepend(self.tokens, words), mask=mask)


class LivoTrainable:
    """Trains a value encoder; all of its weights, or LoRA of `rank`. U-Net, VAE and text encoders stay frozen.

    `encoders` are the ones to train, where they start from others than the text encoders. `leak_penalty` above 0 adds
    a penalty that the paper does not have (see `step`); `checkpointing` saves memory by recomputing activations in the
    backward pass.
    """

    def __init__(
        self,
        model: StableDiffusion,
        *,
        leak_penalty: float,
        rank: int = 0,
        encoders: Sequence[Any] = (),
        checkpointing: bool = False,
    ) -> None:
        self.model = model
        self.leak_penalty = leak_penalty
        self.encoders = list(encoders) or value_encoder.make(model.text_encoders, rank=rank)
        activations.save_memory(model.unet)
        attention.share_texts(model.unet)
        model.unet.to(memory_format=torch.channels_last)  # faster convolutions
        if checkpointing:
            model.unet.enable_gradient_checkpointing()
            for encoder in self.encoders:
                encoder.gradient_checkpointing_enable({"use_reentrant": False})
                encoder.train()  # transformers checkpoints in training mode only; CLIP has no dropout

    def parameters(self) -> list[nn.Parameter]:
        """The weights of the value encoder."""
        return [p for encoder in self.encoders for p in encoder.parameters() if p.requires_grad]

    def step(self, batch: Batch, *, reference: bool) -> Step:
        """Errors with the pair's token and without; two U-Net calls, the second with gradients.

        With `leak_penalty`, a penalty on what other principles' tokens do to the rejected image of each pair (see
        `_drift`); it costs one more prediction a pair. 0 is LiVO as released.
        """
        size, unet = len(batch), self.model.unet
        context, texts = batch.context, batch.text_rows()
        times = unet_time(self.model.noise_scheduler, batch.timesteps)
        pairs = [i for i, names in enumerate(batch.other_principles) if names and self.leak_penalty]
        rows = to_device(torch.tensor(pairs, dtype=torch.long) + size, batch.timesteps.device)  # their rejected images
        if reference or pairs:
            with torch.no_grad():
                plain = predict(unet, batch.latents, times, context, texts)
        count = len(context.hidden)
        every, places = (torch.arange(n, device=rows.device) for n in (2 * size, count + len(pairs)))
        every = torch.cat([every, rows])
        context = self._slots(batch, pairs).prepend_to(context.pick(torch.cat([places[:count], texts[rows]])))
        texts = torch.cat([texts, places[count:]])
        steered = predict(unet, batch.latents[every], times[every], context, texts)
        errors = Errors(*squared_error(steered[: 2 * size], batch.target).chunk(2))
        if reference:
            errors = Errors(errors.chosen, errors.rejected, *squared_error(plain, batch.target).chunk(2))
        if not pairs:
            return Step(errors)
        own = [batch.principles[i] in batch.other_principles[i] for i in pairs]
        with_own = to_device(torch.tensor(own), rows.device)[:, None, None, None]
        drift = self._drift(steered[2 * size :], torch.where(with_own, steered[rows].detach(), plain[rows]))
        return Step(errors, torch.zeros_like(errors.chosen).index_put((rows % size,), drift))

    def _drift(self, steered: Tensor, wanted: Tensor) -> Tensor:
        """leak_penalty · sqrt(mean((eps(x_t, c_others) - eps(x_t, c))²)), (N,).

        c_others is the prompt with the tokens of `other_principles`, c without them, or with the pair's own token if
        that is among them. Where its principle is not at stake a token must do nothing, neither alone nor together
        with another; and what is wrong with a rejected image concerns its pair's principle only. The chosen one may
        well show what the others forbid, and there they must act. The root, since a square's gradient fades with the
        drift.
        """
        return self.leak_penalty * (squared_error(steered, wanted) + SMALL).sqrt()

    def _slots(self, batch: Batch, pairs: list[int]) -> Slots:
        """The own token for each of the batch's texts, then those of `other_principles` of the given pairs."""
        members = [[i] for i in range(len(batch))] * (len(batch.context.hidden) // len(batch))
        names, owners = list(batch.principles), list(range(len(batch)))
        for i in pairs:
            shown = []
            for name in batch.other_principles[i]:
                if name == batch.principles[i]:
                    shown.append(i)
                    continue
                shown.append(len(names))
                names.append(name)
                owners.append(i)
            members.append(shown)
        return Slots.filled(self._tokens(names, [batch.prompts[i] for i in owners]), members)

    def _tokens(self, principles: Sequence[str], prompts: Sequence[str]) -> Tensor:
        return value_tokens(self.encoders, self.model.tokenizers, principles, prompts)

    def save(self, folder: Path) -> None:
        """Write `value_encoder/`, for SDXL `value_encoder_2/`, and the `pipeline.py` that diffusers uses them with."""
        value_encoder.save(self.encoders, folder)
