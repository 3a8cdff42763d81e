"""A LLaVA at random in a folder as they are published, for what asks one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datagen.judges.networks import llava

CAPTIONS = ["a red chair in the park", "a wizard and a dog", "Does this image show a dog? Answer with yes or no."] * 4
SIZES = [(64, 64), (96, 64), (50, 90), (130, 130), (64, 64), (20, 300)]


def save(folder: Path) -> Path:
    """Weights so large that some images and questions get other answers than others."""
    torch.manual_seed(0)
    model, processor = llava.build(llava.tokenizer(CAPTIONS, 400), llava.Size(width=32, layers=2))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "embed" not in name:
                weight.mul_(4)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def noise(count: int) -> list[Image.Image]:
    """Images of several sizes."""
    rng = np.random.default_rng(0)
    sizes = [SIZES[place % len(SIZES)] for place in range(count)]
    return [Image.fromarray(rng.integers(0, 256, (high, wide, 3), dtype=np.uint8)) for wide, high in sizes]
