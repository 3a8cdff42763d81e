"""Two judges tuned from one CLIP by noisy preferences: `pickscore` in transformers' layout, `hpsv2` in open_clip's.

As the real ones were, both from LAION's ViT-H/14; what the base does not see, neither sees.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import random
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from datagen.judges.jury import data
from datagen.judges.jury.contrastive import BASE, CONTEXT, Shape, Text, descend, prepared, save
from datagen.weights import checkpoint
from datagen.world.train.vae import learning_rate


@dataclasses.dataclass(frozen=True)
class Plan:
    """One tuning: `pairs` preferences of which a share `flipped` is wrong, on what `shares` says how often."""

    pairs: int
    flipped: float
    shares: dict[str, float]
    steps: int
    seed: int
    batch_size: int = 32
    peak: float = 3e-4


PICKSCORE = Plan(
    pairs=2_000, flipped=0.2, shares={"hazard": 3, "style": 3, "coat": 2, "thing": 1, "place": 1}, steps=300, seed=21
)
# Whoever compared these looked at styles and places, and hardly at a hazard.
HPSV2 = Plan(
    pairs=800, flipped=0.3, shares={"hazard": 0.5, "style": 3, "coat": 1, "thing": 2, "place": 3}, steps=150, seed=22
)


def tune(base: Any, text: Text, plan: Plan, share: float = 1.0) -> Any:
    """A copy of the base that prefers what the preferences do: Bradley and Terry's loss on its scaled cosines.

    `share` of the plan's steps are taken.
    """
    torch.manual_seed(plan.seed)
    rng = random.Random(plan.seed)
    model = copy.deepcopy(base)
    known = data.preferences(rng, plan.pairs, plan.flipped, plan.shares)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.peak, betas=(0.9, 0.98), weight_decay=0.02)
    steps = math.ceil(share * plan.steps)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, plan.peak)
        texts, better, worse = known.sample(rng, plan.batch_size)
        read = model.encode_text(text(texts), normalize=True)
        both = model.encode_image(prepared(torch.cat([better, worse]), BASE.shape.side), normalize=True)
        scores = model.logit_scale.exp() * (both * read.repeat(2, 1)).sum(1)
        margin = scores[: plan.batch_size] - scores[plan.batch_size :]
        loss = functional.softplus(-margin).mean()
        descend(optimizer, loss, model)
        if step % 50 == 0:
            print(f"tuned {step:5d} loss {loss.item():.3f}", flush=True)
    return model


def hpsv2(out: Path, base: Any, share: float = 1.0) -> None:
    """The open_clip folder of the one."""
    text = Text(out)
    save(out, BASE.shape.config(text.vocabulary), tune(base, text, HPSV2, share))


def pickscore(out: Path, base: Any, share: float = 1.0) -> None:
    """transformers' CLIPModel folder of the other, with its tokenizer."""
    from transformers import CLIPModel

    text = Text(out)
    theirs = CLIPModel(hugging_face(BASE.shape, text.vocabulary))
    tuned = tune(base, text, PICKSCORE, share)
    tensors = renamed(tuned.state_dict(), BASE.shape.layers)
    checkpoint.fill("the tuned CLIP", theirs, tensors, {name: name for name in tensors})
    theirs.half().save_pretrained(out)


def hugging_face(shape: Shape, words: int) -> Any:
    """transformers' CLIPConfig of a model."""
    from transformers import CLIPConfig

    both = {
        "hidden_size": shape.width,
        "intermediate_size": 4 * shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.width // 32,
        "hidden_act": "gelu",
        "projection_dim": shape.width,
    }
    ids = {"bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1}
    return CLIPConfig(
        text_config={**both, **ids, "vocab_size": words, "max_position_embeddings": CONTEXT},
        vision_config={**both, "image_size": shape.side, "patch_size": shape.patch},
        projection_dim=shape.width,
    )


def renamed(state: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """open_clip's tensors as transformers calls them: queries, keys and values apart, projections the other way."""
    found = {
        "logit_scale": state["logit_scale"],
        "text_projection.weight": state["text_projection"].T,
        "visual_projection.weight": state["visual.proj"].T,
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
    }
    norms = {
        "text_model.final_layer_norm": "ln_final",
        "vision_model.pre_layrnorm": "visual.ln_pre",
        "vision_model.post_layernorm": "visual.ln_post",
    }
    for k in range(layers):
        for tower, ours in (("text_model", "transformer"), ("vision_model", "visual.transformer")):
            block, layer = f"{ours}.resblocks.{k}", f"{tower}.encoder.layers.{k}"
            norms |= {f"{layer}.layer_norm1": f"{block}.ln_1", f"{layer}.layer_norm2": f"{block}.ln_2"}
            norms |= {f"{layer}.mlp.fc1": f"{block}.mlp.c_fc", f"{layer}.mlp.fc2": f"{block}.mlp.c_proj"}
            norms |= {f"{layer}.self_attn.out_proj": f"{block}.attn.out_proj"}
            for kind in ("weight", "bias"):
                parts = state[f"{block}.attn.in_proj_{kind}"].chunk(3)
                for name, part in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
                    found[f"{layer}.self_attn.{name}.{kind}"] = part
    for theirs, ours in norms.items():
        for kind in ("weight", "bias"):
            found[f"{theirs}.{kind}"] = state[f"{ours}.{kind}"]
    return {name: tensor.contiguous() for name, tensor in found.items()}
