"""One optimizer step: cut into pieces it is the same step; the learning rate; what happens when memory runs out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from training import data, trainables
from training.cache import latents
from training.loop import batches
from training.loop.batches import Batches
from training.loop.distributed import Team
from training.loop.objective import Objective
from training.loop.update import Update, learning_rate
from training.losses import LOSSES
from training.models import diffusion
from training.run import main
from training.settings.training import parse

COLUMNS: dict[str, Any] = {
    "probabilities": [0.5 + i / 24 for i in range(12)],
    "weights": [1.0 + i / 10 for i in range(12)],
    "chosen_captions": [f"c {i}" for i in range(12)],
    "rejected_captions": [f"r {i}" for i in range(12)],
    "chosen_rewards": [0.5 + i / 24 for i in range(12)],
    "rejected_rewards": [0.4] * 12,
}


def updating(folder: Path, dataset: Path, *more: str) -> Update:
    """The optimizer of a run with these flags, on pairs with every column."""
    line = ["--data", str(dataset), "--model", str(folder), "--out", "x", "--batch", "6", "--precision", "fp32"]
    settings = parse([*line, "--device", "cpu", *more])
    pairs = dataclasses.replace(data.load(str(dataset)), **COLUMNS)
    torch.manual_seed(0)
    model = diffusion.load(str(folder))
    texts = batches.texts(pairs, settings)
    store = latents.open_or_build(model, pairs.images, texts, resolution=model.resolution)
    loss = LOSSES[settings.run.method]
    trainable = trainables.make(settings, model, reference=loss.needs_reference)
    loader = Batches(batches.samples(pairs, settings), store, model, settings)
    return Update(
        trainable,
        loader.get,
        Objective(settings, model.noise_scheduler, soft=loss.soft),
        settings,
        Team(torch.device("cpu")),
    )


def taken(update: Update) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    """Loss, metrics and gradients of the third step, before clipping, of a model that has left its reference."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in update.weights:
            weight += 0.05 * torch.randn(weight.shape, generator=rng)
    scored = update._gradients(2)
    measured = {name: torch.cat([part.measured[name] for part in scored]) for name in scored[0].measured}
    gradients = [weight.grad.clone() for weight in update.weights if weight.grad is not None]
    return torch.cat([part.total for part in scored]).detach(), measured, gradients


