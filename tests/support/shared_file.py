"""Small Stable Diffusions as people share them: everything in one safetensors file, under its authors' own names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from datagen.weights import single_file
from datagen.weights.single_file import SingleFile

WORDS = 49408
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
TEXT = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def pipeline(family: str, dtype: Any = torch.float32) -> Any:
    """A pipeline of a family, sd1, sd2 or sdxl, at random: two resolutions, three layers of text."""
    import diffusers
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    one = CLIPTextModel(_text("gelu" if family == "sd2" else "quick_gelu", 64))
    encoders = {"text_encoder": one}
    unet: dict[str, Any] = {"sample_size": 128 if family == "sdxl" else 64, "layers_per_block": 1}
    unet |= {"block_out_channels": (32, 64), "cross_attention_dim": 64, "attention_head_dim": 8}
    unet |= {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
    unet |= {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
    if family != "sd1":
        unet |= {"block_out_channels": (64, 128), "attention_head_dim": (1, 2), "use_linear_projection": True}
    if family == "sdxl":
        encoders["text_encoder_2"] = CLIPTextModelWithProjection(_text("gelu", 128))
        unet |= {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "cross_attention_dim": 192}
        unet |= {"up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "transformer_layers_per_block": (1, 2)}
        unet |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
        unet |= {"projection_class_embeddings_input_dim": 6 * 8 + 128}
    vae: dict[str, Any] = {"block_out_channels": (32, 32, 32, 64), "layers_per_block": 1, "sample_size": 64}
    vae |= {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    vae |= {"scaling_factor": 0.13025 if family == "sdxl" else 0.18215, "force_upcast": family == "sdxl"}
    vae["latent_channels"] = 4
    found = SingleFile(Path(), family, {}, {})
    made: dict[str, Any] = {name: encoder.to(dtype) for name, encoder in encoders.items()}
    for name in encoders:
        part = name.replace("text_encoder", "tokenizer")
        made[part] = single_file.tokenizer(found, part)
    made |= {"unet": diffusers.UNet2DConditionModel(**unet).to(dtype), "vae": diffusers.AutoencoderKL(**vae).to(dtype)}
    settings = dict(single_file._NOISE | single_file._SCHEDULERS[family])
    made["scheduler"] = getattr(diffusers, settings.pop("_class_name")).from_config(settings)
    if family == "sdxl":
        return diffusers.StableDiffusionXLPipeline(**made)
    made |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return diffusers.StableDiffusionPipeline(**made)


def tensors(pipe: Any, family: str) -> dict[str, Any]:
    """The pipeline's tensors by the names of a shared file."""
    unet, vae = pipe.unet.state_dict(), pipe.vae.state_dict()
    levels, layers = len(pipe.unet.config.block_out_channels), pipe.unet.config.layers_per_block
    found = {f"model.diffusion_model.{_unet(name, levels, layers, unet)}": value for name, value in unet.items()}
    found |= {f"first_stage_model.{_vae(name, 4)}": _as_stored(name, value) for name, value in vae.items()}
    if family == "sd2":
        return found | _open_clip(pipe.text_encoder, "cond_stage_model.model.", left_out=1)
    prefix = "cond_stage_model.transformer." if family == "sd1" else "conditioner.embedders.0.transformer."
    first = {f"text_model.{_bare(name)}": value for name, value in pipe.text_encoder.state_dict().items()}
    first["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    found |= {prefix + name: value for name, value in first.items()}
    if family == "sdxl":
        found |= _open_clip(pipe.text_encoder_2, "conditioner.embedders.1.model.")
    return found


def save(path: Path, found: dict[str, Any], metadata: dict[str, str] | None = None) -> Path:
    save_file({name: value.clone().contiguous() for name, value in found.items()}, path, metadata=metadata)
    return path


def _text(activation: str, width: int) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=WORDS,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=3,
        num_attention_heads=width // 64,
        hidden_act=activation,
        bos_token_id=WORDS - 2,
        eos_token_id=WORDS - 1,
    )


def _bare(name: str) -> str:
    return name.removeprefix("text_model.")


def _unet(name: str, levels: int, layers: int, every: Any) -> str:
    for ours, theirs in UNET.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    match = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name)
    if match is None:
        inner = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
        part = next(part for part in inner if name.startswith(f"mid_block.{part}."))
        return f"middle_block.{inner[part]}." + _resnet(part, name.removeprefix(f"mid_block.{part}."))
    side, level, kind, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if kind == "downsamplers":
        return f"input_blocks.{(layers + 1) * (level + 1)}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        place = 2 if any(k.startswith(f"up_blocks.{level}.attentions") for k in every) else 1
        return f"output_blocks.{(layers + 1) * level + layers}.{place}.{rest}"
    block = (layers + 1) * level + layer
    blocks = f"input_blocks.{block + 1}" if side == "down" else f"output_blocks.{block}"
    return f"{blocks}.{0 if kind == 'resnets' else 1}." + _resnet(kind, rest)


def _resnet(kind: str, rest: str) -> str:
    first, _, last = rest.partition(".")
    return f"{RESNET[first]}.{last}" if kind.startswith("resnets") else rest


def _vae(name: str, levels: int) -> str:
    name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0.group_norm", "mid.attn_1.norm")
    name = re.sub(r"mid_block\.attentions\.0\.to_([qkv])\.", r"mid.attn_1.\1.", name)
    name = name.replace("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out")
    return name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")


def _as_stored(name: str, value: Any) -> Any:
    """The VAE's attention is stored as convolutions of one pixel."""
    is_matrix = re.search(r"attentions\.0\.to_.+weight", name)
    return value[:, :, None, None] if is_matrix else value


def _open_clip(encoder: Any, prefix: str, left_out: int = 0) -> dict[str, Any]:
    """OpenCLIP's names; `left_out` layers more than are read."""
    held = {_bare(name): value for name, value in encoder.state_dict().items()}
    found = {
        "positional_embedding": held["embeddings.position_embedding.weight"],
        "token_embedding.weight": held["embeddings.token_embedding.weight"],
        "ln_final.weight": held["final_layer_norm.weight"],
        "ln_final.bias": held["final_layer_norm.bias"],
        "logit_scale": torch.tensor(4.6),
        "text_projection": held.get("text_projection.weight", torch.zeros(64, 64)).T,
    }
    layers = encoder.config.num_hidden_layers
    for layer in range(layers + left_out):
        ours = f"encoder.layers.{min(layer, layers - 1)}."
        theirs = f"transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            thirds = [held[f"{ours}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            found[f"{theirs}attn.in_proj_{kind}"] = torch.cat(thirds)
            found |= {f"{theirs}{new}.{kind}": held[f"{ours}{old}.{kind}"] for old, new in TEXT.items()}
    return {prefix + name: value for name, value in found.items()}
