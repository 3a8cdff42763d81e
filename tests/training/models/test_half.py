"""Frozen weights in half precision: what is rounded, what stays, and that a U-Net computes the very same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training.cache.latents import image_space, text_space
from training.errors import TrainingError
from training.models import diffusion, half
from training.trainables.livo import LivoTrainable
from training.trainables.unet import UNetTrainable

FAMILIES = ["sd15", "sdxl"]
Load = Callable[[], diffusion.StableDiffusion]


@pytest.fixture(params=FAMILIES)
def load(request: pytest.FixtureRequest) -> Load:
    folder = request.getfixturevalue(f"{request.param}_folder")
    return lambda: diffusion.load(folder)


@pytest.fixture
def make_batch(request: pytest.FixtureRequest) -> Callable[..., diffusion.Batch]:
    from tests.training.trainables.conftest import noised_batch

    return noised_batch


def computed(trainable: Any, batch: diffusion.Batch, dtype: torch.dtype) -> list[Tensor]:
    """The errors of a batch, and the gradients of what is trained."""
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():  # the half of LoRA that begins as zeros would hide the other
        for weight in trainable.parameters():
            weight.copy_(0.05 * torch.randn(weight.shape, generator=rng))
            weight.grad = None
    with torch.autocast("cpu", dtype):
        errors = trainable.step(batch, reference=True).errors
    (errors.chosen - errors.rejected).sum().backward()
    gradients = [weight.grad for weight in trainable.parameters()]
    return [errors.chosen, errors.rejected, errors.ref_chosen, errors.ref_rejected, *gradients]


TRAINABLES: dict[str, Callable[..., Any]] = {
    "lora": lambda model, kind, **more: UNetTrainable(model, lora_rank=2, reference=True, **more),
    "reference": lambda model, kind, **more: UNetTrainable(
        model, lora_rank=0, reference=True, frozen_half=kind, **more
    ),
    "livo": lambda model, kind, **more: LivoTrainable(model, leak_penalty=0.0, **more),
    "livo-lora": lambda model, kind, **more: LivoTrainable(model, leak_penalty=0.0, rank=2, **more),
}


@pytest.mark.parametrize("what", TRAINABLES)
@pytest.mark.parametrize(("kind", "checkpointing"), [("bf16", False), ("bf16", True), ("fp16", False)])
def test_a_rounded_unet_gives_the_numbers_that_autocast_gives(
    kind: half.Half, what: str, checkpointing: bool, load: Load, make_batch: Any
) -> None:
    whole, rounded = load(), load()
    batch = make_batch(whole)
    if what != "reference":
        half.round_unet(rounded.unet, kind)
    wanted = computed(TRAINABLES[what](whole, None), batch, half.DTYPES[kind])
    found = computed(TRAINABLES[what](rounded, kind, checkpointing=checkpointing), batch, half.DTYPES[kind])
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.isfinite().all() and mine.dtype == theirs.dtype and torch.equal(mine, theirs)
    assert {weight.dtype for weight in TRAINABLES[what](load(), kind).parameters()} == {torch.float32}


def test_linear_layers_and_convolutions_are_rounded_and_nothing_else(load: Load) -> None:
    model = load()
    before = sum(weight.nbytes for weight in model.unet.parameters())
    half.round_unet(model.unet, "bf16")
    for module in model.unet.modules():
        wanted = torch.bfloat16 if isinstance(module, nn.Linear | nn.Conv2d) else torch.float32
        assert {weight.dtype for weight in module.parameters(recurse=False)} <= {wanted}
    assert sum(weight.nbytes for weight in model.unet.parameters()) < 0.51 * before


def test_a_weight_that_is_trained_is_never_rounded(load: Load) -> None:
    model = load()
    model.unet.requires_grad_(True)
    half.round_unet(model.unet, "fp16")
    assert {weight.dtype for weight in model.unet.parameters()} == {torch.float32}


def test_the_copy_of_a_unet_shares_no_weight_with_it(load: Load) -> None:
    model = load()
    made = half.rounded_copy(model.unet, "bf16")
    assert not {id(weight) for weight in made.parameters()} & {id(weight) for weight in model.unet.parameters()}
    assert not {w.data_ptr() for w in made.parameters()} & {w.data_ptr() for w in model.unet.parameters()}
    assert not any(weight.requires_grad for weight in made.parameters())
    assert {weight.dtype for weight in model.unet.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("kind", "is_xl", "upcast", "rounded"),
    [
        ("fp16", True, True, False),
        ("fp16", True, False, True),
        ("fp16", False, True, True),
        ("bf16", True, True, True),
        ("bf16", False, True, True),
    ],
)
def test_a_vae_that_is_too_wide_for_fp16_stays(
    kind: half.Half, is_xl: bool, upcast: bool, rounded: bool, load: Load
) -> None:
    vae = load().vae
    vae.register_to_config(force_upcast=upcast)
    latents = torch.randn(1, 4, 4, 4)
    with torch.no_grad():
        wanted = vae.decode(latents).sample
    assert half.round_vae(vae, kind, is_xl=is_xl) is rounded
    assert {weight.dtype for weight in vae.parameters()} == {half.DTYPES[kind] if rounded else torch.float32}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = vae.decode(latents).sample
    assert found.dtype == vae.dtype
    missed = float((found.float() - wanted).norm() / wanted.norm())
    assert missed < (0.1 if rounded else 1e-6)


def test_what_is_not_rounded_is_said(load: Load) -> None:
    model = load()
    notes = half.round_frozen(model, "bf16", unet=False, texts=True)
    assert len(notes) == 1 and "the U-Net is trained and stays in fp32" in notes[0]
    assert {weight.dtype for encoder in model.text_encoders for weight in encoder.parameters()} == {torch.bfloat16}
    model = load()
    notes = half.round_frozen(model, "fp16", unet=True, texts=False)
    assert "the text encoders stay in fp32" in notes[0] and model.text_encoders[0].dtype == torch.float32
    assert (
        notes[1:] == ["the VAE stays in fp32, since fp16 is too narrow for it, as its force_upcast says"] * model.is_xl
    )


@pytest.mark.parametrize("part", ["the U-Net", "a text encoder", "the VAE"])
@pytest.mark.parametrize("value", [7e4, -1e30])
def test_weights_that_fp16_cannot_hold_are_refused_and_bf16_takes_them(part: str, value: float, load: Load) -> None:
    def broken() -> diffusion.StableDiffusion:
        model = load()
        module = {"the U-Net": model.unet, "a text encoder": model.text_encoders[0], "the VAE": model.vae}[part]
        model.vae.register_to_config(force_upcast=False)
        next(iter(module.parameters())).data.flatten()[0] = value
        return model

    with pytest.raises(TrainingError, match=f"{part} has weights of up to") as caught:
        half.round_frozen(broken(), "fp16", unet=True, texts=True)
    assert "--frozen-precision bf16 or fp32" in str(caught.value) and "\n" not in str(caught.value)
    half.round_frozen(broken(), "bf16", unet=True, texts=True)


def test_what_was_encoded_in_one_precision_is_never_read_in_another(load: Load) -> None:
    images, texts = {}, {}
    for kind in ("fp32", "bf16", "fp16"):
        model = load()
        if kind != "fp32":
            half.round_frozen(model, kind, unet=True, texts=True)  # type: ignore[arg-type]
        images[kind], texts[kind] = image_space(model, 64), text_space(model)
        with torch.no_grad():
            hidden, _ = diffusion.encode_text(model, ["a chef"])
        assert hidden.dtype == model.text_encoders[0].dtype
    assert len(set(texts.values())) == 3
    assert images["bf16"] != images["fp32"] and images["bf16"] != images["fp16"]
    assert (images["fp16"] == images["fp32"]) is model.is_xl  # whose VAE stays as it is
