"""Stable Diffusion 1.5 and SDXL in full size with weights at random, in half precision, as diffusers folders.

Written network by network, so that it takes little memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

UNET: dict[str, Any] = {"layers_per_block": 2, "in_channels": 4, "out_channels": 4}
SD15 = UNET | {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SDXL = UNET | {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
}
CLIP: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
}
BIG = CLIP | {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}


def save(kind: str, folder: Path) -> Path:
    """The model of a kind, sd15 or sdxl, in a folder; what is there already stays."""
    import diffusers
    import transformers

    if (folder / "model_index.json").is_file():
        return folder
    is_xl = kind == "sdxl"
    vae = VAE | ({"scaling_factor": 0.13025, "force_upcast": True} if is_xl else {})
    networks: dict[str, tuple[Any, Any]] = {
        "unet": (diffusers.UNet2DConditionModel, SDXL if is_xl else SD15),
        "vae": (diffusers.AutoencoderKL, vae),
        "text_encoder": (transformers.CLIPTextModel, transformers.CLIPTextConfig(**CLIP)),
    }
    if is_xl:
        networks["text_encoder_2"] = transformers.CLIPTextModelWithProjection, transformers.CLIPTextConfig(**BIG)
    index: dict[str, Any] = {"_class_name": "StableDiffusionXLPipeline" if is_xl else "StableDiffusionPipeline"}
    for name, (network, config) in networks.items():
        _save_network(network, config, folder / name)
        index[name] = [network.__module__.split(".")[0], network.__name__]
    for name in ["tokenizer", "tokenizer_2"][: 1 + is_xl]:
        _tokenizer(kind, name).save_pretrained(folder / name)
        index[name] = ["transformers", "CLIPTokenizer"]
    settings = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    scheduler = diffusers.EulerDiscreteScheduler(**settings, timestep_spacing="leading")
    scheduler.save_pretrained(folder / "scheduler")
    index["scheduler"] = ["diffusers", "EulerDiscreteScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _tokenizer(kind: str, name: str) -> Any:
    from datagen.weights import single_file

    return single_file.tokenizer(single_file.SingleFile(Path(), "sdxl" if kind == "sdxl" else "sd1", {}, {}), name)


def _save_network(network: Any, config: Any, folder: Path) -> None:
    """A network at random: matrices so small that what passes through all layers stays finite in half precision."""
    import torch
    from accelerate import init_empty_weights
    from safetensors.torch import save_file

    with init_empty_weights(include_buffers=False):
        made = network(**config) if isinstance(config, dict) else network(config)
    torch.manual_seed(0)
    tensors = {}
    for name, value in made.state_dict().items():
        if value.ndim < 2:
            tensors[name] = torch.full(value.shape, float("norm" in name and "weight" in name), dtype=torch.float16)
        else:
            fan_in = value[0].numel()
            tensors[name] = torch.randn(value.shape, dtype=torch.float16) * fan_in**-0.5
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(config, dict):
        made.save_config(folder)
        save_file(tensors, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    else:
        config.architectures = [network.__name__]
        config.save_pretrained(folder)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
