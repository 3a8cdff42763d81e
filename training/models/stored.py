"""Large networks that come in half precision: no weight is in memory twice while they are loaded, nor afterwards.

Weights that are not trained stay as their files have them, mapped, and are widened while a layer computes: the numbers
are those of float32. By choice they are rounded to a half precision at once; what is trained becomes float32 at once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from datagen.weights import held
from training.models import half

PIECE = 256 << 20  # bytes of a mapped file that are read before they are given back


class Settling:
    """What becomes of each network as it is loaded, for `pipelines.load_networks`.

    `unet` and `texts` say whether these are frozen; `kind` is what frozen weights are rounded to, None for not at all.
    """

    def __init__(self, kind: half.Half | None, *, unet: bool, texts: bool) -> None:
        self._kind, self._unet, self._texts = kind, unet, texts
        self._waiting: list[tuple[Any, held.Mapped]] = []

    def __call__(self, name: str, network: Any, pages: held.Mapped) -> None:
        """Settle one. Raises TrainingError for numbers that the half precision does not have."""
        is_unet = name == "unet"
        frozen = self._unet if is_unet else self._texts
        if frozen and not is_unet and self._kind is None:
            held.widen(network)
            self._waiting.append((network, pages))
            return
        done = 0
        for module in network.modules():
            for weight in module.parameters(recurse=False):
                weight.data = self._settled(module, weight, is_unet, frozen)
                done += weight.nbytes
                if done > PIECE:
                    done = 0
                    pages.give_back()
        pages.give_back()
        if self._kind is None:
            held.say_float32(network)

    def take_turns(self, others: list[Any]) -> None:
        """Have the text encoders out of memory while the `others` run."""
        held.take_turns(self._waiting, others)

    def _settled(self, module: nn.Module, weight: Tensor, is_unet: bool, frozen: bool) -> Tensor:
        if not frozen or (is_unet and not isinstance(module, half.LAYERS)):
            return weight.detach().float()
        made = weight.detach()
        if self._kind is not None and weight.dtype != half.DTYPES[self._kind]:
            made = half.rounded(weight, self._kind, "the U-Net" if is_unet else "a text encoder")
        # Now, while pages are given back, as a frozen U-Net's convolutions will be wanted like this.
        return made.contiguous(memory_format=torch.channels_last) if made.ndim == 4 else made
