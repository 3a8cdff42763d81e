"""From latents to pixels, a few images at a time; on a GPU beside the sampling of the next batch."""

from __future__ import annotations

import dataclasses
from typing import Any

from datagen.generators.protocol import NoPicture

# Pixels that are decoded together. The VAE's activations are what fills a GPU's memory.
PIXELS = {"cpu": 8 * 64 * 64, "cuda": 2 * 1024 * 1024}
FLAT = 3  # of 255: a picture in which no channel spans more shows nothing


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Pixels (N, height, width, 3) of 8 bits, and whether each image is without NaN; once `wait` returned.

    `apart` if they are still being made, beside whatever else the GPU is given to do.
    """

    pixels: Any
    whole: Any
    done: Any = None  # the event of a GPU's stream

    @property
    def apart(self) -> bool:
        return self.done is not None

    def wait(self) -> None:
        if self.done is not None:
            self.done.synchronize()


class Decoder:
    """The VAE of a pipeline on its device."""

    def __init__(self, pipeline: Any, device: Any) -> None:
        self._pipeline = pipeline
        self._device = device
        self._is_xl = getattr(pipeline, "text_encoder_2", None) is not None
        self._stream: Any = None

    def start(self, latents: Any, count: int) -> Decoded:
        """Decode the first `count` latents of a batch: now, or beside what comes next."""
        if self._device.type != "cuda":
            return Decoded(*self._pixels(latents, count))
        import torch

        self._stream = self._stream or torch.cuda.Stream(self._device)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        latents.record_stream(self._stream)  # its memory is not given away before it was read
        with torch.cuda.stream(self._stream):
            pixels, whole = (
                torch.empty(part.shape, dtype=part.dtype, pin_memory=True).copy_(part, non_blocking=True)
                for part in self._pixels(latents, count)
            )
            done = torch.cuda.Event()
            done.record(self._stream)
        return Decoded(pixels, whole, done)

    def _pixels(self, latents: Any, count: int) -> tuple[Any, Any]:
        """Pixels as numbers of 8 bits, rounded as diffusers does, and which images are without NaN."""
        import torch

        vae, side = self._pipeline.vae, self._pipeline.vae_scale_factor
        # As SDXL's pipeline does for a VAE that overflows in half precision; here it stays so.
        if self._is_xl and vae.dtype == torch.float16 and vae.config.force_upcast:
            vae.to(dtype=torch.float32)
        together = max(1, PIXELS[self._device.type] // (latents.shape[-1] * latents.shape[-2] * side * side))
        pixels, whole = [], []
        for start in range(0, count, together):
            part = self._unscaled(latents[start : start + together].to(vae.dtype))
            made = (vae.decode(part, return_dict=False)[0] * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
            whole.append(made.isfinite().flatten(1).all(1))
            pixels.append((made.float() * 255).round().to(torch.uint8))
        return torch.cat(pixels)[:count], torch.cat(whole)[:count]

    def _unscaled(self, latents: Any) -> Any:
        """Latents as the VAE made them; only SDXL's pipeline reads their mean and deviation."""
        config = self._pipeline.vae.config
        mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        if not self._is_xl or mean is None or deviation is None:
            return latents / config.scaling_factor
        mean, deviation = (latents.new_tensor(values).view(1, -1, 1, 1) for values in (mean, deviation))
        return latents * deviation / config.scaling_factor + mean


def picture(pixels: Any) -> Any:
    """(height, width, 3) of 8 bits to a picture; a NoPicture of one that shows nothing."""
    from PIL import Image

    image = Image.fromarray(pixels)
    if not image.getbbox():
        return NoPicture("the model gave an all black image")
    extrema: Any = image.getextrema()  # a pair a channel
    if all(high - low <= FLAT for low, high in extrema):
        return NoPicture("the model gave a picture of one colour")
    return image
