"""What gets gradients, what the reference is, and that training and inference make the same context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from training import cache, data, diffusion
from training.config import TrainingError, parse
from training.inference import ValueGuide, mask_empty_slots, spread, use_probability
from training.methods.livo import LivoMethod, attach, value_tokens
from training.methods.unet import UNetMethod
from training.run import draw


def make_batch(model: diffusion.StableDiffusion, dataset: Path, size: int = 4) -> diffusion.Batch:
    pairs = data.load(str(dataset))
    store = cache.build(model, pairs, model.resolution)
    settings = parse(["--data", str(dataset), "--method", "livo", "--out", "x", "--batch", str(size)])
    return draw(pairs, store, model, settings, step=0)


def gradients(module: Any) -> list[bool]:
    return [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters()]


def test_pairs_share_noise_and_timestep(sd15_folder: Path, dataset: Path) -> None:
    batch = make_batch(diffusion.load(str(sd15_folder)), dataset)
    noise_chosen, noise_rejected = batch.target.chunk(2)
    assert torch.equal(noise_chosen, noise_rejected)
    assert torch.equal(*batch.timesteps.chunk(2))
    assert not torch.equal(*batch.latents.chunk(2))


def test_livo_trains_the_value_encoder_alone(sd15_folder: Path, dataset: Path) -> None:
    model = diffusion.load(str(sd15_folder))
    method = LivoMethod(model, keep=10.0)
    step = method.step(make_batch(model, dataset), reference=True)
    assert step.penalty is not None and step.penalty.shape == (4,) and bool((step.penalty > 0).all())
    (step.errors.chosen - step.errors.rejected + step.penalty).sum().backward()
    assert sum(gradients(method.encoder)) > 10
    assert step.errors.ref_chosen is not None and not step.errors.ref_chosen.requires_grad
    for frozen in (model.unet, model.vae, model.text_encoders[0]):
        assert not any(gradients(frozen))


def test_livo_step_equals_the_four_call_formulation(sd15_folder: Path, dataset: Path) -> None:
    model = diffusion.load(str(sd15_folder))
    method = LivoMethod(model, keep=0.0)
    batch = make_batch(model, dataset)
    errors = method.step(batch, reference=True).errors
    tokens = value_tokens(method.encoder, model.tokenizers[0], batch.principles, batch.prompts)
    steered = diffusion.Context(attach(tokens, batch.context.hidden))
    for side, made, reference in ((0, errors.chosen, errors.ref_chosen), (1, errors.rejected, errors.ref_rejected)):
        latents, target = batch.latents.chunk(2)[side], batch.target.chunk(2)[side]
        timesteps = batch.timesteps.chunk(2)[side]
        for context, ours in ((steered, made), (batch.context, reference)):
            alone = diffusion.squared_error(diffusion.predict(model.unet, latents, timesteps, context), target)
            assert ours is not None
            torch.testing.assert_close(ours, alone, rtol=1e-5, atol=1e-6)


def test_keep_needs_another_principle(sd15_folder: Path, dataset: Path) -> None:
    model = diffusion.load(str(sd15_folder))
    batch = make_batch(model, dataset)
    assert all(other not in (None, own) for own, other in zip(batch.principles, batch.other_principles, strict=True))
    alone = diffusion.Batch(**{**batch.__dict__, "other_principles": [None] * 4})
    assert LivoMethod(model, keep=10.0).step(alone, reference=True).penalty is None


def test_livo_refuses_sdxl(sdxl_folder: Path) -> None:
    with pytest.raises(TrainingError, match="SDXL"):
        LivoMethod(diffusion.load(str(sdxl_folder)), keep=0.0)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_unet_reference_is_the_model_before_training(
    family: str, rank: int, dataset: Path, request: pytest.FixtureRequest
) -> None:
    model = diffusion.load(str(request.getfixturevalue(f"{family}_folder")))
    batch = make_batch(model, dataset)
    with torch.no_grad():
        before = diffusion.predict(model.unet, batch.latents, batch.timesteps, batch.context.doubled())
    method = UNetMethod(model, lora_rank=rank, reference=True)
    with torch.no_grad():
        for weight in method.parameters():
            weight.add_(0.05)
    errors = method.step(batch, reference=True).errors
    expected = diffusion.squared_error(before, batch.target).chunk(2)
    torch.testing.assert_close((errors.ref_chosen, errors.ref_rejected), expected)
    assert not torch.allclose(errors.chosen, expected[0])
    errors.chosen.sum().backward()
    assert sum(p.grad is not None for p in method.parameters()) == len(method.parameters())
    assert not any(gradients(model.vae))
    if rank:
        assert sum(p.numel() for p in method.parameters()) < 0.2 * sum(p.numel() for p in model.unet.parameters())


def pipeline(folder: Path) -> Any:
    from diffusers import StableDiffusionPipeline

    kind: Any = StableDiffusionPipeline
    pipe = kind.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def images(pipe: Any, **words: Any) -> torch.Tensor:
    count = len(words["prompt"] if "prompt" in words else words["prompt_embeds"])
    generators = [torch.Generator().manual_seed(i) for i in range(count)]
    made = pipe(**words, generator=generators, num_inference_steps=3, guidance_scale=4.0, output_type="np").images
    return torch.from_numpy(made)


@pytest.fixture
def value_encoder(sd15_folder: Path, tmp_path: Path) -> Path:
    """A value encoder with weights unlike the text encoder's."""
    torch.manual_seed(1)
    method = LivoMethod(diffusion.load(str(sd15_folder)), keep=0.0)
    with torch.no_grad():
        for weight in method.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    method.save(tmp_path)
    return tmp_path / "value_encoder"


