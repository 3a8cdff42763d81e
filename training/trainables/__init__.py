"""What is trained: one file each, with `parameters()`, `step(batch)` and `save(folder)`.

A trainable turns a noised batch into per-sample errors; of the loss it knows only whether a reference is needed.
"""

from training.models.diffusion import StableDiffusion
from training.settings.training import Settings
from training.trainables.livo import LivoTrainable
from training.trainables.protocol import Step, Trainable
from training.trainables.start import Start
from training.trainables.unet import UNetTrainable

__all__ = ["Step", "Trainable", "make"]


def make(settings: Settings, model: StableDiffusion, *, reference: bool, start: Start | None = None) -> Trainable:
    """What this run trains: the value encoder or the U-Net, whatever the loss."""
    checkpointing = settings.job.checkpointing
    if settings.run.part == "value-encoder":
        own = settings.value_encoder
        return LivoTrainable(
            model,
            leak_penalty=own.leak_penalty,
            rank=own.encoder_rank,
            encoders=start.encoders if start else (),
            checkpointing=checkpointing,
        )
    unet = settings.unet
    return UNetTrainable(
        model,
        lora_rank=unet.lora_rank,
        lora_alpha=unet.lora_alpha,
        lora_targets=unet.lora_targets,
        reference=reference,
        start=start.factors if start else None,
        checkpointing=checkpointing,
        frozen_half=None if settings.run.frozen_precision == "fp32" else settings.run.frozen_precision,
    )
