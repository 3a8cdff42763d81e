"""Whatever else diffusers draws with from a text (SD 3.5, FLUX, PixArt, Qwen-Image, Sana, …), in its own pipeline.

One image a call, so that it is the same in any company: models of this size fill a GPU with one. What a pipeline calls
the guidance and whether it takes a negative prompt is read off its own call. What cannot be loaded, and what a model
cannot be asked for, is a `ModelError`.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator, Sequence
from typing import Any

from datagen import models, safety
from datagen.errors import ModelError, one_line
from datagen.generators import assembly
from datagen.generators.engine.decoding import picture
from datagen.generators.protocol import ContentError, Means, NoPicture, Request
from datagen.models import Missing, Needs
from datagen.weights import any_pipeline

# What the pipelines do to a prompt or a size besides, and a row would not say: not done.
_PLAIN = {"clean_caption": False, "use_resolution_binning": False}


class AnyPipeline:
    """A diffusers pipeline that makes images by request; `name`, `revision` and `means` say what made them."""

    def __init__(self, pipeline: Any, device: Any, source: models.Source, notes: tuple[str, ...]) -> None:
        self.name, self.revision = source.name, source.revision
        self._pipeline, self._device = pipeline, device
        self._takes = inspect.signature(pipeline.__call__).parameters
        self._guidance = _guidance(pipeline, self._takes)
        network = getattr(pipeline, "transformer", None) or pipeline.unet
        self._means = Means(
            scheduler=type(pipeline.scheduler).__name__,
            scheduler_config=json.dumps(assembly.settings(pipeline.scheduler), sort_keys=True),
            dtype=str(network.dtype).removeprefix("torch."),
            software=assembly.software(device),
            empty_negative="text" if "negative_prompt" in self._takes else "",
            notes="; ".join(notes),
        )

    def means(self, request: Request) -> Means:
        """What the image of a request is made with."""
        return dataclasses.replace(
            self._means,
            unread=self._unread(request.text),
            negative_unread=self._unread(request.negative, at_all=self._is_guided(request)),
        )

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        """The place and the RGB picture or ContentError of each request, in order."""
        assembly.take_the_device(self._pipeline, self._device)
        for place, request in enumerate(requests):
            if reason := safety.refusal(request.text) or safety.length_refusal(request.negative):
                yield place, ContentError(reason)
            else:
                yield place, self._finish(self._draw(request), request)

    def _draw(self, request: Request) -> Any:
        """Pixels (height, width, 3) of one image in 0…1."""
        import torch

        given: dict[str, Any] = {name: value for name, value in _PLAIN.items() if name in self._takes}
        given |= {"prompt": request.text, "num_inference_steps": request.steps, "output_type": "np"}
        given |= {"width": request.width, "height": request.height, self._guidance: request.guidance}
        if "negative_prompt" in self._takes:
            given["negative_prompt"] = request.negative
        try:
            with torch.inference_mode():
                return self._pipeline(**given, generator=torch.Generator("cpu").manual_seed(request.seed)).images[0]
        except (torch.OutOfMemoryError, torch.AcceleratorError):  # whoever else uses the device may leave it
            raise
        except Exception as error:
            raise ModelError(
                f"{self.name} does not draw {request.width}×{request.height} pixels in {request.steps} steps with "
                f"{self._means.scheduler}: {one_line(error)}"
            ) from error

    def _finish(self, pixels: Any, request: Request) -> Any:
        """The picture; a NoPicture where the model broke down. ModelError where it is of another size."""
        import numpy as np

        height, width, _ = pixels.shape
        if (width, height) != (request.width, request.height):
            raise ModelError(
                f"{self.name} draws {width}×{height} pixels where {request.width}×{request.height} are asked for: set "
                "width and height to that"
            )
        if not np.isfinite(pixels).all():
            return NoPicture(f"the model gave NaN or infinite pixels in {self._means.dtype}: set another precision")
        return picture((pixels * 255).round().astype("uint8"))

    def _is_guided(self, request: Request) -> bool:
        """Whether a negative prompt is read: where the guidance is one towards the text, and more than none."""
        is_embedded = self._guidance == "guidance_scale" and "true_cfg_scale" in self._takes
        return "negative_prompt" in self._takes and request.guidance > 1 and not is_embedded

    def _unread(self, text: str, at_all: bool = True) -> int:
        """Tokens of a text that no text encoder of the model reads; all if not `at_all`."""
        if not text:
            return 0
        counts = []
        for name in ("tokenizer", "tokenizer_2", "tokenizer_3", "tokenizer_4"):
            tokenizer = getattr(self._pipeline, name, None)
            if tokenizer is None or not hasattr(tokenizer, "model_max_length"):
                continue
            needed = len(tokenizer(text, verbose=False).input_ids)
            counts.append(max(0, needed - (self._longest(tokenizer) if at_all else 0)))
        return min(counts, default=0)

    def _longest(self, tokenizer: Any) -> int:
        """Tokens that are read of a text: CLIP's are all its encoder has, others as many as the pipeline says."""
        longest = int(tokenizer.model_max_length)
        told = self._takes.get("max_sequence_length")
        if "CLIP" in type(tokenizer).__name__ or told is None or not isinstance(told.default, int):
            return longest
        return min(longest, told.default)


def _guidance(pipeline: Any, takes: Any) -> str:
    """What a pipeline calls the guidance towards a text.

    Some know two: one that the model was distilled with, which it is told, and `true_cfg_scale`. Where the model does
    not read the first, it is the second.
    """
    network = getattr(pipeline, "transformer", None)
    is_told = network is not None and bool(getattr(network.config, "guidance_embeds", False))
    if "true_cfg_scale" in takes and not is_told:
        return "true_cfg_scale"
    return "guidance_scale"


def missing(model: str, revision: str) -> Missing | None:
    """Why `load` would fail or download, None if the whole model is here."""
    return models.missing(model, revision, any_pipeline.read)


def needs(model: str, revision: str) -> Needs | None:
    """What the model needs by prompts/models.toml."""
    return models.needs(model, revision)


def load(model: str, revision: str, scheduler: str, precision: str = "auto", offload: str = "none") -> AnyPipeline:
    """The pipeline of a diffusers folder or a hub id, for the GPU if there is one; "auto" is bfloat16 there."""
    import torch

    source = models.find(model, revision, any_pipeline.read)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if precision == "auto" and device.type == "cuda":
        precision = "bf16"  # what these models were trained in; some overflow in float16
    loaded = any_pipeline.load(source.folder, dtype=assembly.as_dtype(precision, device))
    made = loaded.model
    made.scheduler = assembly.as_scheduler(scheduler, made.scheduler)
    made.set_progress_bar_config(disable=True)
    notes = models.licence_notes(model, source.folder)
    notes += tuple(note.replace(str(source.folder), source.name) for note in loaded.notes)
    assembly.offload(made, offload, device)
    return AnyPipeline(made, device, source, notes)
