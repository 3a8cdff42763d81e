"""What a trained model prefers without a picture being drawn: DPO's implicit reward of pairs that it never saw.

The margin is that of Diffusion-DPO (arXiv 2311.12908, eq. 14): by how much more than the model before training it
denoises one image better than the other, of the same noise at the same step. It moves long before pictures do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.world_pairs import Scene

DRAWS = 8  # noises of each scene, at as many steps from the first to the last
STEPS = 1000


def margins(adapter: Path, drawn: Sequence[Scene], seed: int) -> np.ndarray:
    """(scenes, 4): how far the adapter prefers the first side of each pair of a scene, in units of a squared error."""
    from training.inference.sampling import attach_adapter, load_pipeline

    before, after = load_pipeline("embedded", "cpu"), load_pipeline("embedded", "cpu")
    attach_adapter(after, adapter)
    found = []
    for place, scene in enumerate(drawn):
        gained = _errors(before, scene, seed + place) - _errors(after, scene, seed + place)
        found.append([gained[0, one] - gained[1, other] for one, other in scene.pairs()])
    return np.array(found)


def _errors(pipe: Any, scene: Scene, seed: int) -> np.ndarray:
    """(2, noises): the mean squared error of the predicted noise of each image, the same noises for all of a scene."""
    import torch

    random = torch.Generator().manual_seed(seed)
    images = torch.from_numpy(scene.images.reshape(-1, *scene.images.shape[2:]))
    with torch.no_grad():
        clean = pipe.vae.encode(images.permute(0, 3, 1, 2).float() / 127.5 - 1).latent_dist.mode()
        clean = clean * pipe.vae.config.scaling_factor
        noise = torch.randn(DRAWS, 1, *clean.shape[1:], generator=random).expand(-1, len(clean), -1, -1, -1)
        steps = (torch.arange(DRAWS) + torch.rand(DRAWS, generator=random)) * STEPS // DRAWS
        steps = steps.long()[:, None].expand(-1, len(clean)).reshape(-1)
        noise, many = noise.reshape(-1, *clean.shape[1:]), clean.repeat(DRAWS, 1, 1, 1)
        hidden, _ = pipe.encode_prompt([scene.prompt.prompt], "cpu", 1, False)
        said = pipe.unet(pipe.scheduler.add_noise(many, noise, steps), steps, hidden.expand(len(many), -1, -1)).sample
        errors = (said - noise).square().mean((1, 2, 3)).reshape(DRAWS, len(clean)).mean(0)
    found: np.ndarray = errors.numpy().reshape(scene.images.shape[:2])
    return found
