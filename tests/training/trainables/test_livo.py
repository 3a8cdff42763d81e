"""The step against the plain formulation, who gets gradients, other principles, LoRA, parts of a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datagen.weights.value_pipeline import value_text, value_tokens
from training.losses.livo_paper import livo
from training.models import diffusion
from training.models.diffusion import Batch, Context, StableDiffusion, predict, squared_error
from training.trainables.livo import LivoTrainable, Slots

MakeBatch = Callable[..., Batch]
OWN = ("cracks considered inappropriate", "smoke considered inappropriate")  # of the first pair and the second


def norms(module: Any) -> list[float]:
    return [0.0 if p.grad is None else float(p.grad.abs().sum()) for p in module.parameters()]


def whole_row(encoders: list[Any], tokenizers: list[Any], text: str) -> torch.Tensor:
    """The value token as the docstring says it, from the full padded text, one encoder at a time."""
    parts = []
    for encoder, tokenizer in zip(encoders, tokenizers, strict=True):
        ids = diffusion.tokenize(tokenizer, [text])
        end = ids[0].tolist().index(tokenizer.eos_token_id)
        output = encoder(ids, output_hidden_states=True)
        hidden = output.hidden_states[-2] if len(encoders) == 2 else output.last_hidden_state
        parts.append(hidden[0, end])
    return torch.cat(parts)


def four_calls(trainable: LivoTrainable, batch: Batch) -> dict[str, torch.Tensor]:
    """LiVO as released: winner and loser, with and without the token, in a call each; the token pair by pair."""
    model = trainable.model
    texts = [value_text(v, p) for v, p in zip(batch.principles, batch.prompts, strict=True)]
    tokens = torch.stack([whole_row(trainable.encoders, model.tokenizers, text) for text in texts])
    context = batch.context
    steered = Context(torch.cat([tokens[:, None], context.hidden], dim=1), context.pooled, context.time_ids)
    errors = {}
    for side, name in enumerate(("chosen", "rejected")):
        latents, target, times = (t.chunk(2)[side] for t in (batch.latents, batch.target, batch.timesteps))
        errors[name] = squared_error(predict(model.unet, latents, times, steered), target)
        with torch.no_grad():
            errors[f"ref_{name}"] = squared_error(predict(model.unet, latents, times, context), target)
    return errors


def test_step_equals_the_four_call_formulation(model: StableDiffusion, make_batch: MakeBatch) -> None:
    options = {"beta": 1000.0, "alpha": 500.0, "gamma1": 1000.0, "gamma2": 1000.0}  # both hinges open: all gradients
    trainable, batch = LivoTrainable(model, leak_penalty=0.0), make_batch(model)
    expected = four_calls(trainable, batch)
    theirs = livo(type(made := trainable.step(batch, reference=True).errors)(**expected), **options).loss.mean()
    ours = livo(made, **options).loss.mean()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    for name, value in expected.items():
        torch.testing.assert_close(getattr(made, name), value, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(loss, trainable.parameters()) for loss in (ours, theirs)]
    scale = max(float(g.abs().max()) for g in gradients[1])
    for one, other in zip(*gradients, strict=True):
        assert float((one - other).abs().max()) <= 1e-4 * scale


def test_the_token_is_the_pooled_output_on_sd15(sd15_folder: Path) -> None:
    model = diffusion.load(str(sd15_folder))
    principles, prompts = ["a b", "c"], ["d", "e " * 90]
    made = value_tokens(model.text_encoders, model.tokenizers, principles, prompts)
    ids = diffusion.tokenize(model.tokenizers[0], ["a b, d", "c, " + "e " * 90])
    torch.testing.assert_close(made, model.text_encoders[0](ids)[1], rtol=1e-5, atol=1e-6)


def test_the_token_is_as_wide_as_the_context(model: StableDiffusion) -> None:
    tokens = value_tokens(model.text_encoders, model.tokenizers, ["a"], ["b"])
    assert tokens.shape == (1, model.unet.config.cross_attention_dim)


@pytest.mark.parametrize("rank", [0, 2])
def test_the_value_encoder_alone_is_trained(model: StableDiffusion, make_batch: MakeBatch, rank: int) -> None:
    trainable = LivoTrainable(model, leak_penalty=10.0, rank=rank)
    step = trainable.step(make_batch(model), reference=True)
    assert step.penalty is not None and step.penalty.shape == (4,) and bool((step.penalty > 0).all())
    assert step.errors.ref_chosen is not None and not step.errors.ref_chosen.requires_grad
    (step.errors.chosen - step.errors.rejected + step.penalty).sum().backward()
    assert all(weight.grad is not None for weight in trainable.parameters())
    for frozen in (model.unet, model.vae, *model.text_encoders):
        assert not any(norms(frozen))
    with torch.no_grad():
        for weight in trainable.parameters():
            weight.add_(1.0)
    again = trainable.step(make_batch(model), reference=True).errors
    assert torch.equal(again.reference()[0], step.errors.ref_chosen)


@pytest.mark.parametrize("rank", [0, 2])
def test_checkpointing_changes_nothing(model: StableDiffusion, make_batch: MakeBatch, rank: int) -> None:
    batch, gradients = make_batch(model), []
    for checkpointing in (False, True):
        torch.manual_seed(3)
        trainable = LivoTrainable(model, leak_penalty=10.0, rank=rank, checkpointing=checkpointing)
        step = trainable.step(batch, reference=True)
        loss = (step.errors.chosen - step.errors.rejected + step.penalty).sum()
        gradients.append(torch.autograd.grad(loss, trainable.parameters()))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_parts_of_a_batch_add_up(model: StableDiffusion, make_batch: MakeBatch) -> None:
    other_principles = [("b",), ("a",), (), ("smoke considered inappropriate", "a", "b")]
    trainable, batch = LivoTrainable(model, leak_penalty=10.0), make_batch(model, other_principles=other_principles)
    whole = trainable.step(batch, reference=True)
    parts = [trainable.step(batch.part(rows), reference=True) for rows in (slice(0, 1), slice(1, 4))]
    for name in ("chosen", "rejected", "ref_chosen", "ref_rejected"):
        joined = torch.cat([getattr(p.errors, name) for p in parts])
        torch.testing.assert_close(joined, getattr(whole.errors, name), rtol=1e-5, atol=1e-6)
    assert whole.penalty is not None
    torch.testing.assert_close(torch.cat([p.penalty for p in parts]), whole.penalty, rtol=1e-4, atol=1e-6)


def predicted(model: StableDiffusion, batch: Batch, row: int, tokens: Tensor) -> Tensor:
    """What the U-Net makes of one image of the batch with the given tokens (K, D) before its prompt."""
    plain = batch.image_context().pick(torch.tensor([row]))
    steered = Slots.filled(tokens, [list(range(len(tokens)))]).prepend_to(plain)
    return predict(model.unet, batch.latents[row : row + 1], batch.timesteps[row : row + 1], steered)


def test_the_penalty_is_what_another_token_does_to_the_rejected_image(
    model: StableDiffusion, make_batch: MakeBatch
) -> None:
    batch = make_batch(model, 2, other_principles=[("x",), ()], timesteps=torch.tensor([900, 11, 900, 11]))
    trainable = LivoTrainable(model, leak_penalty=3.0)
    with torch.no_grad():
        penalty = trainable.step(batch, reference=True).penalty
        token = value_tokens(trainable.encoders, model.tokenizers, ["x"], batch.prompts[:1])
        one, two = (predicted(model, batch, 2, tokens) for tokens in (token, token[:0]))
    assert penalty is not None
    expected = 3.0 * ((one - two).double().square().mean() + 1e-8).sqrt()
    torch.testing.assert_close(penalty[0], expected, rtol=1e-4, atol=1e-9)
    assert float(penalty[1]) == 0
    assert LivoTrainable(model, leak_penalty=0.0).step(batch, reference=True).penalty is None


@pytest.mark.parametrize("others", [("x",), ("x", "y"), ("y", "x")])
def test_beside_the_own_token_others_must_not_change_what_it_does(
    model: StableDiffusion, make_batch: MakeBatch, others: tuple[str, ...]
) -> None:
    batch = make_batch(model, 2, other_principles=[(), (OWN[1], *others)], timesteps=torch.tensor([900, 11, 900, 11]))
    alone = make_batch(model, 2, other_principles=[(), ()], timesteps=torch.tensor([900, 11, 900, 11]))
    trainable = LivoTrainable(model, leak_penalty=3.0)
    with torch.no_grad():
        step, without = trainable.step(batch, reference=True), trainable.step(alone, reference=True)
        tokens = value_tokens(
            trainable.encoders, model.tokenizers, [OWN[1], *others], batch.prompts[1:] * (1 + len(others))
        )
        one, two = (predicted(model, batch, 3, shown) for shown in (tokens, tokens[:1]))
    assert step.penalty is not None and float(step.penalty[0]) == 0
    expected = 3.0 * ((one - two).double().square().mean() + 1e-8).sqrt()
    torch.testing.assert_close(step.penalty[1], expected, rtol=1e-3, atol=1e-9)
    for name in ("chosen", "rejected", "ref_chosen", "ref_rejected"):
        torch.testing.assert_close(getattr(step.errors, name), getattr(without.errors, name), rtol=1e-5, atol=1e-6)


def test_what_the_own_token_does_alone_is_not_taught_by_its_company(
    sd15_folder: Path, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = diffusion.load(str(sd15_folder))
    trainable, batch = LivoTrainable(model, leak_penalty=3.0), make_batch(model, 1, other_principles=[(OWN[0], "x")])
    wanted: list[Tensor] = []
    real = trainable._drift
    monkeypatch.setattr(trainable, "_drift", lambda steered, target: (wanted.append(target), real(steered, target))[1])
    penalty = trainable.step(batch, reference=True).penalty
    assert penalty is not None and penalty.requires_grad and not wanted[0].requires_grad


def test_without_reference_there_is_none(sd15_folder: Path, make_batch: MakeBatch) -> None:
    model = diffusion.load(str(sd15_folder))
    made = LivoTrainable(model, leak_penalty=0.0).step(make_batch(model), reference=False).errors
    assert made.ref_chosen is None and made.chosen.requires_grad


def test_empty_places_are_exactly_absent(model: StableDiffusion, make_batch: MakeBatch) -> None:
    batch = make_batch(model, 2)
    context = batch.image_context().pick(torch.tensor([0, 1]))
    tokens = torch.randn(1, context.hidden.shape[-1])
    slots = Slots.filled(tokens, [[], [0]])
    assert slots.tokens.shape[:2] == (2, 1) and slots.taken.tolist() == [[False], [True]]
    with torch.no_grad():
        plain = predict(model.unet, batch.latents[:2], batch.timesteps[:2], context)
        made = predict(model.unet, batch.latents[:2], batch.timesteps[:2], slots.prepend_to(context))
    torch.testing.assert_close(made[0], plain[0], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(made[1], plain[1], atol=1e-4)
