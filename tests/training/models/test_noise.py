"""Noise and targets against their closed forms; which schedulers' noise is DDPM's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from datagen.weights import parts
from training.errors import TrainingError
from training.models import noise
from training.models.noise import add_noise, clean_scale, unet_time

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


def saved(folder: Path, kind: str, **config: Any) -> Path:
    scheduler(kind, **config).save_pretrained(folder)
    return folder


def read(folder: Path) -> tuple[Any, Path]:
    return parts.scheduler(folder), folder


SD15: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("DDPMScheduler", {}),
        ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
        ("PNDMScheduler", {"skip_prk_steps": True}),
        ("EulerDiscreteScheduler", {"timestep_spacing": "leading"}),
        ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}),
        ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
        ("UniPCMultistepScheduler", {}),
        ("LMSDiscreteScheduler", {}),
        ("HeunDiscreteScheduler", {}),
        ("TCDScheduler", {}),
        ("DDIMScheduler", {"prediction_type": "v_prediction"}),
        ("DDIMScheduler", {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}),
        ("EulerDiscreteScheduler", {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}),
    ],
)
def test_whatever_samples_a_model_its_noise_is_ddpms(kind: str, config: dict[str, Any], tmp_path: Path) -> None:
    made = noise.scheduler(*read(saved(tmp_path / "scheduler", kind, **SD15 | config)))
    assert type(made).__name__ == "DDPMScheduler"
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, 0)
    if config.get("rescale_betas_zero_snr"):  # Lin et al. 2023, algorithm 1
        root = kept.sqrt()
        kept = ((root - root[-1]) * root[0] / (root[0] - root[-1])).square()
    torch.testing.assert_close(made.alphas_cumprod.double(), kept, rtol=1e-4, atol=1e-6)
    assert made.config.prediction_type == config.get("prediction_type", "epsilon")


def test_levels_that_a_file_does_not_name_are_its_own_classs(tmp_path: Path) -> None:
    (tmp_path / "scheduler_config.json").write_text('{"_class_name": "LCMScheduler"}')
    made = noise.scheduler(*read(tmp_path))
    assert torch.allclose(made.alphas_cumprod, scheduler("DDPMScheduler", **SD15).alphas_cumprod)


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("EDMDPMSolverMultistepScheduler", {"sigma_data": 0.5}, "defines noise in a way of its own"),
        ("EDMEulerScheduler", {}, "defines noise in a way of its own"),
        ("ScoreSdeVeScheduler", {}, "defines noise in a way of its own"),
        ("EulerDiscreteScheduler", {"timestep_type": "continuous", **SD15}, "gives the U-Net continuous times"),
        ("DDIMScheduler", {"prediction_type": "sample"}, "the model predicts 'sample'"),
        (
            "DPMSolverMultistepScheduler",
            {"prediction_type": "flow_prediction"},
            "the model predicts 'flow_prediction'",
        ),
        ("DDIMScheduler", {"rescale_betas_zero_snr": True}, "leaves nothing of the image at its last step"),
        ("EulerDiscreteScheduler", {"rescale_betas_zero_snr": True}, "leaves nothing of the image at its last step"),
        (
            "CogVideoXDDIMScheduler",
            {"prediction_type": "v_prediction"},
            "has noise levels that DDPM's settings do not",
        ),
        ("FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}, "the other way round"),
    ],
)
def test_noise_of_another_kind_is_refused(kind: str, config: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        noise.scheduler(*read(saved(tmp_path / "scheduler", kind, **config)))
    assert f"{kind} in {tmp_path / 'scheduler'} " in str(caught.value) and words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_flow_matching_keeps_its_shift(tmp_path: Path) -> None:
    assert noise.scheduler(*read(saved(tmp_path, "FlowMatchEulerDiscreteScheduler", shift=3.0))).config.shift == 3.0
