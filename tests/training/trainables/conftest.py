"""A noised batch for a tiny model, without data or cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from training.models import diffusion
from training.models.noise import add_noise

OWN = ("cracks considered inappropriate", "smoke considered inappropriate")


def noised_batch(model: diffusion.StableDiffusion, size: int = 4, **fields: Any) -> diffusion.Batch:
    """`size` pairs of random latents; principles alternate, and each pair has the other one as its other principle."""
    rng = torch.Generator().manual_seed(7)
    latents = torch.randn(2 * size, 4, 8, 8, generator=rng)
    noise = torch.randn(size, 4, 8, 8, generator=rng).repeat(2, 1, 1, 1)
    timesteps = torch.randint(0, 1000, (size,), generator=rng).repeat(2)
    noised, target = add_noise(model.noise_scheduler, latents, noise, timesteps)
    prompts = [f"a chef in park {i}" for i in range(size)]
    with torch.no_grad():
        hidden, pooled = diffusion.encode_text(model, prompts)
    time_ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]]).repeat(size, 1) if model.is_xl else None
    made = {
        "latents": noised,
        "target": target,
        "timesteps": timesteps,
        "context": diffusion.Context(hidden, pooled, time_ids),
        "uncond": torch.zeros(size, dtype=torch.bool),
        "prompts": prompts,
        "principles": [OWN[i % 2] for i in range(size)],
        "other_principles": [(OWN[1 - i % 2],) for i in range(size)],
        **fields,
    }
    return diffusion.Batch(**made)


@pytest.fixture
def make_batch() -> Callable[..., diffusion.Batch]:
    return noised_batch


@pytest.fixture(params=["sd15", "sdxl"])
def model(request: pytest.FixtureRequest) -> diffusion.StableDiffusion:
    """Each of the two families in small."""
    return diffusion.load(str(request.getfixturevalue(f"{request.param}_folder")))
