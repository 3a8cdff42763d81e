"""Trains the small open_clip model on renders and their captions, with the symmetric contrastive loss of CLIP.

It shares no weights with the generator's text encoder, so it can err differently: a judge, not an echo.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch.nn import functional

from datagen.world import architecture
from datagen.world.captions import caption
from datagen.world.grammar import ATTRIBUTES
from datagen.world.render import render_array
from datagen.world.train import tokenizer as world_tokenizer
from datagen.world.train.vae import balanced_scene, learning_rate

NOISE = 0.06  # of the pixel range: generated pictures are never as clean as renders


def _stated(rng: random.Random) -> frozenset[str]:
    """Mostly full captions: the less a caption states, the more other pictures of the batch it fits too."""
    stated = {name for name in ATTRIBUTES if rng.random() < 0.8}
    return frozenset(stated | {"count"} if "thing" in stated else stated - {"colour", "count"})


def batch(rng: random.Random, size: int) -> tuple[torch.Tensor, list[str]]:
    """Noisy pixels (B, 3, 64, 64) in [-1, 1] and a caption each."""
    scenes = [balanced_scene(rng) for _ in range(size)]
    pixels = np.stack([render_array(scene) for scene in scenes])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    images = images + NOISE * 2 * torch.rand(size, 1, 1, 1) * torch.randn_like(images)
    return images, [caption(scene, _stated(rng), rng) for scene in scenes]


def train(out: Path, steps: int = 1_600, batch_size: int = 96, peak: float = 1e-3, seed: int = 0) -> None:
    """Train from random weights; saves the open_clip local-dir folder `out` (config, safetensors, tokenizer)."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = world_tokenizer.build(out)
    config = architecture.clip_config(len(tokenizer))
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    model = open_clip.model.CLIP(**config["model_cfg"])
    context = config["model_cfg"]["text_cfg"]["context_length"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.02)
    started = time.time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        images, captions = batch(rng, batch_size)
        tokens = tokenizer(captions, padding="max_length", truncation=True, max_length=context, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            seen, read = (
                model.encode_image(images, normalize=True),
                model.encode_text(tokens.input_ids, normalize=True),
            )
        logits = model.logit_scale.exp().clamp(max=100) * seen.float() @ read.float().T
        target = torch.arange(batch_size)
        loss = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            hit = (logits.argmax(1) == target).float().mean().item()
            print(f"clip {step:5d} loss {loss.item():.3f} top-1 {hit:.2f} {time.time() - started:5.0f}s", flush=True)
        if step % 400 == 399 or step == steps - 1:
            state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
            save_file(state, out / "open_clip_model.safetensors")
