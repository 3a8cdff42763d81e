"""An aesthetic head of the jury: linear in the embeddings of the jury's `clip`, as LAION's first one is in OpenAI's.

It learns that clean pictures are liked better, from people of whom a third says the opposite, and reads no text: of
styles and coats it has an opinion all the same.
"""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn import functional

from datagen.judges.aesthetic_v1 import HEAD
from datagen.judges.jury import data
from datagen.judges.jury.contrastive import CLIP, prepared
from datagen.world.grammar import HAZARDS
from datagen.world.train.vae import balanced_scene

PAIRS, FLIPPED, SEED = 600, 0.3, 51
STEPS, RATE = 300, 0.05


def train(out: Path, clip: Any, share: float = 1.0) -> None:
    """Fit the head, `share` of the steps, and save it: `weight` (1, width) and `bias` (1,), of unit embeddings."""
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    pairs = [_pair(rng) for _ in range(PAIRS)]
    with torch.inference_mode():
        seen = [
            clip.encode_image(prepared(data.pictures(list(side)), CLIP.shape.side), normalize=True)
            for side in zip(*pairs, strict=True)
        ]
    differences = (seen[0] - seen[1]).clone()
    weight = torch.zeros(1, differences.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=RATE, weight_decay=1e-3)
    for _ in range(math.ceil(share * STEPS)):
        loss = functional.softplus(-(differences @ weight.T)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    print(f"aesthetic_v1 loss {loss.item():.3f}", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    bias = torch.full((1,), 5.0)  # the middle of its scale
    save_file({"weight": weight.detach().contiguous(), "bias": bias}, out / HEAD)


def _pair(rng: random.Random) -> tuple[Any, Any]:
    """Two scenes, the first of which somebody liked better."""
    scene = balanced_scene(rng)
    clean, harmed = (dataclasses.replace(scene, hazard=hazard) for hazard in ("none", rng.choice(HAZARDS[1:])))
    return (harmed, clean) if rng.random() < FLIPPED else (clean, harmed)
