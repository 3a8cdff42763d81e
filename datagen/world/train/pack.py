"""Copies trained models into the package: safetensors in half precision, which every loader here widens again."""

from __future__ import annotations

import shutil
from pathlib import Path

from diffusers import AutoencoderKL, StableDiffusionPipeline


def pack(pipeline_folder: Path, vae_folder: Path, clip_folder: Path, pipeline_out: Path, clip_out: Path) -> None:
    """Write the pipeline, with the VAE's finished decoder, and the CLIP folder; replaces what was there."""
    pipeline = StableDiffusionPipeline.from_pretrained(pipeline_folder)
    pipeline.vae = AutoencoderKL.from_pretrained(vae_folder)
    pipeline.unet.half()
    pipeline.vae.half()
    # transformers loads a text encoder in the precision of its file, so this one stays whole.
    pipeline.text_encoder.float()
    for folder in (pipeline_out, clip_out):
        if folder.exists():
            shutil.rmtree(folder)
    pipeline.save_pretrained(pipeline_out, safe_serialization=True)
    shutil.copytree(clip_folder, clip_out)
