"""What the trainer's benchmarks run on: Stable Diffusion 1.5 and XL at a tenth of their width, pairs of 512 px PNGs.

The weights are random; classes and depth of the U-Nets are the real ones. VAEs are sized, and texts cut to 24 tokens,
so that the ratio of work between VAE, U-Net and texts is about the real one (`python -m benchmarks.support.tiny`
prints it).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from benchmarks.support.tiny_clip import NOISE, make_tokenizer, text_config

RESOLUTION = 128  # side of the training images; the files are 512 px
TOKENS = 24  # real: 77, beside 64 times as many pixels
PRINCIPLES = ("no cracks", "no smoke")
VAE_CHANNELS = {"sd15": (12, 24, 48, 48), "sdxl": (12, 28, 56, 56)}  # real: 128, 256, 512, 512 for both


def _vae(channels: tuple[int, ...]) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=RESOLUTION,
    )


def _sd15_unet() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=RESOLUTION // 8,
        block_out_channels=(32, 64, 128, 128),
        layers_per_block=2,
        norm_num_groups=8,
        cross_attention_dim=64,
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        attention_head_dim=2,
    )


def _sdxl_unet() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=RESOLUTION // 8,
        block_out_channels=(32, 64, 128),
        layers_per_block=2,
        norm_num_groups=8,
        cross_attention_dim=64 + 96,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 2),
        up_block_types=(*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"),
        attention_head_dim=(1, 2, 4),
        use_linear_projection=True,
        transformer_layers_per_block=(1, 2, 10),
        addition_embed_type="text_time",
        addition_time_embed_dim=16,
        projection_class_embeddings_input_dim=6 * 16 + 96,
    )


def model(shape: str, folder: Path) -> Path:
    """A pipeline folder of `sd15` or `sdxl` with random weights."""
    from diffusers import DDPMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
    from diffusers.utils import logging as diffusers_logging
    from transformers import CLIPTextModel, CLIPTextModelWithProjection
    from transformers.utils import logging as transformers_logging

    torch.manual_seed(0)
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    tokenizer = make_tokenizer(TOKENS)
    parts: dict[str, Any] = {
        "vae": _vae(VAE_CHANNELS[shape]),
        "tokenizer": tokenizer,
        "text_encoder": CLIPTextModel(text_config(tokenizer, 64, 2)),
        "scheduler": DDPMScheduler(**NOISE, clip_sample=False),
    }
    if shape == "sd15":
        extra: Any = dict.fromkeys(("safety_checker", "feature_extractor"))
        pipeline: Any = StableDiffusionPipeline(**parts, **extra, unet=_sd15_unet(), requires_safety_checker=False)
    else:
        second = CLIPTextModelWithProjection(text_config(tokenizer, 96, 2))
        pipeline = StableDiffusionXLPipeline(**parts, unet=_sdxl_unet(), tokenizer_2=tokenizer, text_encoder_2=second)
    pipeline.save_pretrained(folder / shape)
    return folder / shape


def _png(rng: np.random.Generator, side: int = 512) -> bytes:
    """A picture whose spectrum falls as a photograph's does (1/f), so that decoding costs what a photograph's does."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    frequency[0, 0] = 1 / side
    phases = np.exp(2j * np.pi * rng.random((3, *frequency.shape)))
    pixels = np.fft.irfft2(phases / frequency, s=(side, side))
    pixels = 128 + 48 * pixels / pixels.std(axis=(1, 2), keepdims=True)
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def pairs(count: int, folder: Path) -> Path:
    """A dataset folder of `count` pairs of pictures in our own columns."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "prompt": f"a baker no {i}",
            "principle": PRINCIPLES[i % 2],
            "kind": "avoid",
            "chosen": {"bytes": _png(rng), "path": f"{i}c.png"},
            "rejected": {"bytes": _png(rng), "path": f"{i}r.png"},
        }
        for i in range(count)
    ]
    (folder / "pairs").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "pairs" / "train-00000-of-00001.parquet")
    return folder / "pairs"


def work(shape: str) -> tuple[float, float, float]:
    """GFLOP of one VAE encoding, one U-Net pass and one prompt."""
    import tempfile

    from diffusers import DiffusionPipeline
    from torch.utils.flop_counter import FlopCounterMode

    def counted(call: Any) -> float:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call()
        return float(counter.get_total_flops()) / 1e9

    with tempfile.TemporaryDirectory() as folder:
        pipe = DiffusionPipeline.from_pretrained(model(shape, Path(folder)))
    latent, image = torch.zeros(1, 4, RESOLUTION // 8, RESOLUTION // 8), torch.zeros(1, 3, RESOLUTION, RESOLUTION)
    hidden = torch.zeros(1, TOKENS, pipe.unet.config.cross_attention_dim)
    added = {"text_embeds": torch.zeros(1, 96), "time_ids": torch.zeros(1, 6)}
    encoders = [e for e in (pipe.text_encoder, getattr(pipe, "text_encoder_2", None)) if e is not None]
    ids = torch.zeros(1, TOKENS, dtype=torch.long)
    return (
        counted(lambda: pipe.vae.encode(image)),
        counted(lambda: pipe.unet(latent, 1, hidden, added_cond_kwargs=added)),
        counted(lambda: [encoder(ids) for encoder in encoders]),
    )


if __name__ == "__main__":
    for name, real in (("sd15", 1.39), ("sdxl", 0.70)):
        vae, unet, text = work(name)
        print(
            f"{name}: U-Net {unet:.3f} GFLOP, VAE {vae:.3f}, text {text:.3f}; "
            f"VAE/U-Net {vae / unet:.2f} (real, 512 px: {real}), text/U-Net {text / unet:.3f} (real: 0.02 and 0.07)"
        )
