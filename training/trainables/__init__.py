"""What is trained: one file a method, each with `parameters()`, `step(batch)` and `save(folder)`.

A method turns a noised batch into per-sample errors; it knows nothing of the loss but whether a reference is wanted.
"""

from training.config import Config
from training.models.diffusion import StableDiffusion
from training.trainables.livo import LivoMethod
from training.trainables.protocol import Method, Step
from training.trainables.unet import UNetMethod

__all__ = ["Method", "Step", "make"]


def make(settings: Config, model: StableDiffusion, *, reference: bool) -> Method:
    """What this run trains: the value encoder or the U-Net, whatever the loss."""
    if settings.part == "value-encoder":
        return LivoMethod(model, keep=settings.keep, rank=settings.encoder_rank, checkpointing=settings.checkpointing)
    return UNetMethod(model, lora_rank=settings.lora_rank, reference=reference, checkpointing=settings.checkpointing)
