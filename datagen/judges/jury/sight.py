"""The image tower of the jury's VLM, which learns to see before anybody asks: what a scene shows, from its patches."""

from __future__ import annotations

import math
import random
from typing import Any

import torch
from torch.nn import functional

from datagen.judges.jury import data
from datagen.judges.jury.contrastive import descend, prepared
from datagen.world.grammar import VALUES
from datagen.world.train.vae import balanced_scene

STEPS, BATCH, PEAK, WARM = 200, 64, 1.5e-3, 0.15  # the share of the steps in which the rate rises


class Reader(torch.nn.Module):
    """Each attribute of a scene from the patches of an image, found as a language model does: by attention.

    A patch that is not worth attending to need not say anything, and what one says can be read off it linearly.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.key = torch.nn.LayerNorm(width), torch.nn.Linear(width, width)
        self.queries = torch.nn.Parameter(torch.randn(len(VALUES), width) * 0.02)
        self.values = torch.nn.ModuleList(torch.nn.Linear(width, len(known)) for known in VALUES.values())

    def forward(self, patches: torch.Tensor) -> list[torch.Tensor]:
        """(B, patches, width) → for each attribute (B, its values) logits."""
        seen = self.norm(patches)
        looks = (self.key(seen) @ self.queries.T / seen.shape[-1] ** 0.5).softmax(1)
        found = torch.einsum("bpw,bpa->baw", seen, looks)
        return [value(found[:, place]) for place, value in enumerate(self.values)]


def train(tower: Any, side: int, rng: random.Random, share: float = 1.0) -> None:
    """Train transformers' CLIPVisionModel in place, `share` of the steps; torch's generator draws the rest."""
    steps = math.ceil(share * STEPS)
    reader = Reader(tower.config.hidden_size)
    both = torch.nn.ModuleList([tower, reader])
    optimizer = torch.optim.AdamW(both.parameters(), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK, total_steps=steps + 1, pct_start=WARM, cycle_momentum=False
    )
    for step in range(steps):
        scenes = [balanced_scene(rng) for _ in range(BATCH)]
        patches = tower(pixel_values=prepared(data.pictures(scenes), side)).last_hidden_state[:, 1:]
        losses = [
            functional.cross_entropy(logits, torch.tensor([VALUES[name].index(getattr(one, name)) for one in scenes]))
            for name, logits in zip(VALUES, reader(patches), strict=True)
        ]
        loss = torch.stack(losses).sum()
        descend(optimizer, loss, both)
        schedule.step()
        if step % 50 == 0:
            print(f"vlm sees {step:5d} loss {loss.item():.3f}", flush=True)
