"""Frozen weights in half precision: half of their memory, and of a U-Net the very numbers that it had without.

Under autocast a U-Net's linear layers and convolutions round their weights at every step; here that is done once.
Norms stay in float32, as autocast has them. A VAE and text encoders, which run without autocast, are rounded whole,
as stock pipelines do by `torch_dtype`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from training.errors import TrainingError
from training.models.diffusion import StableDiffusion

Half = Literal["bf16", "fp16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
LAYERS = (nn.Linear, nn.Conv2d)  # whose weights autocast rounds


class OwnPrecisionVAE(AutoencoderKL):
    """A VAE that decodes in the precision of its weights, whatever it is given and whatever is around it."""

    def decode(self, z: Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(z.device.type, enabled=False):
            return super().decode(z.to(self.dtype), *args, **kwargs)


def round_frozen(model: StableDiffusion, half: Half, *, unet: bool, texts: bool) -> list[str]:
    """Round the parts of a model that a run does not train: `unet` and `texts` say whether these are of them.

    What should be known of it, one line each. Raises TrainingError.
    """
    notes = []
    if unet:
        round_unet(model.unet, half)
    else:
        notes.append(
            f"the U-Net is trained and stays in fp32; in {half} are the VAE, the text encoders, and the reference if "
            "the loss has one"
        )
    if texts:
        for encoder in model.text_encoders:
            round_encoder(encoder, half, "a text encoder")
    else:
        notes.append("the text encoders stay in fp32, since what is trained begins as they are")
    if not round_vae(model.vae, half, is_xl=model.is_xl):
        notes.append("the VAE stays in fp32, since fp16 is too narrow for it, as its force_upcast says")
    return notes


def round_unet(unet: nn.Module, half: Half) -> None:
    """Round the frozen weights of a U-Net that autocast would round, in place. Raises TrainingError."""
    for weight in _rounded(unet):
        if weight.dtype != DTYPES[half]:
            weight.data = rounded(weight, half, "the U-Net")


def rounded_copy(unet: nn.Module, half: Half) -> Any:
    """A frozen copy of a U-Net that is rounded alike; the memory of a whole one is at no time needed."""
    made = {id(w): nn.Parameter(rounded(w, half, "the U-Net"), requires_grad=False) for w in _rounded(unet)}
    return copy.deepcopy(unet, made).requires_grad_(False)


def round_encoder(encoder: nn.Module, half: Half, what: str) -> None:
    """Round all weights of a text encoder. Raises TrainingError."""
    for weight in encoder.parameters():
        if weight.dtype != DTYPES[half]:
            weight.data = rounded(weight, half, what)


def round_vae(vae: Any, half: Half, *, is_xl: bool) -> bool:
    """Round a VAE, unless it is one of SDXL's whose activations are too large for float16; whether it was rounded.

    Those say so by `force_upcast`; SD 1.5's have the same word by default, and need it not.
    """
    vae.__class__ = OwnPrecisionVAE
    if half == "fp16" and is_xl and vae.config.force_upcast:
        return False
    for weight in vae.parameters():
        weight.data = rounded(weight, half, "the VAE")
    return True


def rounded(weight: Tensor, half: Half, what: str) -> Tensor:
    """A copy in half precision. Raises TrainingError where float16 has no such numbers."""
    made = weight.detach().to(DTYPES[half], copy=True)
    if half == "fp16" and not made.isfinite().all():
        raise TrainingError(
            f"{what} has weights of up to {weight.abs().max():.3g}, and fp16 ends at 65504: use "
            "--frozen-precision bf16 or fp32"
        )
    return made


def _rounded(unet: nn.Module) -> Iterator[nn.Parameter]:
    for layer in unet.modules():
        if isinstance(layer, LAYERS):
            yield from (weight for weight in layer.parameters(recurse=False) if not weight.requires_grad)
