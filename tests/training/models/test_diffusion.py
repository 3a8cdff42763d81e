"""Noise and targets against their closed forms; parts of a batch; loading."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from training.errors import TrainingError
from training.models import diffusion
from training.models.diffusion import Context, add_noise, clean_scale, unet_time

STEPS = torch.tensor([0, 1, 500, 999])


def scheduler(kind: str, **config: Any) -> Any:
    import diffusers

    made: Any = getattr(diffusers, kind)
    return made(**config)


@pytest.fixture
def clean() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(4, 4, 8, 8), torch.randn(4, 4, 8, 8)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_ddpm_noise_is_its_closed_form(kind: str, clean: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, eps = clean
    noise = scheduler("DDPMScheduler", prediction_type=kind, beta_schedule="scaled_linear")
    noised, target = add_noise(noise, x, eps, STEPS)
    kept = torch.cumprod(1 - torch.linspace(0.0001**0.5, 0.02**0.5, 1000) ** 2, 0)[STEPS].view(-1, 1, 1, 1)
    torch.testing.assert_close(noised, kept.sqrt() * x + (1 - kept).sqrt() * eps)
    expected = eps if kind == "epsilon" else kept.sqrt() * eps - (1 - kept).sqrt() * x
    torch.testing.assert_close(target, expected)
    assert torch.equal(unet_time(noise, STEPS), STEPS)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_is_its_closed_form(shift: float, clean: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, eps = clean
    noise = scheduler("FlowMatchEulerDiscreteScheduler", shift=shift)
    noised, target = add_noise(noise, x, eps, STEPS)
    even = (STEPS + 1) / 1000
    sigma = shift * even / (1 + (shift - 1) * even)
    view = sigma.view(-1, 1, 1, 1)
    torch.testing.assert_close(noised, (1 - view) * x + view * eps)
    torch.testing.assert_close(target, eps - x)
    torch.testing.assert_close(unet_time(noise, STEPS), 1000 * sigma)
    assert bool((unet_time(noise, STEPS).diff() > 0).all())


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow"])
def test_clean_scale_turns_a_prediction_error_into_a_latent_error(
    kind: str, clean: tuple[torch.Tensor, torch.Tensor]
) -> None:
    x, eps = (tensor.double() for tensor in clean)
    flow = kind == "flow"
    noise = scheduler("FlowMatchEulerDiscreteScheduler") if flow else scheduler("DDPMScheduler", prediction_type=kind)
    noised, target = add_noise(noise, x, eps, STEPS)
    wrong = target + 0.1

    def solved(prediction: torch.Tensor) -> torch.Tensor:
        if flow:
            return noised - unet_time(noise, STEPS).view(-1, 1, 1, 1) / 1000 * prediction
        kept = noise.alphas_cumprod[STEPS].double().view(-1, 1, 1, 1)
        if kind == "epsilon":
            return (noised - (1 - kept).sqrt() * prediction) / kept.sqrt()
        return kept.sqrt() * noised - (1 - kept).sqrt() * prediction

    torch.testing.assert_close(solved(target), x, rtol=1e-4, atol=1e-4)
    error = (solved(wrong) - solved(target)).square().mean((1, 2, 3))
    torch.testing.assert_close(error, 0.01 * clean_scale(noise, STEPS).double(), rtol=1e-4, atol=1e-9)


def test_another_prediction_is_refused(clean: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(TrainingError, match="predicts 'sample'; epsilon, v_prediction and flow"):
        add_noise(scheduler("DDPMScheduler", prediction_type="sample"), *clean, STEPS)


def test_a_flow_matching_model_keeps_its_scheduler(sd15_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sd15_folder, tmp_path / "flow")
    shutil.rmtree(folder / "scheduler")
    scheduler("FlowMatchEulerDiscreteScheduler", shift=3.0).save_pretrained(folder / "scheduler")
    assert diffusion.load(str(folder)).noise_scheduler.config.shift == 3.0
    assert type(diffusion.load(str(sd15_folder)).noise_scheduler).__name__ == "DDPMScheduler"


def test_context_is_the_pipelines_own(sd15_folder: Path, sdxl_folder: Path) -> None:
    import diffusers

    kind: Any = diffusers.DiffusionPipeline
    for folder in (sd15_folder, sdxl_folder):
        model, pipe = diffusion.load(str(folder)), kind.from_pretrained(folder)
        embeds = (
            pipe.encode_prompt(["a chef", "b"], "cpu", 1, False)
            if not model.is_xl
            else pipe.encode_prompt(
                ["a chef", "b"], device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
            )
        )
        with torch.no_grad():
            hidden, pooled = diffusion.encode_text(model, ["a chef", "b"])
        assert torch.equal(hidden, embeds[0])
        assert (pooled is None) if not model.is_xl else torch.equal(pooled, embeds[2])


def test_a_part_has_both_images_of_its_pairs() -> None:
    numbers = torch.arange(6.0)
    batch = diffusion.Batch(
        latents=numbers,
        target=-numbers,
        timesteps=torch.tensor([7, 8, 9, 7, 8, 9]),
        context=Context(numbers[:3].view(3, 1, 1), time_ids=torch.ones(3, 6)),
        uncond=torch.tensor([True, False, False]),
        prompts=["a", "b", "c"],
        principles=["p", "q", "r"],
        other_principles=[(), ("x",), ("q", "p")],
        weight=numbers[:3],
    )
    part = batch.part(slice(1, 3))
    assert part.latents.tolist() == [1, 2, 4, 5] and part.timesteps.tolist() == [8, 9, 8, 9]
    assert part.target.tolist() == [-1, -2, -4, -5] and part.uncond.tolist() == [False, False]
    assert batch.image_context().hidden.flatten().tolist() == [0, 1, 2, 0, 1, 2]
    assert part.image_context().hidden.flatten().tolist() == [1, 2, 1, 2] and part.context.time_ids is not None
    assert part.other_principles == [("x",), ("q", "p")] and part.prompts == ["b", "c"]
    assert part.weight is not None and part.weight.tolist() == [1, 2] and part.probability is None
    own = dataclasses.replace(batch, context=Context(numbers.view(6, 1, 1))).part(slice(1, 2))
    assert own.image_context().hidden.flatten().tolist() == [1, 4]
