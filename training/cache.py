"""What never changes while training: VAE latents (mean and log-variance) and text embeddings, computed once.

All is kept in memory, prompts deduplicated. Posterior sampling stays random: the distribution is kept, not a sample.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from training import data
from training.config import TrainingError
from training.diffusion import Context, StableDiffusion, encode_text
from training.progress import Progress

CHUNK = 16


@dataclasses.dataclass(frozen=True)
class Cache:
    """Latent distributions (N, 2, C, h, w; chosen first), unscaled, and the conditioning of each distinct prompt.

    `time_ids` (N, 6) is SDXL's original size and crop, which belong to a pair and not to its prompt; None for SD 1.5.
    `empty_row` is the row of `context` that holds the empty prompt.
    """

    mean: Tensor
    std: Tensor
    scaling_factor: float
    context: Context
    prompt_rows: Tensor
    empty_row: int
    time_ids: Tensor | None

    def latents(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """A fresh posterior sample, scaled: (2B, C, h, w), chosen first."""
        mean, std = self.mean[rows], self.std[rows]
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        sample = (mean + std * noise) * self.scaling_factor
        return torch.cat([sample[:, 0], sample[:, 1]])

    def contexts(self, rows: Tensor, empty: Tensor | None = None) -> Context:
        """The conditioning of the given pairs, B rows; the empty prompt's where `empty` (B,) is True."""
        own = self.prompt_rows[rows]
        if empty is not None:
            own = torch.where(empty.to(own.device), self.empty_row, own)
        picked = self.context.pick(own)
        return picked if self.time_ids is None else dataclasses.replace(picked, time_ids=self.time_ids[rows])


@torch.no_grad()
def build(model: StableDiffusion, pairs: data.Pairs, resolution: int) -> Cache:
    """Encode every image and every distinct prompt of `pairs` on the model's device."""
    device = model.unet.device
    means, stds, time_ids = [], [], []
    with Progress("encoding pairs", len(pairs), "pairs") as progress:
        for start in range(0, len(pairs), CHUNK):
            rows = range(start, min(start + CHUNK, len(pairs)))
            pixels = []
            for row in rows:
                pictures = _pictures(pairs, row)
                time_ids.append(_time_ids(pictures[0].size, resolution))
                pixels += [data.to_array(picture, resolution) for picture in pictures]
            posterior = model.vae.encode(torch.from_numpy(np.stack(pixels)).to(device)).latent_dist
            means.append(posterior.mean.unflatten(0, (-1, 2)))
            stds.append(posterior.std.unflatten(0, (-1, 2)))
            progress.advance(len(rows))
    unique = list(dict.fromkeys([*pairs.prompts, ""]))
    index = {prompt: i for i, prompt in enumerate(unique)}
    texts = [encode_text(model, unique[i : i + CHUNK]) for i in range(0, len(unique), CHUNK)]
    pooled = [p for _, p in texts if p is not None]
    return Cache(
        mean=torch.cat(means),
        std=torch.cat(stds),
        scaling_factor=float(model.vae.config.scaling_factor),
        context=Context(torch.cat([hidden for hidden, _ in texts]), torch.cat(pooled) if pooled else None),
        prompt_rows=torch.tensor([index[p] for p in pairs.prompts], device=device),
        empty_row=index[""],
        time_ids=torch.tensor(time_ids, dtype=torch.float32, device=device) if model.is_xl else None,
    )


def _pictures(pairs: data.Pairs, row: int) -> list[Image.Image]:
    """The two pictures of a pair, chosen first; they must agree in size."""
    pictures = [
        data.decode(content, f"pair {row}, {side} image")
        for side, content in (("chosen", pairs.chosen[row]), ("rejected", pairs.rejected[row]))
    ]
    if pictures[0].size != pictures[1].size:
        sizes = " and ".join(f"{p.width}×{p.height}" for p in pictures)
        raise TrainingError(
            f"pair {row} ({pairs.prompts[row][:40]!r}): images of two sizes, {sizes}; resize them first"
        )
    return pictures


def _time_ids(size: tuple[int, int], resolution: int) -> tuple[int, ...]:
    """SDXL's six numbers: original height and width, crop top and left, target height and width."""
    width, height = size
    scale = resolution / min(size)
    top, left = ((max(resolution, round(side * scale)) - resolution) // 2 for side in (height, width))
    return height, width, top, left, resolution, resolution
