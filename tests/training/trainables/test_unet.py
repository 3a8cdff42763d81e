"""The reference is the model before training; LoRA's costs one call; checkpointing changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from training.models import diffusion
from training.models.diffusion import Batch, StableDiffusion
from training.trainables.unet import UNetTrainable


@pytest.mark.parametrize("rank", [0, 2])
def test_reference_is_the_model_before_training(
    model: StableDiffusion, make_batch: Callable[..., Batch], rank: int
) -> None:
    batch = make_batch(model)
    with torch.no_grad():
        before = diffusion.predict(model.unet, batch.latents, batch.timesteps, batch.image_context())
    trainable = UNetTrainable(model, lora_rank=rank, reference=True)
    with torch.no_grad():
        for weight in trainable.parameters():
            weight.add_(0.05)
    errors = trainable.step(batch, reference=True).errors
    expected = diffusion.squared_error(before, batch.target).chunk(2)
    torch.testing.assert_close((errors.ref_chosen, errors.ref_rejected), expected)
    assert not torch.allclose(errors.chosen, expected[0])
    errors.chosen.sum().backward()
    assert all(p.grad is not None for p in trainable.parameters())
    assert not any(p.grad is not None for p in model.vae.parameters())
    if rank:
        assert sum(p.numel() for p in trainable.parameters()) < 0.2 * sum(p.numel() for p in model.unet.parameters())


@pytest.mark.parametrize(("rank", "reference", "calls"), [(0, True, 1), (2, True, 2), (2, False, 1)])
def test_u_net_calls_a_step(
    model: StableDiffusion, make_batch: Callable[..., Batch], rank: int, reference: bool, calls: int
) -> None:
    trainable = UNetTrainable(model, lora_rank=rank, reference=reference)
    seen: list[Any] = []
    model.unet.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    trainable.step(make_batch(model), reference=reference)
    # The reference goes first, while no activations are kept; full fine-tuning has it in a frozen copy.
    assert seen == [False, True][-calls:]


@pytest.mark.parametrize("rank", [0, 2])
def test_checkpointing_changes_nothing(model: StableDiffusion, make_batch: Callable[..., Batch], rank: int) -> None:
    batch = make_batch(model)
    trainable = UNetTrainable(model, lora_rank=rank, reference=True)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.unet.enable_gradient_checkpointing()
        errors = trainable.step(batch, reference=True).errors
        gradients.append(torch.autograd.grad((errors.chosen - errors.rejected).sum(), trainable.parameters()))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_caption_of_its_own_for_each_image(model: StableDiffusion, make_batch: Callable[..., Batch]) -> None:
    trainable, batch = UNetTrainable(model, lora_rank=2, reference=False), make_batch(model)
    doubled = make_batch(model, context=batch.image_context())
    with torch.no_grad():
        same, own = (trainable.step(b, reference=False).errors for b in (batch, doubled))
        last = trainable.step(doubled.part(slice(3, 4)), reference=False).errors
    torch.testing.assert_close(own.rejected, same.rejected)
    torch.testing.assert_close(last.rejected, own.rejected[3:])
