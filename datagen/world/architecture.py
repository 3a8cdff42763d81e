"""The shapes of the embedded models, in the words of the libraries that load them.

They are small, ordinary instances of the classes Stable Diffusion 1.5 is made of, so that one code path serves all.
"""

from __future__ import annotations

from typing import Any

LATENT_CHANNELS = 8
TEXT_WIDTH = 128
MAX_TOKENS = 77  # as the real CLIP, so that a prompt which fits here fits there

VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 32, 64, 128),
    "layers_per_block": 1,
    "latent_channels": LATENT_CHANNELS,
    "norm_num_groups": 8,
    "sample_size": 64,
    "mid_block_add_attention": False,
}

UNET: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (96, 160),
    "layers_per_block": 1,
    "cross_attention_dim": TEXT_WIDTH,
    "attention_head_dim": 4,
    "norm_num_groups": 16,
}

# As Stable Diffusion 1.5, so that real and embedded models share timesteps and noise levels.
SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "epsilon",
}


def text_config(vocab_size: int) -> dict[str, Any]:
    """CLIPTextConfig arguments for a tokenizer whose last two symbols are the start and the end of a text."""
    return {
        "vocab_size": vocab_size,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 4 * TEXT_WIDTH,
        "projection_dim": TEXT_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_TOKENS,
        "hidden_act": "quick_gelu",
        "bos_token_id": vocab_size - 2,
        "eos_token_id": vocab_size - 1,
        "pad_token_id": vocab_size - 1,
    }


def clip_config(vocab_size: int) -> dict[str, Any]:
    """open_clip_config.json of the small CLIP; `hf_tokenizer_name` makes open_clip read the folder's own tokenizer."""
    return {
        "model_cfg": {
            "embed_dim": 128,
            "quick_gelu": True,
            "vision_cfg": {"image_size": 64, "layers": 3, "width": 128, "head_width": 32, "patch_size": 8},
            "text_cfg": {
                "context_length": 48,
                "vocab_size": vocab_size,
                "width": 128,
                "heads": 4,
                "layers": 2,
                "hf_tokenizer_name": "world",
                "eos_id": vocab_size - 1,
            },
        },
        "preprocess_cfg": {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }
