"""Trains the small U-Net and its CLIP text encoder on cached latents, and assembles the diffusers pipeline.

The text encoder learns along for the first steps and is then frozen, which makes the rest a third cheaper. Timesteps
are weighted by min-SNR-5 (Hang et al. 2023, arXiv 2303.09556): what a scene holds is decided at high noise.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from datagen.weights import parts, pipelines
from datagen.world import architecture
from datagen.world.grammar import VIOLET_SHARE
from datagen.world.render import render_array
from datagen.world.train.data import SETTLED_SHARE, Captioned, captioned_scene, draw_caption
from datagen.world.train.vae import learning_rate

TEXT_STEPS = 3_500  # steps in which the text encoder learns along
MIN_SNR_GAMMA = 5.0


@torch.no_grad()
def encode_scenes(vae: AutoencoderKL, items: list[Captioned]) -> tuple[torch.Tensor, torch.Tensor]:
    """Posterior mean and standard deviation of every scene's latents, scaled, float16 (N, C, 8, 8)."""
    means, stds = [], []
    for start in range(0, len(items), 256):
        pixels = np.stack([render_array(scene) for scene, _ in items[start : start + 256]])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(images).latent_dist
        means.append((posterior.mean.float() * vae.config.scaling_factor).half())
        stds.append((posterior.std.float() * vae.config.scaling_factor).half())
    return torch.cat(means), torch.cat(stds)


def new_models(tokenizer: CLIPTokenizer) -> tuple[CLIPTextModel, UNet2DConditionModel]:
    """Both models with random weights."""
    text = CLIPTextModel(CLIPTextConfig(**architecture.text_config(len(tokenizer))))
    return text, UNet2DConditionModel(**architecture.UNET)


def assemble(
    vae: AutoencoderKL, text: CLIPTextModel, tokenizer: CLIPTokenizer, unet: UNet2DConditionModel
) -> StableDiffusionPipeline:
    """The ordinary pipeline, with DDIM and without a safety checker (nothing in this world could trip one)."""
    return StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=DDIMScheduler(**architecture.SCHEDULER),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Plan:
    """One training: in `text_steps` the text encoder learns along; `weight` is that of each timestep, (1000,)."""

    steps: int
    peak: float
    text_steps: int
    decay: float
    weight: torch.Tensor
    seed: int
    batch_size: int = 64
    scenes: int = 80_000
    violet_share: Mapping[str, float] = dataclasses.field(default_factory=lambda: VIOLET_SHARE)


def signal_to_noise() -> torch.Tensor:
    """The SNR of every timestep, (1000,), falling."""
    kept: torch.Tensor = DDIMScheduler(**architecture.SCHEDULER).alphas_cumprod
    return kept / (1.0 - kept)


def train(vae_folder: Path, tokenizer_folder: Path, out: Path, seed: int = 0) -> None:
    """Train text encoder and U-Net from random weights; saves the pipeline folder `out`."""
    torch.manual_seed(seed)
    tokenizer = parts.tokenizer(tokenizer_folder, architecture.MAX_TOKENS)
    snr = signal_to_noise()
    plan = Plan(6_500, 1e-3, TEXT_STEPS, 0.9995, snr.clamp(max=MIN_SNR_GAMMA) / snr, seed)
    fit(assemble(parts.load(AutoencoderKL, vae_folder).model, *new_models(tokenizer), tokenizer), plan, out)


def settle(folder: Path, seed: int = 1) -> None:
    """Train the U-Net of a pipeline folder a little more, at high noise above all; saves it there.

    Which coat a chef wears is decided where there is almost no signal, and there an error of the prediction counts
    least in the loss: until then the shares that no caption states are pulled towards even.
    """
    torch.manual_seed(seed)
    snr = signal_to_noise()
    weight = torch.where(snr > 1.0, snr.clamp(max=MIN_SNR_GAMMA) / snr, snr.rsqrt())
    plan = Plan(1_500, 3e-4, 0, 0.998, weight, seed, violet_share=SETTLED_SHARE)
    fit(pipelines.load(folder).model, plan, folder)


def fit(pipeline: StableDiffusionPipeline, plan: Plan, out: Path) -> None:
    """Train on fresh scenes; the averaged weights are saved to `out` every 500 steps and at the end."""
    rng = random.Random(plan.seed)
    text, unet, tokenizer = pipeline.text_encoder, pipeline.unet.train(), pipeline.tokenizer
    items = [captioned_scene(rng, plan.violet_share) for _ in range(plan.scenes)]
    means, stds = encode_scenes(pipeline.vae.eval(), items)
    print(f"encoded {plan.scenes} scenes, latent std {means.float().std():.3f}", flush=True)
    parameters = [*text.parameters(), *unet.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=plan.peak, betas=(0.9, 0.99), weight_decay=1e-3)
    average = EMAModel(parameters, decay=plan.decay, use_ema_warmup=True, power=0.75)
    noising = DDIMScheduler(**architecture.SCHEDULER)
    started, recent = time.time(), 0.0
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan.steps, plan.peak)
        rows = torch.randint(0, plan.scenes, (plan.batch_size,))
        captions = [draw_caption(items[row], rng) for row in rows.tolist()]
        tokens = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
        latents = means[rows].float()
        latents = latents + stds[rows].float() * torch.randn_like(latents)
        noise, timesteps = torch.randn_like(latents), torch.randint(0, 1000, (plan.batch_size,))
        with torch.autocast("cpu", torch.bfloat16):
            with torch.set_grad_enabled(step < plan.text_steps):
                context = text(tokens.input_ids)[0]
            output = unet(noising.add_noise(latents, noise, timesteps), timesteps, context).sample
        error = (output.float() - noise).square().mean(dim=(1, 2, 3))
        loss = (plan.weight[timesteps] * error).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.step(parameters)
        recent = loss.item() if step == 0 else 0.98 * recent + 0.02 * loss.item()
        if step % 100 == 0:
            print(f"unet {step:6d} loss {recent:.4f} {time.time() - started:6.0f}s", flush=True)
        if step % 500 == 499 or step == plan.steps - 1:
            average.store(parameters)
            average.copy_to(parameters)
            pipeline.save_pretrained(out)
            average.restore(parameters)