@pytest.mark.parametrize(
    "line",
    [
        ["--method", "mapo", "--uncond-share", "0.3", "--timescale", "100"],
        ["--method", "mapo", "--lora-rank", "2", "--uncond-share", "0"],
        ["--method", "dpo", "--beta", "50"],
        ["--method", "livo", "--leak-penalty", "5", "--beta", "10", "--alpha", "10"],
        ["--method", "kto", "--beta", "100"],
        ["--method", "dcpo", "--beta", "50"],
        ["--method", "capo", "--beta", "100"],
        ["--method", "rankdpo", "--beta", "50"],
        ["--method", "lpo", "--beta", "50"],
    ],
    ids=lambda line: " ".join(line[1:]),
)
def test_micro_batches_have_the_losses_and_gradients_of_the_whole(
    line: list[str], sd15_folder: Path, dataset: Path
) -> None:
    if line[1] in ("rankdpo", "lpo"):
        line = [*line, "--batch", "5"]
    whole, parts = (updating(sd15_folder, dataset, *line, "--micro-batch", size) for size in ("0", "2"))
    (loss, measured, gradients), (cut_loss, cut_measured, cut_gradients) = taken(whole), taken(parts)
    torch.testing.assert_close(cut_loss, loss, rtol=1e-4, atol=1e-6)
    for name in measured:
        torch.testing.assert_close(cut_measured[name], measured[name], rtol=1e-3, atol=1e-5)
    scale = max(float(gradient.abs().max()) for gradient in gradients)
    assert scale > 0
    for gradient, cut in zip(gradients, cut_gradients, strict=True):
        torch.testing.assert_close(cut, gradient, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("folder", ["sd15_folder", "sdxl_folder"])
@pytest.mark.parametrize("line", ["mapo", "mapo --lora-rank 2", "livo", "livo --encoder-rank 2"])
def test_every_weight_that_is_trained_gets_a_gradient(
    line: str, folder: str, dataset: Path, request: pytest.FixtureRequest
) -> None:
    """So a gradient of zeros, which stays where it is between micro-batches, and none at all are the same."""
    update = updating(request.getfixturevalue(folder), dataset, "--method", *line.split(), "--steps", "3")
    update(0)
    assert all(weight.grad is not None for weight in update.weights)


def test_memory_for_moments_and_gradients_is_taken_once(sd15_folder: Path, dataset: Path) -> None:
    update = updating(sd15_folder, dataset, "--method", "mapo", "--micro-batch", "2")
    assert update.numbers()["optimizer_step"] == 0
    kept = [tensors for name, tensors in update.state() if name != "weights"]
    assert len(kept) == 2 and not any(moment.any() for tensors in kept for moment in tensors.values())

    def places() -> list[int]:
        gradients = [weight.grad.data_ptr() for weight in update.weights if weight.grad is not None]
        state = [tensor.data_ptr() for made in update.optimizer.state.values() for tensor in made.values()]
        assert len(gradients) == len(update.weights)
        return gradients + state

    set_aside = [tensor.data_ptr() for made in update.optimizer.state.values() for tensor in made.values()]
    update(0)
    after_one = places()
    update(1)
    assert places() == after_one and after_one[len(update.weights) :] == set_aside
    assert update.numbers()["optimizer_step"] == 2


@pytest.mark.parametrize(
    "message", ["CUDA out of memory. Tried to", "DefaultCPUAllocator: can't allocate memory: you"]
)
def test_where_memory_runs_out_the_micro_batch_is_halved_and_the_batch_kept(
    message: str, sd15_folder: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, short = (updating(sd15_folder, dataset, "--method", "mapo", "--uncond-share", "0") for _ in range(2))
    step = short.trainable.step

    def limited(batch: diffusion.Batch, *, reference: bool) -> trainables.Step:
        made = step(batch, reference=reference)
        if len(batch) > 2:
            raise torch.OutOfMemoryError(message) if "CUDA" in message else RuntimeError(message)
        return made

    monkeypatch.setattr(short.trainable, "step", limited)
    (loss, _, gradients), (cut_loss, _, cut_gradients) = taken(whole), taken(short)
    assert short.micro == 2
    assert "going on with 3 pairs at a time" in capsys.readouterr().out
    torch.testing.assert_close(cut_loss, loss, rtol=1e-4, atol=1e-6)
    for gradient, cut in zip(gradients, cut_gradients, strict=True):
        torch.testing.assert_close(cut, gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()) + 1e-6)


def test_too_little_memory_for_one_pair_is_one_line(
    sd15_folder: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from training.trainables.unet import UNetTrainable

    def never(self: UNetTrainable, batch: diffusion.Batch, *, reference: bool) -> trainables.Step:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

    monkeypatch.setattr(UNetTrainable, "step", never)
    line = ["--data", str(dataset), "--model", str(sd15_folder), "--out", str(tmp_path / "out"), "--method", "sft"]
    assert main([*line, "--batch", "4", "--steps", "2", "--precision", "fp32"]) == 2
    error = capsys.readouterr().err
    assert "not enough memory for one pair" in error and error.splitlines()[-1].startswith("error: ")


def test_other_errors_are_not_taken_for_lack_of_memory(
    sd15_folder: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = updating(sd15_folder, dataset, "--method", "sft")

    def broken(batch: diffusion.Batch, *, reference: bool) -> trainables.Step:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(update.trainable, "step", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        update(0)


def test_the_average_follows_the_weights_and_is_what_is_kept(sd15_folder: Path, dataset: Path) -> None:
    update = updating(sd15_folder, dataset, "--method", "sft", "--ema", "0.6")
    expected = [weight.detach().clone() for weight in update.weights]
    for step in range(3):
        update(step)
        decay = min(0.6, (1 + step) / (10 + step))
        expected = [decay * old + (1 - decay) * w.detach() for old, w in zip(expected, update.weights, strict=True)]
    update.load_ema()
    for weight, average in zip(update.weights, expected, strict=True):
        torch.testing.assert_close(weight.detach(), average)


def test_fp16_scales_its_losses_and_not_its_steps(sd15_folder: Path, dataset: Path) -> None:
    flags = ["--method", "mapo", "--lora-rank", "2", "--uncond-share", "0"]
    half, full = (updating(sd15_folder, dataset, *flags, "--precision", name) for name in ("fp16", "fp32"))
    (_, half_norm), (_, full_norm) = half(0), full(0)
    assert half.scaler.is_enabled() and half.scaler.get_scale() > 1
    torch.testing.assert_close(half_norm, full_norm, rtol=0.05, atol=0)


def test_the_learning_rate_warms_up_and_is_then_held_or_falls_to_zero() -> None:
    line = ["--data", "x", "--out", "x", "--method", "dpo", "--steps", "110", "--warmup", "10", "--lr", "1e-3"]
    held = [learning_rate(parse([*line, "--schedule", "constant"]).optimizer, step) for step in range(110)]
    falls = [learning_rate(parse([*line, "--schedule", "cosine"]).optimizer, step) for step in range(110)]
    assert held[0] == falls[0] == pytest.approx(1e-4)
    assert held[9:] == [1e-3] * 101
    assert falls[10] == pytest.approx(1e-3)
    assert falls[60] == pytest.approx(5e-4)
    assert 0 < falls[109] < 1e-6
    assert falls[10:] == sorted(falls[10:], reverse=True)
    no_warmup = parse([*line, "--warmup", "0"]).optimizer
    assert learning_rate(no_warmup, 0) == 1e-3
