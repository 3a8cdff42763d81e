"""Names and shapes of a Stable Diffusion in one file (its authors' layout), and what they say of the parts.

Such a file has no settings beside its tensors: what can be read off the shapes is read there, so models of another
depth or width are what they are; what cannot (numbers of heads, the VAE's scale) is the family's. Tensors are renamed
and never copied, but for one projection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from datagen.errors import ModelError
from datagen.weights.files import named

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP = {"sd1": "cond_stage_model.transformer.", "sdxl": "conditioner.embedders.0.transformer."}
OPEN_CLIP = {"sd2": "cond_stage_model.model.", "sdxl": "conditioner.embedders.1.model."}
HEAD = 64  # width of an attention head, of all text encoders, and of the U-Nets since SD 2
_HEADS = 8  # of every layer of SD 1's U-Net
_SIDES = {"sd1": 64, "sd2": 64, "sdxl": 128}  # latent pixels
_SCALES = {"sd1": 0.18215, "sd2": 0.18215, "sdxl": 0.13025}
_BLOCK = re.compile(r"input_blocks\.(\d+)\.(?:0\.in_layers\.2|1\.transformer_blocks\.(\d+)\.attn2\.to_k)\.weight")
_CLIP_LAYER = re.compile(r"encoder\.layers\.(\d+)\.")
_OPEN_LAYER = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)")
# OpenCLIP's names → transformers'.
_OPEN_ONCE = {
    "positional_embedding": "embeddings.position_embedding.weight",
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_OPEN_PARTS = {
    "ln_1.": "layer_norm1.",
    "ln_2.": "layer_norm2.",
    "mlp.c_fc.": "mlp.fc1.",
    "mlp.c_proj.": "mlp.fc2.",
    "attn.out_proj.": "self_attn.out_proj.",
}
# SD 2's U-Net reads its text encoder before the last layer, which is stored and not used.
_LEFT_OUT = {"sd2": 1, "sdxl": 0}
Tensors = Mapping[str, Any]


def unet_config(family: str, tensors: Tensors) -> dict[str, Any]:
    """The settings of the U-Net, from its tensors' names without their prefix. KeyError, IndexError: it is none."""
    channels, depths, layers = _levels(tensors)
    config: dict[str, Any] = {
        "sample_size": _SIDES[family],
        "in_channels": tensors["input_blocks.0.0.weight"].shape[1],
        "out_channels": tensors["out.2.weight"].shape[0],
        "block_out_channels": channels,
        "layers_per_block": layers,
        "transformer_layers_per_block": [max(1, depth) for depth in depths],
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "cross_attention_dim": next(v.shape[1] for k, v in tensors.items() if k.endswith("attn2.to_k.weight")),
        "use_linear_projection": next(v.ndim for k, v in tensors.items() if k.endswith("proj_in.weight")) == 2,
        "attention_head_dim": _HEADS if family == "sd1" else [max(1, width // HEAD) for width in channels],
        "upcast_attention": family == "sd2",
    }
    if "label_emb.0.0.weight" in tensors:
        config |= {
            "addition_embed_type": "text_time",
            "projection_class_embeddings_input_dim": tensors["label_emb.0.0.weight"].shape[1],
        }
    if "time_embed.cond_proj.weight" in tensors:
        config["time_cond_proj_dim"] = tensors["time_embed.cond_proj.weight"].shape[1]
    return config


def vae_config(family: str, tensors: Tensors) -> dict[str, Any]:
    """The settings of the VAE, from its tensors' names without their prefix. KeyError: it is none."""
    found = {int(m[1]) for name in tensors if (m := re.match(r"encoder\.down\.(\d+)\.", name))}
    channels = [tensors[f"encoder.down.{level}.block.0.conv1.weight"].shape[0] for level in sorted(found)]
    layers = {int(m[1]) for name in tensors if (m := re.match(r"encoder\.down\.0\.block\.(\d+)\.", name))}
    return {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": tensors["decoder.conv_in.weight"].shape[1],
        "block_out_channels": channels,
        "layers_per_block": len(layers),
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "scaling_factor": _SCALES[family],
        "sample_size": _SIDES[family] * 2 ** (len(channels) - 1),
        "force_upcast": family == "sdxl",
    }


def clip_config(tensors: Tensors) -> dict[str, Any]:
    """The settings of OpenAI's text encoder, from its tensors' names without their prefix. KeyError: it is none."""
    bare = _bare(tensors)
    layers = {int(m[1]) for name in bare if (m := _CLIP_LAYER.match(name))}
    words, width = bare["embeddings.token_embedding.weight"].shape
    longest = bare["embeddings.position_embedding.weight"].shape[0]
    inner = bare["encoder.layers.0.mlp.fc1.weight"].shape[0]
    return _text_config(words, width, longest, inner, len(layers)) | {"hidden_act": "quick_gelu"}


def open_clip_config(family: str, tensors: Tensors) -> dict[str, Any]:
    """The settings of OpenCLIP's text encoder, from its tensors' names without their prefix. KeyError: it is none."""
    words, width = tensors["token_embedding.weight"].shape
    longest = tensors["positional_embedding"].shape[0]
    inner = tensors["transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
    config = _text_config(words, width, longest, inner, _open_layers(family, tensors)) | {"hidden_act": "gelu"}
    if family == "sdxl":
        config["projection_dim"] = tensors["text_projection"].shape[1]
    return config


def unet_names(tensors: Tensors, config: dict[str, Any]) -> dict[str, Any]:
    """The U-Net's tensors by diffusers' names."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    found: dict[str, Any] = convert_ldm_unet_checkpoint({f"{UNET}{k}": v for k, v in tensors.items()}, config)
    if "time_embed.cond_proj.weight" in tensors:
        found["time_embedding.cond_proj.weight"] = tensors["time_embed.cond_proj.weight"]
    return _whole("U-Net", tensors, found)


def vae_names(tensors: Tensors, config: dict[str, Any]) -> dict[str, Any]:
    """The VAE's tensors by diffusers' names; its attention's convolutions of one pixel as the matrices they are."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    flat = {k: v.flatten(1) if ".attn_1." in k and v.ndim > 2 else v for k, v in tensors.items()}
    found: dict[str, Any] = convert_ldm_vae_checkpoint({f"{VAE}{k}": v for k, v in flat.items()}, config)
    return _whole("VAE", flat, found)


def clip_names(tensors: Tensors) -> dict[str, Any]:
    """The text encoder's tensors without what versions of transformers put in front of them."""
    return {name: value for name, value in _bare(tensors).items() if not name.endswith("position_ids")}


def open_clip_names(family: str, tensors: Tensors) -> dict[str, Any]:
    """OpenCLIP's tensors by transformers' names, its queries, keys and values apart; what is not read left out."""
    last = _open_layers(family, tensors)
    found: dict[str, Any] = {}
    for name, value in tensors.items():
        if name in _OPEN_ONCE:
            found[_OPEN_ONCE[name]] = value
        elif name == "text_projection" and family == "sdxl":
            found["text_projection.weight"] = value.T.contiguous()
        elif (match := _OPEN_LAYER.match(name)) and int(match[1]) < last:
            found.update(_open_layer(f"encoder.layers.{match[1]}.", match[2], value))
    return found


def _open_layer(layer: str, name: str, value: Any) -> dict[str, Any]:
    if name.startswith("attn.in_proj_"):
        kind = name.removeprefix("attn.in_proj_")
        thirds = value.chunk(3)
        return {f"{layer}self_attn.{part}_proj.{kind}": third for part, third in zip("qkv", thirds, strict=True)}
    for theirs, ours in _OPEN_PARTS.items():
        if name.startswith(theirs):
            return {f"{layer}{ours}{name.removeprefix(theirs)}": value}
    return {f"{layer}{name}": value}


def _bare(tensors: Tensors) -> dict[str, Any]:
    return {name.removeprefix("text_model."): value for name, value in tensors.items()}


def _whole(what: str, tensors: Tensors, found: dict[str, Any]) -> dict[str, Any]:
    """What was found, once all tensors are among it: diffusers passes over names that it does not know."""
    taken = {id(value) for value in found.values()}
    if left := [name for name, value in tensors.items() if id(value) not in taken]:
        raise ModelError(f"{len(left)} tensors of its {what} have no place in it ({named(left)})")
    return found


def _open_layers(family: str, tensors: Tensors) -> int:
    """The layers of OpenCLIP's text encoder that the U-Net reads."""
    return len({match[1] for name in tensors if (match := _OPEN_LAYER.match(name))}) - _LEFT_OUT[family]


def _text_config(words: int, width: int, longest: int, inner: int, layers: int) -> dict[str, Any]:
    return {
        "vocab_size": words,
        "hidden_size": width,
        "projection_dim": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // HEAD),
        "max_position_embeddings": longest,
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
    }


def _levels(tensors: Tensors) -> tuple[list[int], list[int], int]:
    """Of each resolution of the U-Net its channels and its attention's depth; residual blocks of each."""
    channels: list[int] = []
    depths: list[int] = []
    counts: list[int] = []
    blocks = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("input_blocks."))
    depth_of = {block: 0 for block in range(blocks)}
    for name in tensors:
        if (match := _BLOCK.fullmatch(name)) and match[2]:
            depth_of[int(match[1])] = max(depth_of[int(match[1])], int(match[2]) + 1)
    fresh = True
    for block in range(1, blocks):
        if f"input_blocks.{block}.0.op.weight" in tensors:
            fresh = True
            continue
        width = tensors[f"input_blocks.{block}.0.in_layers.2.weight"].shape[0]
        if fresh:
            channels, depths, counts = [*channels, width], [*depths, depth_of[block]], [*counts, 0]
            fresh = False
        counts[-1] += 1
    if len(set(counts)) != 1:
        raise ModelError(
            f"its U-Net has {' and '.join(map(str, counts))} blocks a resolution, which diffusers has not"
        )
    return channels, depths, counts[0]