PROMPTS = ["a chef in park 1", "a doctor", "a long prompt " + "word " * 200]


def test_without_principles_images_are_bit_identical(sd15_folder: Path, value_encoder: Path) -> None:
    pipe = pipeline(sd15_folder)
    base = images(pipe, prompt=PROMPTS)
    guide = ValueGuide(pipe, value_encoder)
    assert torch.equal(images(pipe, **guide(PROMPTS, [None] * 3)), base)
    assert torch.equal(images(pipe, prompt=PROMPTS), base)


def test_a_principle_changes_its_own_rows_only(sd15_folder: Path, value_encoder: Path) -> None:
    pipe = pipeline(sd15_folder)
    base = images(pipe, prompt=PROMPTS)
    guide = ValueGuide(pipe, value_encoder)
    mixed = images(pipe, **guide(PROMPTS, [None, "cracks considered inappropriate", None]))
    torch.testing.assert_close(mixed[[0, 2]], base[[0, 2]], rtol=0, atol=1e-4)
    assert not torch.allclose(mixed[1], base[1], atol=1e-3)
    alone = images(pipe, **guide(PROMPTS[:1], ["cracks considered inappropriate"]))
    assert alone.shape == (1, 64, 64, 3)


def test_an_empty_slot_is_exactly_absent(sd15_folder: Path) -> None:
    unet = diffusion.load(str(sd15_folder)).unet
    hidden = torch.randn(2, 77, 32)
    padded = attach(torch.zeros(2, 32), hidden)
    latents, timesteps = torch.randn(2, 4, 8, 8), torch.tensor([3, 900])
    with torch.no_grad():
        plain = diffusion.predict(unet, latents, timesteps, diffusion.Context(hidden))
        unet.register_forward_pre_hook(mask_empty_slots, with_kwargs=True)
        masked = diffusion.predict(unet, latents, timesteps, diffusion.Context(padded))
    torch.testing.assert_close(masked, plain, rtol=1e-5, atol=1e-6)


def test_training_and_inference_make_the_same_context(sd15_folder: Path, value_encoder: Path) -> None:
    principles = ["cracks considered inappropriate"] * 3
    guide = ValueGuide(pipeline(sd15_folder), value_encoder)
    model = diffusion.load(str(sd15_folder))
    with torch.no_grad():
        tokens = value_tokens(guide.encoder, model.tokenizers[0], principles, PROMPTS)
        trained = attach(tokens, diffusion.encode_text(model, PROMPTS)[0])
    made = guide(PROMPTS, principles)
    assert torch.equal(made["prompt_embeds"], trained)
    assert made["negative_prompt_embeds"].shape == trained.shape
    guide.close()


def test_guide_refuses_what_does_not_fit(sd15_folder: Path, tmp_path: Path, value_encoder: Path) -> None:
    pipe = pipeline(sd15_folder)
    with pytest.raises(TrainingError, match="no value encoder"):
        ValueGuide(pipe, tmp_path / "nothing")
    with pytest.raises(TrainingError, match="2 prompts but 1"):
        ValueGuide(pipe, value_encoder)(["a", "b"], [None])


def test_use_probability_balances_two_groups() -> None:
    assert use_probability(0.0) == 0.5
    assert use_probability(0.4) == pytest.approx(1 / 6)
    assert use_probability(0.5) == 0.0
    assert use_probability(0.1, token_share=0.6) == pytest.approx(0.8)
    assert use_probability(0.3, token_share=0.2) == 0.0
    assert sum(spread(0.25, 40, seed=3)) == 10
    assert all(spread(1.0, 7, seed=0)) and not any(spread(0.0, 7, seed=0))
