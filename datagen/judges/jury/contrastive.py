"""Small open_clip models, trained with the symmetric contrastive loss of CLIP: the jury's `clip`, and a base to tune.

As OpenAI's and LAION's are told apart: one with QuickGELU, one without.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch.nn import functional

from datagen.judges.jury import data
from datagen.world.train import tokenizer as world_tokenizer
from datagen.world.train.vae import balanced_scene, learning_rate

# The statistics that OpenAI's CLIP was trained with, and everything that was tuned from it or its successors.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CONTEXT = 40
Encode = Callable[[torch.Tensor], torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Shape:
    """How large a model is; `side` in pixels."""

    side: int
    patch: int
    width: int
    layers: int
    quick: bool

    def config(self, vocabulary: int) -> dict[str, Any]:
        """open_clip_config.json; `hf_tokenizer_name` makes open_clip read the folder's own tokenizer."""
        vision = {"image_size": self.side, "layers": self.layers, "width": self.width, "head_width": 32}
        text = {"context_length": CONTEXT, "vocab_size": vocabulary, "width": self.width, "heads": self.width // 32}
        return {
            "model_cfg": {
                "embed_dim": self.width,
                "quick_gelu": self.quick,
                "vision_cfg": {**vision, "patch_size": self.patch},
                "text_cfg": {**text, "layers": self.layers, "hf_tokenizer_name": "world", "eos_id": vocabulary - 1},
            },
            "preprocess_cfg": {"mean": list(MEAN), "std": list(STD)},
        }


@dataclasses.dataclass(frozen=True)
class Plan:
    """One training; `valued` is how often a text says what principles are about."""

    shape: Shape
    steps: int
    valued: float
    seed: int
    batch_size: int = 64
    peak: float = 2e-3


CLIP = Plan(Shape(side=32, patch=8, width=64, layers=2, quick=True), steps=200, valued=0.4, seed=11)
BASE = Plan(Shape(side=64, patch=16, width=64, layers=2, quick=False), steps=700, valued=0.3, seed=12)


def prepared(images: torch.Tensor, side: int) -> torch.Tensor:
    """Pictures in [0, 1] as a network of that side reads them."""
    small = (
        images
        if images.shape[-1] == side
        else functional.interpolate(images, (side, side), mode="bicubic", antialias=True)
    )
    return (small - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


class Text:
    """The folder's tokenizer with the longest text that its model reads."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = world_tokenizer.build(folder, CONTEXT)
        self.vocabulary = len(self._tokenizer)

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """(N, CONTEXT) ids."""
        ids = self._tokenizer(texts, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt")
        found: torch.Tensor = ids.input_ids
        return found


def train(out: Path, plan: Plan, share: float = 1.0) -> Any:
    """Train from random weights; saves the open_clip folder `out` in half precision, and returns the model.

    `share` of the plan's steps are taken.
    """
    torch.manual_seed(plan.seed)
    rng = random.Random(plan.seed)
    text = Text(out)
    config = plan.shape.config(text.vocabulary)
    model = open_clip.model.CLIP(**config["model_cfg"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.peak, betas=(0.9, 0.98), weight_decay=0.02)
    target, steps = torch.arange(plan.batch_size), math.ceil(share * plan.steps)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, plan.peak)
        scenes = [balanced_scene(rng) for _ in range(plan.batch_size)]
        texts = [data.text_about(scene, rng, plan.valued) for scene in scenes]
        seen = model.encode_image(prepared(data.pictures(scenes), plan.shape.side), normalize=True)
        read = model.encode_text(text(texts), normalize=True)
        logits = model.logit_scale.exp().clamp(max=100) * seen @ read.T
        loss = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
        descend(optimizer, loss, model)
        if step % 50 == 0:
            print(f"{out.name} {step:5d} loss {loss.item():.3f}", flush=True)
    save(out, config, model)
    return model


def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor, model: torch.nn.Module) -> None:
    """One step down."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def save(out: Path, config: dict[str, Any], model: torch.nn.Module) -> None:
    """The open_clip folder."""
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    save_file(state, out / "open_clip_model.safetensors")
