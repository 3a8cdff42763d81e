"""What CLIP-Align is fed: the clean image that a prediction amounts to, seen by CLIP, with gradients back to it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from training import data
from training.cache import latents as cache
from training.loop import batches
from training.loop.batches import Batches, TrainingBatch
from training.loop.clip_similarity import Similarity
from training.models import diffusion
from training.models.noise import add_noise
from training.settings.training import parse


@pytest.fixture
def parts(
    sd15_folder: Path, clip_folder: Path, dataset: Path
) -> tuple[diffusion.StableDiffusion, Similarity, TrainingBatch]:
    line = ["--data", str(dataset), "--model", str(sd15_folder), "--out", "x", "--batch", "4"]
    settings = parse([*line, "--method", "clip_align", "--clip", str(clip_folder)])
    captions = {"chosen_captions": [f"c {i}" for i in range(12)], "rejected_captions": [f"r {i}" for i in range(12)]}
    pairs = dataclasses.replace(data.load(str(dataset)), **captions)
    model = diffusion.load(str(sd15_folder))
    store = cache.open_or_build(model, pairs.images, batches.texts(pairs, settings), resolution=model.resolution)
    return model, Similarity(model, pairs, settings), Batches(pairs, store, model, settings).get(0, range(4))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_is_the_clean_image(
    kind: str, parts: tuple[diffusion.StableDiffusion, Similarity, TrainingBatch]
) -> None:
    model, similarity, batch = parts
    assert batch.clean is not None
    model.noise_scheduler.register_to_config(prediction_type=kind)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(batch.clean.shape, generator=generator)
    latents, target = add_noise(model.noise_scheduler, batch.clean, noise, batch.pairs.timesteps)
    batch = dataclasses.replace(batch, pairs=dataclasses.replace(batch.pairs, latents=latents, target=target))
    similarity.caught = target.clone().requires_grad_(True)
    perfect = similarity(batch)
    # Solved for by hand: a prediction that is off by d makes the clean latents off by -factor · d.
    kept = model.noise_scheduler.alphas_cumprod[batch.pairs.timesteps[:4]].view(-1, 1, 1, 1)
    off = 0.1 * torch.randn(target.shape, generator=generator)
    predicted = (target + off)[:4]
    clean = (
        (latents[:4] - (1 - kept).sqrt() * predicted) / kept.sqrt()
        if kind == "epsilon"
        else kept.sqrt() * latents[:4] - (1 - kept).sqrt() * predicted
    )
    similarity.caught = target + off
    missed = similarity(batch)
    similarity.caught = target
    solved = similarity(dataclasses.replace(batch, clean=torch.cat([clean, clean])))
    torch.testing.assert_close(missed.aligned, solved.aligned, rtol=1e-3, atol=1e-4)
    assert not torch.equal(perfect.aligned, perfect.violating)


def test_gradients_reach_the_prediction_of_the_chosen_image(
    parts: tuple[diffusion.StableDiffusion, Similarity, TrainingBatch],
) -> None:
    _, similarity, batch = parts
    prediction = batch.pairs.target.clone().requires_grad_(True)
    similarity.caught = prediction
    similarity(batch).aligned.sum().backward()
    assert prediction.grad is not None
    assert prediction.grad[:4].abs().sum() > 0 and prediction.grad[4:].abs().sum() == 0
