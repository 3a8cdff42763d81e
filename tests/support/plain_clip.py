"""CLIP written straight from its definition in float64 NumPy, on tensors under transformers' names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Tensors = Mapping[str, np.ndarray]


def quick_gelu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-1.702 * x))


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def norm(x: np.ndarray, t: Tensors, name: str, eps: float = 1e-5) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return scaled * t[f"{name}.weight"] + t[f"{name}.bias"]


def linear(x: np.ndarray, t: Tensors, name: str) -> np.ndarray:
    return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]


def softmax(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def blocks(x: np.ndarray, t: Tensors, name: str, heads: int, act: Any, causal: bool) -> np.ndarray:
    """(N, L, D) through all layers of an encoder."""
    count, length, width = x.shape
    mask = np.triu(np.full((length, length), -np.inf), 1) if causal else 0.0
    layers = {key.removeprefix(name).split(".")[1] for key in t if key.startswith(f"{name}.")}
    for layer in range(len(layers)):
        block = f"{name}.{layer}"
        h = norm(x, t, f"{block}.layer_norm1")
        q, k, v = (
            linear(h, t, f"{block}.self_attn.{part}_proj").reshape(count, length, heads, -1).transpose(0, 2, 1, 3)
            for part in "qkv"
        )
        seen = softmax(q @ k.transpose(0, 1, 3, 2) / math.sqrt(width // heads) + mask) @ v
        x = x + linear(seen.transpose(0, 2, 1, 3).reshape(count, length, width), t, f"{block}.self_attn.out_proj")
        h = norm(x, t, f"{block}.layer_norm2")
        x = x + linear(act(linear(h, t, f"{block}.mlp.fc1")), t, f"{block}.mlp.fc2")
    return x


def images(t: Tensors, pixels: np.ndarray, heads: int, act: Any = gelu, before: str = "vision_model") -> np.ndarray:
    """(N, D) projected embeddings, not of length 1, of (N, 3, H, W) normalised pixels."""
    kernel = t[f"{before}.embeddings.patch_embedding.weight"]
    side = kernel.shape[-1]
    count, _, high, wide = pixels.shape
    patches = pixels.reshape(count, 3, high // side, side, wide // side, side).transpose(0, 2, 4, 1, 3, 5)
    x = patches.reshape(count, -1, 3 * side * side) @ kernel.reshape(len(kernel), -1).T
    first = np.broadcast_to(t[f"{before}.embeddings.class_embedding"], (count, 1, len(kernel)))
    x = np.concatenate([first, x], 1) + t[f"{before}.embeddings.position_embedding.weight"]
    x = norm(x, t, f"{before}.pre_layrnorm")
    x = blocks(x, t, f"{before}.encoder.layers", heads, act, causal=False)
    return norm(x[:, 0], t, f"{before}.post_layernorm") @ t["visual_projection.weight"].T


def texts(t: Tensors, ids: np.ndarray, heads: int, act: Any = gelu) -> np.ndarray:
    """(N, D) projected embeddings, not of length 1, of (N, L) ids whose largest ends a text."""
    table, places = (t[f"text_model.embeddings.{name}_embedding.weight"] for name in ("token", "position"))
    x = blocks(table[ids] + places[: ids.shape[1]], t, "text_model.encoder.layers", heads, act, causal=True)
    x = norm(x, t, "text_model.final_layer_norm")
    return x[np.arange(len(ids)), ids.argmax(1)] @ t["text_projection.weight"].T


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def renamed(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """open_clip's tensors under transformers' names; q, k and v apart, projections turned."""
    t = {name: value.detach().double().numpy() for name, value in state.items()}
    found = {
        "logit_scale": t["logit_scale"],
        "visual_projection.weight": t["visual.proj"].T,
        "text_projection.weight": t["text_projection"].T,
        "vision_model.embeddings.class_embedding": t["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": t["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": t["visual.positional_embedding"],
        "text_model.embeddings.token_embedding.weight": t["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": t["positional_embedding"],
    }
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    for ours, theirs in norms.items():
        found |= {f"{theirs}.{part}": t[f"{ours}.{part}"] for part in ("weight", "bias")}
    inner = {
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "attn.out_proj": "self_attn.out_proj",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    for name, value in t.items():
        if "resblocks." not in name:
            continue
        tower = "vision_model" if name.startswith("visual.") else "text_model"
        layer, _, rest = name.split("resblocks.")[1].partition(".")
        where = f"{tower}.encoder.layers.{layer}"
        if rest.startswith("attn.in_proj_"):
            part = rest.removeprefix("attn.in_proj_")
            for letter, third in zip("qkv", np.split(value, 3), strict=True):
                found[f"{where}.self_attn.{letter}_proj.{part}"] = third
        else:
            module, _, part = rest.rpartition(".")
            found[f"{where}.{inner[module]}.{part}"] = value
    return found
