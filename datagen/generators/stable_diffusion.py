"""Stable Diffusion 1.5, Stable Diffusion XL and the embedded world, through diffusers' own pipelines.

Batches have one fixed shape for a device and an image size, the last one padded, because the kernels of a matrix
product are chosen by its shape: so an image is the same alone and in any company. Errors of loading are `ModelError`s.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import inspect
import json
from collections.abc import Iterator, Sequence
from typing import Any

from datagen import models, safety
from datagen.errors import ModelError, nearest, one_line
from datagen.generators.protocol import ContentError, Means, Request
from datagen.models import Missing, Needs
from datagen.recipe import SCHEDULERS

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")

# Pixels a batch: 8 of the world's 64 px images on a CPU; 16 of 512 px or 4 of 1024 px on a GPU.
BATCH_PIXELS = {"cpu": 8 * 64 * 64, "cuda": 4 * 1024 * 1024}
MAX_BATCH = 16
# Sums over threads round differently with each number of them. Up to this size a second thread gains nothing, so one
# is the rule and an image does not depend on the cores of the machine; larger images are made with all of them.
ONE_THREAD_PIXELS = 128 * 128


class StableDiffusion:
    """A diffusers pipeline that makes images by request; `name`, `revision` and `means` say what made them."""

    def __init__(self, pipeline: Any, name: str, revision: str) -> None:
        self.name = name
        self.revision = revision
        self._pipeline = pipeline
        self._means = Means(
            scheduler=type(pipeline.scheduler).__name__,
            scheduler_config=json.dumps(_settings(pipeline.scheduler), sort_keys=True),
            dtype=str(pipeline.unet.dtype).removeprefix("torch."),
            software=_software(pipeline.device),
        )

    def means(self, request: Request) -> Means:
        """What the image of a request is made with."""
        return dataclasses.replace(self._means, batch_size=self.batch_size(request.width, request.height))

    def batch_size(self, width: int, height: int) -> int:
        """Images a batch, a function of the kind of device and the image size alone."""
        return max(1, min(MAX_BATCH, BATCH_PIXELS[self._pipeline.device.type] // (width * height)))

    def generate(self, requests: Sequence[Request]) -> list[Any]:
        """One RGB picture or ContentError a request, in order; ModelError for a size that the model cannot make."""
        results: list[Any] = [None] * len(requests)
        alike: dict[tuple[int, float, int, int], list[int]] = {}  # what a batch must share → places of requests
        for place, request in enumerate(requests):
            if reason := safety.refusal(request.text) or safety.length_refusal(request.negative):
                results[place] = ContentError(reason)
            else:
                alike.setdefault((request.steps, request.guidance, request.width, request.height), []).append(place)
        for (_, _, width, height), places in alike.items():
            size = self.batch_size(width, height)
            for start in range(0, len(places), size):
                batch = places[start : start + size]
                for place, image in zip(batch, self._make([requests[p] for p in batch], size), strict=True):
                    results[place] = image
        return results

    def _make(self, requests: list[Request], size: int) -> list[Any]:
        """The images of one batch of requests that share steps, guidance and image size, padded to `size`."""
        import torch

        first, step = requests[0], self._pipeline.vae_scale_factor
        if first.width % step or first.height % step:
            raise ModelError(f"{self.name} makes sides that are multiples of {step}, not {first.width}×{first.height}")
        padded = requests + [requests[-1]] * (size - len(requests))
        noises = [torch.Generator("cpu").manual_seed(request.seed) for request in padded]
        # Drawn in fp32 on the CPU, as diffusers does: one seed is one start on every device and in every precision.
        shape = (1, self._pipeline.unet.config.in_channels, first.height // step, first.width // step)
        latents = torch.cat([torch.randn(shape, generator=noise) for noise in noises])
        with _threads(first.width * first.height):
            pixels = self._pipeline(
                prompt=[request.text for request in padded],
                negative_prompt=[request.negative for request in padded],
                num_inference_steps=first.steps,
                guidance_scale=first.guidance,
                width=first.width,
                height=first.height,
                latents=latents.to(self._pipeline.device, self._pipeline.unet.dtype),
                generator=noises,  # read by ancestral schedulers only, which go on where the latents ended
                output_type="pt",
            ).images
        return [self._finish(image) for image in pixels[: len(requests)].float().cpu()]

    def _finish(self, pixels: Any) -> Any:
        """(3, height, width) in 0…1 to a picture; a ContentError where the model broke down."""
        import torch

        if not torch.isfinite(pixels).all():
            return ContentError("the model gave NaN or infinite pixels; try it in fp32")
        processor = self._pipeline.image_processor
        (image,) = processor.numpy_to_pil(processor.pt_to_numpy(pixels[None]))
        if not image.getbbox():
            return ContentError("the model gave an all black image")
        return image


def _settings(scheduler: Any) -> dict[str, Any]:
    """The settings in which a scheduler differs from the defaults of its class."""
    defaults = {name: it.default for name, it in inspect.signature(type(scheduler)).parameters.items()}
    return {name: scheduler.config[name] for name, usual in defaults.items() if scheduler.config[name] != usual}


def _software(device: Any) -> str:
    """Libraries and device, for whoever wants the same bits."""
    import torch

    on = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return f"diffusers {importlib.metadata.version('diffusers')}, torch {torch.__version__} on {device.type} ({on})"


@contextlib.contextmanager
def _threads(pixels: int) -> Iterator[None]:
    """One thread for images of up to ONE_THREAD_PIXELS, whatever there are for larger ones."""
    import torch

    before = torch.get_num_threads()
    if pixels <= ONE_THREAD_PIXELS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def missing(model: str, revision: str) -> Missing | None:
    """Why `load` would fail or download, None if the whole model is here."""
    return models.missing(model, revision, PIPELINES)


def needs(model: str, revision: str) -> Needs | None:
    """What the model needs by prompts/models.toml."""
    return models.needs(model, revision)


@functools.lru_cache(maxsize=1)  # one model fills a GPU
def load(model: str, revision: str, scheduler: str) -> StableDiffusion:
    """The pipeline of "embedded", a diffusers folder or a hub id, on the GPU in fp16 if there is one, else in fp32."""
    import diffusers
    import torch
    import transformers

    diffusers.utils.logging.set_verbosity_error()  # prompts cut to 77 tokens are the rule here, not news
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    source = models.find(model, revision, PIPELINES)
    cuda = torch.cuda.is_available()
    # The safety checker blacks out what an `avoid` principle must show as rejected; the watermark depends on what else
    # is installed on the machine.
    extra: dict[str, Any] = {"add_watermarker": False}
    if source.pipeline == "StableDiffusionPipeline":
        extra = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    try:
        pipeline = getattr(diffusers, source.pipeline).from_pretrained(
            source.folder,
            dtype=torch.float16 if cuda else torch.float32,
            use_safetensors=True,
            local_files_only=True,
            **extra,
        )
    except Exception as error:  # whatever the libraries raise on damaged files
        raise ModelError(f"{source.folder} does not load: {one_line(error)}; save or download it again") from error
    pipeline.scheduler = _scheduler(scheduler, pipeline.scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return StableDiffusion(pipeline.to("cuda" if cuda else "cpu"), source.name, source.revision)


def _scheduler(choice: str, own: Any) -> Any:
    """The scheduler of a recipe on the model's own noise levels."""
    import diffusers

    match choice:
        case "model":
            return own
        case "ddim":  # latents are not pixels: clipping them to ±1 is wrong whatever the file says
            return diffusers.DDIMScheduler.from_config(own.config, clip_sample=False)
        case "dpm++":
            return diffusers.DPMSolverMultistepScheduler.from_config(own.config, algorithm_type="dpmsolver++")
        case "euler":
            return diffusers.EulerDiscreteScheduler.from_config(own.config)
    raise ModelError(f"no scheduler is called {choice!r}; {nearest(choice, SCHEDULERS)}")
