"""Training the U-Net: all of its weights, or LoRA adapters on its attention (peft).

The reference is the model before training: a frozen copy for full fine-tuning, for LoRA the same U-Net with its
adapters off, or with those that it started from. What is saved loads with stock diffusers: `unet/`, or
`pytorch_lora_weights.safetensors`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.losses import Errors
from training.models import activations, attention, half
from training.models.diffusion import Batch, StableDiffusion, predict, squared_error
from training.models.noise import unet_time
from training.trainables import lora
from training.trainables.protocol import Step


def adapters(unet: Any) -> list[Any]:
    """The layers of the U-Net that have LoRA adapters."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in unet.modules() if isinstance(module, BaseTunerLayer)]


@contextlib.contextmanager
def switched_back(layers: Sequence[Any], *, to_start: bool) -> Iterator[None]:
    """The layers as before training, for a prediction that needs no gradients: `to_start`, or without adapters.

    peft's own switches look for the layers in the whole model and set every weight's `requires_grad`, each time: on
    Stable Diffusion XL 40 ms a step. All that a layer's forward pass reads are these two attributes.
    """
    for layer in layers:
        layer._disable_adapters = not to_start
        layer._active_adapter = lora.START if to_start else lora.TRAINED
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False
            layer._active_adapter = lora.TRAINED


class UNetTrainable:
    """The U-Net of `model`, made trainable in place; `lora_rank` 0 means full fine-tuning.

    `lora_alpha` (0: the rank) and `lora_targets` are LoRA's scale and places, `start` what LoRA starts from instead of
    nothing; `checkpointing` saves memory by recomputing activations in the backward pass; the reference of full
    fine-tuning is held in `frozen_half`.
    """

    def __init__(
        self,
        model: StableDiffusion,
        *,
        lora_rank: int,
        reference: bool,
        lora_alpha: float = 0.0,
        lora_targets: lora.Targets = "attention",
        start: lora.Factors | None = None,
        checkpointing: bool = False,
        frozen_half: half.Half | None = None,
    ) -> None:
        self.model = model
        self.lora_rank = lora_rank
        self.frozen: Any = None
        self.from_start = start is not None and reference
        if lora_rank:  # first, for layers that save memory read the weights of those inside them past any adapter
            add = functools.partial(lora.add, model.unet, rank=lora_rank, targets=lora_targets)
            if start is not None and reference:
                add(alpha=0, name=lora.START)
                lora.fill(model.unet, start, lora.START)
            add(alpha=lora_alpha)  # after the reference's: the last one is what is trained
            if start is not None:
                lora.fill(model.unet, start)
        activations.save_memory(model.unet)
        attention.share_texts(model.unet)
        if lora_rank:
            model.unet.to(memory_format=torch.channels_last)  # faster convolutions; they are frozen and not saved
        else:
            if reference:
                self.frozen = half.rounded_copy(model.unet, frozen_half) if frozen_half else copy.deepcopy(model.unet)
            model.unet.requires_grad_(True)
        if checkpointing:
            model.unet.enable_gradient_checkpointing()
        self.adapters = adapters(model.unet)

    def parameters(self) -> list[nn.Parameter]:
        """The weights that are trained."""
        return [p for p in self.model.unet.parameters() if p.requires_grad]

    def step(self, batch: Batch, *, reference: bool) -> Step:
        """Winner and loser in one call; the reference's two, where wanted, in another without gradients.

        The reference comes first, while no activations are saved for the backward pass.
        """
        ref_chosen = ref_rejected = None
        if reference:
            with torch.no_grad():
                with switched_back(self.adapters, to_start=self.from_start):
                    ref_chosen, ref_rejected = self._errors(self.frozen or self.model.unet, batch)
        return Step(Errors(*self._errors(self.model.unet, batch), ref_chosen, ref_rejected))

    def _errors(self, unet: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        times = unet_time(self.model.noise_scheduler, batch.timesteps)
        prediction = predict(unet, batch.latents, times, batch.context, batch.text_rows())
        chosen, rejected = squared_error(prediction, batch.target).chunk(2)
        return chosen, rejected

    def save(self, folder: Path) -> None:
        """Write `unet/`, or LoRA's two files."""
        if self.lora_rank:
            lora.save(self.model.unet, folder, is_xl=self.model.is_xl)
        else:
            self.model.unet.save_pretrained(folder / "unet", safe_serialization=True)
