"""Trains the small AutoencoderKL on renders: every style equally often, whatever captions will be skewed to."""

from __future__ import annotations

import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from datagen.world import architecture
from datagen.world.grammar import HAZARDS, STYLES, Scene, sample_scene
from datagen.world.render import FIGURE_LEFT, FIGURE_TOP, render_array, thing_boxes

KL_WEIGHT = 2e-4
EDGE_WEIGHT = 0.5
FOREGROUND_WEIGHT = 2.0  # figures and things are small, and they are what captions talk about


def balanced_scene(rng: random.Random) -> Scene:
    """A scene with style, coat and hazard sampled evenly: the VAE must draw rare things as well as common ones."""
    coat = rng.choice(("violet", "amber"))
    return sample_scene(rng, {"style": rng.choice(STYLES), "hazard": rng.choice(HAZARDS), "coat": coat})


def batch(rng: random.Random, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (B, 3, 64, 64) in [-1, 1] and per-pixel weights (B, 1, 64, 64)."""
    scenes = [balanced_scene(rng) for _ in range(size)]
    pixels = np.stack([render_array(scene) for scene in scenes])
    weights = np.ones((size, 1, 64, 64), dtype=np.float32)
    for weight, scene in zip(weights, scenes, strict=True):
        left = FIGURE_LEFT[scene.figure_slot]
        weight[:, FIGURE_TOP:, left : left + 24] = FOREGROUND_WEIGHT
        for x, y in thing_boxes(scene.figure_slot, scene.thing_slot, scene.count):
            weight[:, y : y + 16, x : x + 16] = FOREGROUND_WEIGHT
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return images, torch.from_numpy(weights)


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted L1 plus L1 on differences of neighbours, which keeps edges sharp where plain L1 would blur them."""
    error = ((output - target).abs() * weight).mean()
    across = (output.diff(dim=3) - target.diff(dim=3)).abs().mean()
    down = (output.diff(dim=2) - target.diff(dim=2)).abs().mean()
    return error + EDGE_WEIGHT * (across + down)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Short warm-up, then a cosine to a hundredth of the peak."""
    if step < 200:
        return peak * (step + 1) / 200
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def train(out: Path, steps: int = 4_500, batch_size: int = 16, peak: float = 1.5e-3, seed: int = 0) -> None:
    """Train from random weights and save a diffusers AutoencoderKL folder at `out`."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    vae = AutoencoderKL(**architecture.VAE)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=peak, betas=(0.9, 0.99), weight_decay=1e-4)
    started = time.time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        images, weights = batch(rng, batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(images).latent_dist
            output = vae.decode(posterior.sample()).sample
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
        rebuilt = reconstruction_loss(output.float(), images, weights)
        loss = rebuilt + KL_WEIGHT * divergence
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            spent = time.time() - started
            print(f"vae {step:6d} loss {rebuilt.item():.4f} kl {divergence.item():.2f} {spent:6.0f}s", flush=True)
    set_scaling_factor(vae, random.Random(seed + 1))
    vae.save_pretrained(out)


@torch.no_grad()
def set_scaling_factor(vae: AutoencoderKL, rng: random.Random) -> None:
    """Store 1/std of the latents in the config, so that diffusion sees unit variance, as Stable Diffusion does."""
    latents = torch.cat([vae.encode(batch(rng, 32)[0]).latent_dist.mean for _ in range(8)])
    vae.register_to_config(scaling_factor=round(1.0 / latents.std().item(), 5))
