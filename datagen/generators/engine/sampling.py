"""From noise to latents: the loop of diffusers' pipelines over their own U-Net and scheduler, with no wait in it.

The scheduler's timesteps stay on the CPU, where it looks things up by them; the U-Net is given a copy on its device.
So a GPU is not waited for until all steps are under way.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Sequence
from typing import Any

from datagen.generators.engine.texts import Reading


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the images of a batch share; sizes in pixels, `windows` that their texts are read in."""

    steps: int
    guidance: float
    width: int
    height: int
    windows: int = 1
    rescale: float = 0.0  # of the guided noise towards the deviation of the unguided (arXiv 2305.08891, 3.4)
    batch_size: int = 0  # as asked for; 0: as many as there is room for
    steered: bool = False  # by the principles of their texts


@dataclasses.dataclass(frozen=True)
class Options:
    """What of a profile decides how a model is sampled, by the names that it has there."""

    long_prompts: str = "cut"
    guidance_rescale: float = 0.0
    compile: bool = False

    def said(self, principle: str = "") -> str:
        """Those that are not as ever, as a row has them, and the principle that a value encoder read."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        said = {name: value for name, value in values.items() if value != getattr(Options, name)}
        return json.dumps(said | ({"principle": principle} if principle else {}))


def is_guided(pipeline: Any, guidance: float) -> bool:
    """Whether a negative prompt is read, as the pipelines decide it."""
    return guidance > 1 and pipeline.unet.config.time_cond_proj_dim is None


def noise(pipeline: Any, seeds: Sequence[int], settings: Settings) -> tuple[Any, list[Any]]:
    """Where each seed starts, (N, channels, height, width), and the generators that go on from there.

    Drawn in fp32 on the CPU, as diffusers does: one seed is one start on every device and in every precision.
    """
    import torch

    step = pipeline.vae_scale_factor
    shape = (1, pipeline.unet.config.in_channels, settings.height // step, settings.width // step)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    return torch.cat([torch.randn(shape, generator=generator) for generator in generators]), generators


def denoise(
    pipeline: Any,
    start: Any,
    generators: list[Any],
    texts: list[Reading],
    negatives: list[Reading],
    settings: Settings,
) -> Any:
    """The latents that N starts (N, channels, height, width) end in; no `negatives` where guidance is off.

    `generators` are read by schedulers that add noise on the way.
    """
    import torch

    unet, scheduler = pipeline.unet, pipeline.scheduler
    told = _told(pipeline, [*negatives, *texts], settings, start)
    scheduler.set_timesteps(settings.steps)
    if texts[0].pooled is not None and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # as SDXL's pipeline does, and that of 1.5 does not
    latents = start * scheduler.init_noise_sigma
    accepted = inspect.signature(scheduler.step).parameters
    extra = {name: value for name, value in (("eta", 0.0), ("generator", generators)) if name in accepted}
    scaled = getattr(scheduler, "scale_model_input", lambda latents, timestep: latents)
    for timestep, here in zip(scheduler.timesteps, scheduler.timesteps.to(start.device), strict=True):
        given = scaled(latents, timestep)
        given = torch.cat([given, given]) if negatives else given
        predicted = unet(given, here, **told, return_dict=False)[0]
        if negatives:
            without, texted = predicted.chunk(2)
            predicted = _guide(without, texted, settings)
        latents = scheduler.step(predicted, timestep, latents, **extra, return_dict=False)[0]
    return latents


def _guide(without: Any, texted: Any, settings: Settings) -> Any:
    """Classifier-free guidance, as diffusers writes it."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    guided = without + settings.guidance * (texted - without)
    if settings.rescale > 0:
        guided = rescale_noise_cfg(guided, texted, guidance_rescale=settings.rescale)
    return guided


def _told(pipeline: Any, readings: list[Reading], settings: Settings, start: Any) -> dict[str, Any]:
    """What the U-Net is told of a batch in every step, besides its latents and the time."""
    import torch

    told: dict[str, Any] = {"encoder_hidden_states": torch.stack([reading.hidden for reading in readings])}
    if readings[0].pooled is not None:
        size = (settings.height, settings.width)
        ids = torch.tensor([[*size, 0, 0, *size]], dtype=told["encoder_hidden_states"].dtype, device=start.device)
        pooled = torch.stack([reading.pooled for reading in readings])
        told["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": ids.repeat(len(readings), 1)}
    if dimension := pipeline.unet.config.time_cond_proj_dim:  # latent consistency models: guidance as an embedding
        scale = torch.tensor(settings.guidance - 1).repeat(len(start))
        embedded = pipeline.get_guidance_scale_embedding(scale, embedding_dim=dimension)
        told["timestep_cond"] = embedded.to(device=start.device, dtype=start.dtype)
    return told
