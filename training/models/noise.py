"""Noise as a model was trained with it: which scheduler defines it, noised latents and targets, what the U-Net reads.

DDPM's noise with the model's own levels, whatever it is sampled by, or straight paths (flow matching). What a folder
defines in another way is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.errors import TrainingError

PREDICTIONS = ("epsilon", "v_prediction")
# Samplers put a tiny number in place of a last level of 0 that they would divide by.
NOTHING = 1e-6


def scheduler(own: Any, folder: Path) -> Any:
    """DDPM's scheduler with the noise levels of a model's own scheduler, or flow matching's; `folder` is the model's.

    Raises TrainingError or ModelError, one line, for noise of another kind and for what is predicted of it.
    """
    import diffusers

    # All of its settings: diffusers would leave out those that the file does not name, and take another class's.
    name, settings = type(own).__name__, {k: v for k, v in own.config.items() if k != "_use_default_values"}
    if name.startswith("FlowMatch"):
        if settings.get("invert_sigmas"):
            raise _refused(folder, name, "runs its noise the other way round (invert_sigmas)")
        return diffusers.FlowMatchEulerDiscreteScheduler.from_config(settings)
    levels = getattr(own, "alphas_cumprod", None)
    if levels is None:
        raise _refused(folder, name, "defines noise in a way of its own")
    if settings.get("timestep_type", "discrete") != "discrete":
        raise _refused(folder, name, f"gives the U-Net {settings['timestep_type']} times")
    if settings.get("prediction_type", "epsilon") not in PREDICTIONS:
        raise _refused(folder, name, f"says that the model predicts {settings['prediction_type']!r}")
    made: Any = diffusers.DDPMScheduler.from_config(settings)
    ours = made.alphas_cumprod
    if ours.shape != levels.shape or not torch.allclose(ours, levels.float(), rtol=1e-5, atol=NOTHING):
        raise _refused(folder, name, "has noise levels that DDPM's settings do not give")
    if made.config.prediction_type == "epsilon" and float(ours[-1]) < NOTHING:
        raise _refused(folder, name, "leaves nothing of the image at its last step, where epsilon says nothing of it")
    return made


def add_noise(scheduler: Any, latents: Tensor, noise: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """Noised latents and the prediction target for clean latents (N, C, h, w) at steps 0 ≤ t < T of the noise (N,).

    DDPM: x_t = sqrt(abar) x + sqrt(1 - abar) eps; the target is eps, or v = sqrt(abar) eps - sqrt(1 - abar) x.
    Flow matching (Esser et al. 2024, eqs. 3 and 13): x_t = (1 - sigma) x + sigma eps; the target is eps - x.
    """
    if _is_flow(scheduler):
        sigma = _sigma(scheduler, timesteps).view(-1, 1, 1, 1)
        return (1 - sigma) * latents + sigma * noise, noise - latents
    noised: Tensor = scheduler.add_noise(latents, noise, timesteps)
    if scheduler.config.prediction_type == "epsilon":
        return noised, noise
    return noised, scheduler.get_velocity(latents, noise, timesteps)


def unet_time(scheduler: Any, timesteps: Tensor) -> Tensor:
    """What the U-Net reads as timesteps (N,): the steps themselves, or T·sigma in flow matching."""
    if not _is_flow(scheduler):
        return timesteps
    count: int = scheduler.config.num_train_timesteps
    return _sigma(scheduler, timesteps) * count


def snr_weight(scheduler: Any, timesteps: Tensor, gamma: float) -> Tensor:
    """min(SNR, gamma) / SNR at steps (N,), for v-prediction over SNR + 1: Hang et al. 2023 (arXiv 2303.09556), eq. 9.

    Raises TrainingError for flow matching, whose noise has other proportions.
    """
    if _is_flow(scheduler):
        raise TrainingError("--min-snr is for models that predict noise or v: this one was trained by flow matching")
    kept: Tensor = scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
    ratio = (kept / (1 - kept)).double() if timesteps.device.type != "mps" else kept / (1 - kept)
    below = ratio + 1 if scheduler.config.prediction_type == "v_prediction" else ratio
    return ratio.clamp(max=gamma) / below.clamp(min=1e-12)


def clean_scale(scheduler: Any, timesteps: Tensor) -> Tensor:
    """Squared error of the predicted clean latents for one unit of squared error of the prediction, at steps (N,).

    (1 - abar)/abar for epsilon, 1 - abar for v, sigma² in flow matching: how x is solved for in `add_noise`.
    """
    if _is_flow(scheduler):
        return _sigma(scheduler, timesteps).square()
    kept: Tensor = scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
    return 1 - kept if scheduler.config.prediction_type == "v_prediction" else (1 - kept) / kept


def _refused(folder: Path, name: str, why: str) -> TrainingError:
    return TrainingError(
        f"{name} in {folder} {why}: DDPM's noise with {' or '.join(PREDICTIONS)}, or flow matching, is accepted"
    )


def _is_flow(scheduler: Any) -> bool:
    return not hasattr(scheduler, "alphas_cumprod")


def _sigma(scheduler: Any, timesteps: Tensor) -> Tensor:
    """Share of noise at the steps (N,); the scheduler holds its T values from the most noise to the least."""
    sigmas: Tensor = scheduler.sigmas.flip(0).to(timesteps.device)[timesteps]
    return sigmas
