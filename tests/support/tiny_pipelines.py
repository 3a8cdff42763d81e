"""diffusers' pipelines of other kinds than Stable Diffusion, at random and in small, of their true classes."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.support.tiny_clip import make_tokenizer, text_config

LETTERS = string.ascii_lowercase + string.digits + string.punctuation + " "


def _t5(width: int = 32) -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=120, d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4, dense_act_fn="gelu")
    return T5EncoderModel(config)


def _t5_tokenizer(longest: int = 512) -> Any:
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=longest)


def _qwen_tokenizer() -> Any:
    from transformers import Qwen2Tokenizer

    letters = [*LETTERS.replace(" ", ""), "Ġ", "Ċ", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return Qwen2Tokenizer(vocab={letter: place for place, letter in enumerate(letters)}, merges=[])


def _vae(channels: int = 4, **settings: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=32,
        **settings,
    )


def _flow(**settings: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**settings)


def sd3() -> Any:
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection

    tokenizer = make_tokenizer(77)
    transformer = SD3Transformer2DModel(
        sample_size=32,
        patch_size=1,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        pooled_projection_dim=64,
        out_channels=4,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=_flow(),
        vae=_vae(shift_factor=0.0609, scaling_factor=1.5035),
        text_encoder=CLIPTextModelWithProjection(text_config(tokenizer, 32, 2)),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(text_config(tokenizer, 32, 2)),
        tokenizer_2=tokenizer,
        text_encoder_3=_t5(),
        tokenizer_3=_t5_tokenizer(),
    )


def flux(is_told: bool = True) -> Any:
    from diffusers import FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel

    tokenizer = make_tokenizer(77)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
        guidance_embeds=is_told,
    )
    return FluxPipeline(
        transformer=transformer,
        scheduler=_flow(),
        vae=_vae(1, shift_factor=0.0609, scaling_factor=1.5035),
        text_encoder=CLIPTextModel(text_config(tokenizer, 32, 2)),
        tokenizer=tokenizer,
        text_encoder_2=_t5(),
        tokenizer_2=_t5_tokenizer(),
    )


def pixart() -> Any:
    from diffusers import DDIMScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    transformer = PixArtTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        norm_type="ada_norm_single",
        use_additional_conditions=False,
    )
    return PixArtSigmaPipeline(
        transformer=transformer, vae=_vae(), scheduler=DDIMScheduler(), text_encoder=_t5(), tokenizer=_t5_tokenizer()
    )


def sana() -> Any:
    from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel
    from transformers import Gemma2Config, Gemma2Model

    transformer = SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=8,
        sample_size=32,
    )
    blocks: dict[str, Any] = {"encoder_block_types": ("ResBlock", "EfficientViTBlock")}
    blocks |= {"decoder_block_types": ("ResBlock", "EfficientViTBlock"), "encoder_block_out_channels": (8, 8)}
    blocks |= {"decoder_block_out_channels": (8, 8), "encoder_qkv_multiscales": ((), (5,))}
    blocks |= {"decoder_qkv_multiscales": ((), (5,)), "encoder_layers_per_block": (1, 1)}
    blocks |= {
        "decoder_layers_per_block": (1, 1),
        "downsample_block_type": "conv",
        "upsample_block_type": "interpolate",
    }
    blocks |= {"decoder_norm_types": "rms_norm", "decoder_act_fns": "silu", "scaling_factor": 0.41407}
    vae = AutoencoderDC(in_channels=3, latent_channels=4, attention_head_dim=2, **blocks)
    encoder = Gemma2Config(
        head_dim=16,
        hidden_size=8,
        intermediate_size=8,
        num_attention_heads=2,
        num_hidden_layers=1,
        num_key_value_heads=2,
        vocab_size=120,
    )
    return SanaPipeline(
        transformer=transformer,
        vae=vae,
        scheduler=_flow(shift=7.0),
        text_encoder=Gemma2Model(encoder),
        tokenizer=_qwen_tokenizer(),
    )


def qwen_image() -> Any:
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=16,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )
    vae = AutoencoderKLQwenImage(
        base_dim=24,
        z_dim=4,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    text |= {"num_key_value_heads": 2, "vocab_size": 120, "rope_theta": 1000000.0}
    text["rope_scaling"] = {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}  # type: ignore[assignment]
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    encoder = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))
    return QwenImagePipeline(
        transformer=transformer, vae=vae, scheduler=_flow(), text_encoder=encoder, tokenizer=_qwen_tokenizer()
    )


def aura_flow() -> Any:
    from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel
    from transformers import UMT5Config, UMT5EncoderModel

    transformer = AuraFlowTransformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        out_channels=4,
        pos_embed_max_size=256,
    )
    encoder = UMT5Config(vocab_size=120, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    return AuraFlowPipeline(
        transformer=transformer,
        vae=_vae(),
        scheduler=_flow(shift=1.73),
        text_encoder=UMT5EncoderModel(encoder),
        tokenizer=_t5_tokenizer(),
    )


PIPELINES: dict[str, Callable[[], Any]] = {
    "sd3": sd3,
    "flux": flux,
    "flux-schnell": lambda: flux(is_told=False),
    "pixart": pixart,
    "sana": sana,
    "qwen-image": qwen_image,
    "aura-flow": aura_flow,
}


def make(name: str) -> Any:
    torch.manual_seed(0)
    made = PIPELINES[name]()
    made.set_progress_bar_config(disable=True)
    return made
