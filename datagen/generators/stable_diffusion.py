"""Stable Diffusion 1.5, Stable Diffusion XL and the embedded world, through diffusers' own pipelines.

Batches have one fixed shape for a device and an image size, the last one padded, because the kernels of a matrix
product are chosen by its shape: so an image is the same alone and in any company. What cannot be loaded, and what a
model cannot be asked for, is a `ModelError`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from typing import Any

from datagen import models, safety
from datagen.errors import ModelError, one_line
from datagen.generators import assembly
from datagen.generators.protocol import ContentError, Means, Request
from datagen.models import Missing, Needs

# Pixels a batch: 8 of the world's 64 px images on a CPU; 16 of 512 px or 4 of 1024 px on a GPU.
BATCH_PIXELS = {"cpu": 8 * 64 * 64, "cuda": 4 * 1024 * 1024}
MAX_BATCH = 16
# Sums over threads round differently with each number of them. Up to this size a second thread gains nothing, so one
# is the rule and an image does not depend on the cores of the machine; larger images are made with all of them.
ONE_THREAD_PIXELS = 128 * 128
FLAT = 3  # of 255: a picture in which no channel spans more shows nothing


class StableDiffusion:
    """A diffusers pipeline that makes images by request; `name`, `revision` and `means` say what made them."""

    def __init__(
        self, pipeline: Any, device: Any, name: str, revision: str, vae: str = "", notes: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.revision = revision
        self._pipeline = pipeline
        self._device = device
        self._steps: set[int] = set()  # that its scheduler is known to get through
        # SDXL's own rule for a picture without a negative prompt; that of 1.5 encodes the empty text.
        self._zeros = bool(pipeline.config.get("force_zeros_for_empty_prompt"))
        self._means = Means(
            scheduler=type(pipeline.scheduler).__name__,
            scheduler_config=json.dumps(assembly.settings(pipeline.scheduler), sort_keys=True),
            dtype=str(pipeline.unet.dtype).removeprefix("torch."),
            software=_software(device),
            empty_negative="zeros" if self._zeros else "text",
            vae=vae,
            notes="; ".join(notes),
        )

    def means(self, request: Request) -> Means:
        """What the image of a request is made with."""
        return dataclasses.replace(
            self._means,
            batch_size=self.batch_size(request.width, request.height),
            unread=self._unread(request.text),
            negative_unread=self._unread(request.negative, at_all=self._is_guided(request)),
        )

    def batch_size(self, width: int, height: int) -> int:
        """Images a batch, a function of the kind of device and the image size alone."""
        return max(1, min(MAX_BATCH, BATCH_PIXELS[self._device.type] // (width * height)))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        """The place and the RGB picture or ContentError of each request, batch by batch.

        ModelError for what the model cannot be asked for.
        """
        self._take_the_device()
        alike: dict[tuple[object, ...], list[int]] = {}  # what a batch must share → places of requests
        for place, request in enumerate(requests):
            if reason := safety.refusal(request.text) or safety.length_refusal(request.negative):
                yield place, ContentError(reason)
            else:
                bare = self._zeros and not request.negative
                shared = (request.steps, request.guidance, request.width, request.height, bare)
                alike.setdefault(shared, []).append(place)
        for steps in {request.steps for request in requests} - self._steps:
            assembly.refuse_steps(self._pipeline.scheduler, steps)
            self._steps.add(steps)
        for places in alike.values():
            size = self.batch_size(requests[places[0]].width, requests[places[0]].height)
            for start in range(0, len(places), size):
                batch = places[start : start + size]
                yield from zip(batch, self._make([requests[p] for p in batch], size), strict=True)

    def _take_the_device(self) -> None:
        """Have the GPU alone: of several models the others wait in the machine's memory, loaded as they are."""
        if _at_work and _at_work[0] is not self:
            other = _at_work.pop()
            if other._device.type != "cpu":
                other._pipeline.to("cpu")
        if not _at_work:
            self._pipeline.to(self._device)
            _at_work.append(self)

    def _make(self, requests: list[Request], size: int) -> list[Any]:
        """The images of one batch of requests that share all but text and seed, padded to `size`."""
        import torch

        first, step = requests[0], self._pipeline.vae_scale_factor
        if first.width % step or first.height % step:
            raise ModelError(f"{self.name} makes sides that are multiples of {step}, not {first.width}×{first.height}")
        padded = requests + [requests[-1]] * (size - len(requests))
        noises = [torch.Generator("cpu").manual_seed(request.seed) for request in padded]
        # Drawn in fp32 on the CPU, as diffusers does: one seed is one start on every device and in every precision.
        shape = (1, self._pipeline.unet.config.in_channels, first.height // step, first.width // step)
        latents = torch.cat([torch.randn(shape, generator=noise) for noise in noises])
        bare = self._zeros and not first.negative
        with _threads(first.width * first.height), self._explained(first):
            pixels = self._pipeline(
                prompt=[request.text for request in padded],
                negative_prompt=None if bare else [request.negative for request in padded],
                num_inference_steps=first.steps,
                guidance_scale=first.guidance,
                width=first.width,
                height=first.height,
                latents=latents.to(self._device, self._pipeline.unet.dtype),
                generator=noises,  # read by ancestral schedulers only, which go on where the latents ended
                output_type="pt",
            ).images
        return [self._finish(image) for image in pixels[: len(requests)].float().cpu()]

    @contextlib.contextmanager
    def _explained(self, request: Request) -> Iterator[None]:
        """A ModelError of what a model raises that was asked for what it cannot do: no other attempt would mend it."""
        import torch

        try:
            yield
        except (torch.OutOfMemoryError, torch.AcceleratorError):  # whoever else uses the device may leave it
            raise
        except Exception as error:
            raise ModelError(
                f"{self.name} does not draw {request.width}×{request.height} pixels in {request.steps} steps with "
                f"{self._means.scheduler}: {one_line(error)}"
            ) from error

    def _finish(self, pixels: Any) -> Any:
        """(3, height, width) in 0…1 to a picture; a ContentError where the model broke down."""
        import torch

        if not torch.isfinite(pixels).all():
            half = self._means.dtype != "float32"
            cure = (
                "set the profile's precision to fp32" if half else "its weights or its scheduler's settings are broken"
            )
            return ContentError(f"the model gave NaN or infinite pixels in {self._means.dtype}: {cure}")
        processor = self._pipeline.image_processor
        (image,) = processor.numpy_to_pil(processor.pt_to_numpy(pixels[None]))
        if not image.getbbox():
            return ContentError("the model gave an all black image")
        if all(high - low <= FLAT for low, high in image.getextrema()):
            return ContentError("the model gave a picture of one colour")
        return image

    def _is_guided(self, request: Request) -> bool:
        """Whether a negative prompt is read, as the pipelines decide it."""
        return request.guidance > 1 and self._pipeline.unet.config.time_cond_proj_dim is None

    def _unread(self, text: str, at_all: bool = True) -> int:
        """Tokens of a text that the model does not read, by the tokenizer that cuts most; all if not `at_all`."""
        if not text:
            return 0
        pipeline = self._pipeline
        counts: list[int] = []
        for tokenizer in filter(None, (pipeline.tokenizer, getattr(pipeline, "tokenizer_2", None))):
            needed = len(tokenizer(text, verbose=False).input_ids)
            read = tokenizer.model_max_length if at_all else tokenizer.num_special_tokens_to_add()
            counts.append(max(0, needed - read))
        return max(counts)


_at_work: list[StableDiffusion] = []  # the one model whose weights are on the device


def _software(device: Any) -> str:
    """Libraries and device, for whoever wants the same bits."""
    import torch

    on = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    libraries = [f"{name} {importlib.metadata.version(name)}" for name in ("diffusers", "transformers")]
    return f"{', '.join(libraries)}, torch {torch.__version__} on {device.type} ({on})"


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
    return models.missing(model, revision)


def needs(model: str, revision: str) -> Needs | None:
    """What the model needs by prompts/models.toml."""
    return models.needs(model, revision)


@functools.lru_cache(maxsize=1)  # for whoever loads by hand; `generators.load` keeps one of each
def load(model: str, revision: str, scheduler: str, precision: str = "auto", vae: str = "") -> StableDiffusion:
    """The pipeline of "embedded", a diffusers folder or a hub id, for the GPU if there is one.

    `precision` is fp32, fp16, bf16, or auto: fp16 on a GPU, fp32 on a CPU. `vae` is a folder or a hub id, "" for the
    model's own.
    """
    source = models.find(model, revision)
    other = models.find_vae(vae) if vae else None
    pipeline, device, notes = assembly.pipeline(source, scheduler, precision, other)
    means = f"{other.name}@{other.revision}" if other else ""
    return StableDiffusion(pipeline, device, source.name, source.revision, means, notes)
