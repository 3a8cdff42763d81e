"""Networks that come in half precision: trained or trained beside, with the numbers of float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datagen.weights import held
from training.models import diffusion, half, stored
from training.trainables.livo import LivoTrainable
from training.trainables.unet import UNetTrainable

Make = Callable[..., Any]
TRAINABLES: dict[str, Make] = {
    "lora": lambda model, **more: UNetTrainable(model, lora_rank=2, reference=True, **more),
    "transformer": lambda model, **more: UNetTrainable(
        model, lora_rank=2, lora_targets="transformer", reference=True, **more
    ),
    "unet": lambda model, **more: UNetTrainable(model, lora_rank=0, reference=True, **more),
    "livo": lambda model, **more: LivoTrainable(model, leak_penalty=0.0, **more),
}


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "LARGE", 0)
    monkeypatch.setattr(stored, "PIECE", 1000)


@pytest.fixture(scope="module", params=[("sd15", torch.float16), ("sdxl", torch.bfloat16)], ids=lambda it: it[0])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is stored in half precision."""
    family, dtype = request.param
    model = diffusion.load(request.getfixturevalue(f"{family}_folder"))
    place: Path = tmp_path_factory.mktemp("half") / family
    diffusion.pipeline(model).to(dtype).save_pretrained(place)
    return place


def computed(trainable: Any, batch: diffusion.Batch) -> list[Tensor]:
    """The errors of a batch, and the gradients of what is trained."""
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():  # the half of LoRA that begins as zeros would hide the other
        for weight in trainable.parameters():
            weight.add_(0.01 * torch.randn(weight.shape, generator=rng))
    errors = trainable.step(batch, reference=True).errors
    (errors.chosen - errors.rejected).sum().backward()
    gradients = [weight.grad for weight in trainable.parameters()]
    return [errors.chosen, errors.rejected, errors.ref_chosen, errors.ref_rejected, *gradients]


def settled(folder: Path, what: str, kind: half.Half | None = None) -> diffusion.StableDiffusion:
    settling = stored.Settling(kind, unet=what != "unet", texts=what != "livo")
    model = diffusion.load(folder, settling)
    settling.take_turns([model.vae.encoder, model.unet])
    return model


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("what", TRAINABLES)
def test_weights_as_they_are_stored_give_the_numbers_of_float32(what: str, checkpointing: bool, folder: Path) -> None:
    from tests.training.trainables.conftest import noised_batch

    whole, kept = diffusion.load(folder), settled(folder, what)
    batch = noised_batch(whole)
    ours, theirs = (TRAINABLES[what](model, checkpointing=checkpointing) for model in (whole, kept))
    with torch.no_grad():  # peft rounds what LoRA begins with to the layers' precision
        for weight, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(weight)
    for mine, other in zip(computed(ours, batch), computed(theirs, batch), strict=True):
        assert mine.isfinite().all() and torch.equal(mine, other)
    assert {weight.dtype for weight in theirs.parameters()} == {torch.float32}


@pytest.mark.parametrize("what", ["lora", "unet", "livo"])
def test_what_is_trained_is_float32_and_what_is_frozen_stays_as_it_is_stored(what: str, folder: Path) -> None:
    model = settled(folder, what)
    narrow = {id(w) for m in model.unet.modules() if isinstance(m, half.LAYERS) for w in m.parameters(recurse=False)}
    for weight in model.unet.parameters():
        assert (weight.dtype == torch.float32) is (what == "unet" or id(weight) not in narrow)
    for encoder in model.text_encoders:
        assert ({weight.dtype for weight in encoder.parameters()} == {torch.float32}) is (what == "livo")
    assert {part.dtype for part in (model.unet, model.vae, *model.text_encoders)} == {torch.float32}


def test_texts_and_pictures_are_those_of_float32(folder: Path) -> None:
    made = []
    for model in (diffusion.load(folder), settled(folder, "lora")):
        UNetTrainable(model, lora_rank=2, reference=False)
        pipe = diffusion.pipeline(model)
        pipe.set_progress_bar_config(disable=True)
        given = {"num_inference_steps": 2, "width": 64, "height": 64, "output_type": "np"}
        made.append(pipe("a chef", generator=torch.Generator().manual_seed(0), **given).images)
    assert (made[0] == made[1]).all()


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_what_is_rounded_as_it_is_loaded_is_what_is_rounded_afterwards(kind: half.Half, folder: Path) -> None:
    whole, kept = diffusion.load(folder), settled(folder, "lora", kind)
    for model in (whole, kept):
        half.round_frozen(model, kind, unet=True, texts=True)
    for one, other in zip(*([m.unet, m.vae, *m.text_encoders] for m in (whole, kept)), strict=True):
        weights = other.state_dict()
        for name, weight in one.state_dict().items():
            assert weight.dtype == weights[name].dtype and torch.equal(weight, weights[name])
