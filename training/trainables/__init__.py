"""What is trained: one file a method, each with `parameters()`, `step(batch)` and `save(folder)`.

A method turns a noised batch into per-sample errors; it knows nothing of the loss but whether a reference is wanted.
"""

from training.models.diffusion import StableDiffusion
from training.settings.training import Settings
from training.trainables.livo import LivoMethod
from training.trainables.protocol import Method, Step
from training.trainables.unet import UNetMethod

__all__ = ["Method", "Step", "make"]


def make(settings: Settings, model: StableDiffusion, *, reference: bool) -> Method:
    """What this run trains: the value encoder or the U-Net, whatever the loss."""
    checkpointing = settings.job.checkpointing
    if settings.run.part == "value-encoder":
        own = settings.value_encoder
        return LivoMethod(model, keep=own.leak_penalty, rank=own.encoder_rank, checkpointing=checkpointing)
    return UNetMethod(model, lora_rank=settings.unet.lora_rank, reference=reference, checkpointing=checkpointing)
