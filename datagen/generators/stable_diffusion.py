"""Stable Diffusion 1.5, 2 and XL and the embedded world: their diffusers pipelines, sampled by our own engine.

Batches have one fixed shape for a device and an image size, the last one padded, because the kernels of a matrix
product are chosen by its shape: so an image is the same alone and in any company. What cannot be loaded, and what a
model cannot be asked for, is a `ModelError`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from datagen import models, safety
from datagen.errors import ModelError, one_line
from datagen.generators import assembly
from datagen.generators.engine import sampling
from datagen.generators.engine.attention import KeptTexts
from datagen.generators.engine.decoding import Decoded, Decoder, picture
from datagen.generators.engine.halves import SharedStart
from datagen.generators.engine.sampling import Options, Settings
from datagen.generators.engine.texts import Reading, Texts
from datagen.generators.engine.values import Values
from datagen.generators.protocol import ContentError, Means, NoPicture, Request
from datagen.models import Missing, Needs

# Images a batch, and pixels of them all: up to 16 of 128 px on a CPU; 16 of 512 px or 4 of 1024 px on a GPU.
MAX_BATCH = 16
BATCH_PIXELS = {"cpu": 16 * 128 * 128, "cuda": 4 * 1024 * 1024}
# Sums over threads round differently with each number of them. Up to this size a second thread gains nothing, so one
# is the rule and an image does not depend on the cores of the machine; larger images are made with all of them.
ONE_THREAD_PIXELS = 128 * 128
AS_EVER = Options()


class StableDiffusion:
    """A diffusers pipeline that makes images by request; `name`, `revision` and `means` say what made them."""

    def __init__(
        self,
        pipeline: Any,
        device: Any,
        name: str,
        revision: str,
        vae: str = "",
        notes: tuple[str, ...] = (),
        adapter: str = "",
        options: Options = AS_EVER,
        guide: Any = None,
    ) -> None:
        import torch

        self.name = name
        self.revision = revision
        self._pipeline = pipeline
        self._device = device
        self._steps: set[int] = set()  # that its scheduler is known to get through
        self._fits: dict[tuple[int, int], int] = {}  # images a batch of that width and height, once memory ran out
        if device.type != "cpu" or next(pipeline.unet.parameters()).dtype == torch.float32:
            # Convolutions read their channels side by side; a CPU's in half precision gain nothing, and take a copy.
            for part in (pipeline.unet, pipeline.vae):
                part.to(memory_format=torch.channels_last)
        self._options = options
        self._texts = Texts(pipeline, chunked=options.long_prompts == "windows")
        self._values = Values(guide) if guide else None
        # What is compiled keeps nothing from one step to the next.
        self._kept = None if options.compile else KeptTexts(pipeline.unet)
        self._shared = None if options.compile else SharedStart(pipeline.unet)
        if options.compile:
            pipeline.unet.compile_repeated_blocks()
        self._decoder = Decoder(pipeline, device)
        # SDXL's own rule for a picture without a negative prompt; that of 1.5 encodes the empty text.
        self._zeros = bool(pipeline.config.get("force_zeros_for_empty_prompt"))
        self._means = Means(
            scheduler=type(pipeline.scheduler).__name__,
            scheduler_config=json.dumps(assembly.settings(pipeline.scheduler), sort_keys=True),
            dtype=str(pipeline.unet.dtype).removeprefix("torch."),
            software=assembly.software(device),
            empty_negative="zeros" if self._zeros else "text",
            adapter=adapter,
            vae=vae,
            options=options.said(),
            notes="; ".join(notes),
        )

    def means(self, request: Request) -> Means:
        """What the image of a request is made with."""
        size, full = self._size(request), request.batch_size or self.batch_size(request.width, request.height)
        notes = [self._means.notes] if self._means.notes else []
        if size < full:
            notes.append(f"made in batches of {size} instead of {full}, as the memory did not hold more")
        is_guided = sampling.is_guided(self._pipeline, request.guidance)
        if self._options.guidance_rescale and not is_guided:
            notes.append("guidance_rescale without effect, as there is no guidance")
        return dataclasses.replace(
            self._means,
            batch_size=size,
            unread=self._texts.unread(request.text),
            negative_unread=self._texts.unread(request.negative, at_all=is_guided),
            options=self._options.said(request.principle if self._values else ""),
            notes="; ".join(notes),
        )

    def batch_size(self, width: int, height: int) -> int:
        """Images a batch, a function of the kind of device and the image size alone."""
        return max(1, min(MAX_BATCH, BATCH_PIXELS[self._device.type] // (width * height)))

    def _size(self, request: Request) -> int:
        """Images a batch as the memory has it."""
        size = request.batch_size or self.batch_size(request.width, request.height)
        return min(size, self._fits.get((request.width, request.height), size))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        """The place and the RGB picture or ContentError of each request, batch by batch.

        ModelError for what the model cannot be asked for.
        """
        self._take_the_device()
        alike: dict[Settings, list[tuple[int, Request]]] = {}  # what a batch must share → requests with their places
        for place, request in enumerate(requests):
            if reason := _refusal(request):
                yield place, ContentError(reason)
            else:
                alike.setdefault(self._settings(request), []).append((place, request))
        for settings in alike:
            self._refuse(settings)
        for settings, group in alike.items():
            yield from self._draw(group, settings)

    def _settings(self, request: Request) -> Settings:
        windows = max(self._texts.windows(request.text), self._texts.windows(request.negative))
        rescale, size = self._options.guidance_rescale, request.batch_size
        steered = bool(self._values and request.principle)
        return Settings(
            request.steps, request.guidance, request.width, request.height, windows, rescale, size, steered
        )

    def _refuse(self, settings: Settings) -> None:
        """ModelError for what the model cannot be asked for."""
        assembly.refuse_size(self.name, self._pipeline.vae_scale_factor, settings.width, settings.height)
        if settings.steps not in self._steps:
            assembly.refuse_steps(self._pipeline.scheduler, settings.steps)
            self._steps.add(settings.steps)

    def _draw(self, requests: list[tuple[int, Request]], settings: Settings) -> Iterator[tuple[int, Any]]:
        """Pictures of requests that share their settings; on a GPU each batch is decoded while the next is sampled."""
        done, waiting = 0, None
        while done < len(requests):
            size = self._size(requests[0][1])
            batch = requests[done : done + size]
            ahead = [request.text for _, request in requests[done + size :]]
            decoded = self._start([request for _, request in batch], size, settings, ahead)
            if waiting:
                yield from self._finished(*waiting)
            waiting = (batch, decoded) if decoded else None
            if decoded is None:  # no longer within the handler, whose error holds what filled the memory
                self._halve(size, settings)
                continue
            done += len(batch)
            if not decoded.apart:
                yield from self._finished(batch, decoded)
                waiting = None
        if waiting:
            yield from self._finished(*waiting)

    def _start(self, requests: list[Request], size: int, settings: Settings, ahead: list[str]) -> Decoded | None:
        """The pixels of one batch, padded to `size`; None if the memory does not hold so many."""
        import torch

        padded = requests + [requests[-1]] * (size - len(requests))
        start, generators = sampling.noise(self._pipeline, [request.seed for request in padded], settings)
        try:
            with torch.inference_mode(), _threads(settings.width * settings.height), self._explained(settings):
                start = start.to(self._device, self._pipeline.unet.dtype)
                texts, negatives = self._readings(padded, settings, ahead)
                with self._shared.on(bool(negatives)) if self._shared else contextlib.nullcontext():
                    latents = sampling.denoise(self._pipeline, start, generators, texts, negatives, settings)
                self._forget()
                return self._decoder.start(latents, len(requests))
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        return None

    def _readings(
        self, requests: list[Request], settings: Settings, ahead: list[str]
    ) -> tuple[list[Reading], list[Reading]]:
        """What is read of the texts, and of their negatives if there is guidance."""
        import torch

        read = functools.partial(self._texts.read, windows=settings.windows, device=self._device)
        texts = read([request.text for request in requests], ahead=ahead)
        if settings.steered and self._values:
            texts = self._values.steer(texts, [(request.principle, request.text) for request in requests])
        if not sampling.is_guided(self._pipeline, settings.guidance):
            return texts, []
        negatives = read([request.negative for request in requests])
        if self._zeros:
            nothing = Reading(torch.zeros_like(negatives[0].hidden), torch.zeros_like(negatives[0].pooled))
            negatives = [
                own if request.negative else nothing for own, request in zip(negatives, requests, strict=True)
            ]
        if settings.steered and self._values:
            negatives = self._values.beside(negatives)
        return texts, negatives

    def _halve(self, size: int, settings: Settings) -> None:
        """Make smaller batches of such images from now on."""
        import torch

        self._forget()
        self._fits[settings.width, settings.height] = size // 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _forget(self) -> None:
        """Keep nothing of a batch."""
        if self._kept:
            self._kept.forget()

    def _take_the_device(self) -> None:
        assembly.take_the_device(self._pipeline, self._device, self._leave)

    def _leave(self) -> None:
        """Keep nothing on the device."""
        self._texts.forget()
        if self._values:
            self._values.forget()

    @contextlib.contextmanager
    def _explained(self, settings: Settings) -> Iterator[None]:
        """A ModelError of what a model raises that was asked for what it cannot do: no other attempt would mend it."""
        import torch

        try:
            yield
        except (torch.OutOfMemoryError, torch.AcceleratorError):  # whoever else uses the device may leave it
            raise
        except Exception as error:
            if "can't allocate memory" in str(error):  # of a CPU, where it is a RuntimeError as any other
                raise torch.OutOfMemoryError(one_line(error)) from error
            raise ModelError(
                f"{self.name} does not draw {settings.width}×{settings.height} pixels in {settings.steps} steps with "
                f"{self._means.scheduler}: {one_line(error)}"
            ) from error

    def _finished(self, batch: list[tuple[int, Request]], decoded: Decoded) -> Iterator[tuple[int, Any]]:
        """The places of a batch with its pictures."""
        decoded.wait()
        for (place, _), pixels, whole in zip(batch, decoded.pixels.numpy(), decoded.whole.tolist(), strict=True):
            yield place, picture(pixels) if whole else NoPicture(self._broken())

    def _broken(self) -> str:
        half = self._means.dtype != "float32"
        cure = "set the profile's precision to fp32" if half else "its weights or its scheduler's settings are broken"
        return f"the model gave NaN or infinite pixels in {self._means.dtype}: {cure}"


def _refusal(request: Request) -> str | None:
    """Why nothing is drawn for a request, or None."""
    texts = [text for text in (request.text, request.principle) if text]
    return safety.refusal_of_row(texts) or safety.length_refusal(request.negative)


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


def check(
    request: Request,
    model: str,
    revision: str,
    scheduler: str,
    prediction: str = "model",
    vae: str = "",
    adapters: tuple[str, ...] = (),
    **_: Any,
) -> None:
    """ModelError where a model that is here does not fit what else `load` and `generate` are given; none is loaded."""
    if (folder := models.here(model, revision)) is not None:
        options = assembly.Options(vae=vae, prediction=prediction, adapters=adapters)
        assembly.check(folder, model, scheduler, options, (request.width, request.height), request.steps)


@functools.lru_cache(maxsize=1)  # for whoever loads by hand; `generators.load` keeps one of each
def load(
    model: str,
    revision: str,
    scheduler: str,
    precision: str = "auto",
    vae: str = "",
    prediction: str = "model",
    adapters: tuple[str, ...] = (),
    offload: str = "none",
    vae_tiling: bool = False,
    long_prompts: str = "cut",
    guidance_rescale: float = 0.0,
    compile: bool = False,
) -> StableDiffusion:
    """The pipeline of "embedded", a diffusers folder, one file or a hub id, for the GPU if there is one.

    What else is given is as in a profile. Raises ModelError.
    """
    source = models.find(model, revision)
    options = assembly.Options(precision, vae, prediction, adapters, offload, vae_tiling)
    made = assembly.assemble(source, scheduler, options)
    notes = models.licence_notes(model, source.folder) + made.notes
    how = Options(long_prompts, guidance_rescale, compile)
    if made.guide and how != dataclasses.replace(how, long_prompts="cut", compile=False):
        raise ModelError(
            "a value encoder steers prompts that are cut at what the model reads, in a U-Net that is not compiled: "
            'leave long_prompts = "windows" and compile out, or the encoder'
        )
    return StableDiffusion(
        made.pipeline, made.device, source.name, source.revision, made.vae, notes, made.adapters, how, made.guide
    )
