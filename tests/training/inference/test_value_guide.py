"""Values for stock pipelines: what has none is bit-identical to the base, what has some is as in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from datagen.weights.value_pipeline import prepend, value_tokens
from training.errors import TrainingError
from training.inference.value_guide import ValueGuide, spread, use_probability
from training.models import diffusion
from training.models.diffusion import Context, predict
from training.trainables.livo import LivoTrainable

CRACKS, SMOKE = "cracks considered inappropriate", "smoke considered inappropriate"
PROMPTS = ["a chef in park 1", "a doctor", "a long prompt " + "word " * 200]


@pytest.fixture(params=["sd15", "sdxl"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(f"{request.param}_folder")
    return found


@pytest.fixture(params=[0, 2], ids=["full", "light"])
def trained(folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A value encoder with weights unlike the text encoder's."""
    torch.manual_seed(1)
    trainable = LivoTrainable(diffusion.load(str(folder)), leak_penalty=0.0, rank=request.param)
    with torch.no_grad():
        for weight in trainable.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    trainable.save(tmp_path)
    return tmp_path


def pipeline(folder: Path) -> Any:
    import diffusers

    kind: Any = diffusers.DiffusionPipeline
    pipe = kind.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def images(pipe: Any, guidance: float = 4.0, **words: Any) -> torch.Tensor:
    count = len(words["prompt"] if "prompt" in words else words["prompt_embeds"])
    made = pipe(
        **words,
        generator=[torch.Generator().manual_seed(i) for i in range(count)],
        num_inference_steps=2,
        guidance_scale=guidance,
        height=64,
        width=64,
        output_type="latent",
    ).images
    assert isinstance(made, torch.Tensor)
    return made


def test_whatever_has_no_value_is_bit_identical_to_the_base(folder: Path, trained: Path) -> None:
    pipe = pipeline(folder)
    base = images(pipe, prompt=PROMPTS)
    guide = ValueGuide(pipe, trained)
    assert torch.equal(images(pipe, **guide(PROMPTS, [None, (), []])), base)
    assert torch.equal(images(pipe, prompt=PROMPTS), base)
    mixed = images(pipe, **guide(PROMPTS, [None, CRACKS, (CRACKS, SMOKE)]))
    assert torch.equal(mixed[0], base[0])
    assert not torch.allclose(mixed[1], base[1], atol=1e-4)
    assert not torch.allclose(mixed[2], base[2], atol=1e-4)
    guide.close()
    assert torch.equal(images(pipe, prompt=PROMPTS), base)


def test_without_guidance_and_with_negative_prompts(folder: Path, trained: Path) -> None:
    pipe = pipeline(folder)
    negative = ["ugly", "", "grey"]
    base = images(pipe, guidance=1.0, prompt=PROMPTS), images(pipe, prompt=PROMPTS, negative_prompt=negative)
    guide = ValueGuide(pipe, trained)
    words = guide(PROMPTS, [CRACKS, None, None], negative)
    assert words["prompt_embeds"].shape == words["negative_prompt_embeds"].shape
    for plain, made in zip(base, (images(pipe, guidance=1.0, **words), images(pipe, **words)), strict=True):
        assert torch.equal(made[1:], plain[1:])
        assert not torch.allclose(made[0], plain[0], atol=1e-4)


def test_order_and_company_make_no_difference(folder: Path, trained: Path) -> None:
    pipe = pipeline(folder)
    guide = ValueGuide(pipe, trained)
    words = guide(PROMPTS, [CRACKS, (SMOKE, CRACKS), None])
    again = guide(PROMPTS, [[CRACKS], (CRACKS, SMOKE, CRACKS), ()])
    assert all(torch.equal(words[name], again[name]) for name in words)
    alone = images(pipe, **guide(PROMPTS[:1], [CRACKS]))
    torch.testing.assert_close(images(pipe, **words)[:1], alone, rtol=1e-4, atol=1e-4)


def test_the_u_net_sees_what_it_saw_in_training(folder: Path, trained: Path) -> None:
    pipe, model = pipeline(folder), diffusion.load(str(folder))
    guide = ValueGuide(pipe, trained)
    with torch.no_grad():
        tokens = [value_tokens(guide.encoders, model.tokenizers, [v] * 3, PROMPTS) for v in (CRACKS, SMOKE)]
        hidden, pooled = diffusion.encode_text(model, PROMPTS)
        slots = torch.stack(tokens, dim=1)
        made = guide(PROMPTS, [(CRACKS, SMOKE)] * 3)
        assert torch.equal(made["prompt_embeds"], prepend(slots, hidden))
        time_ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]]).repeat(3, 1) if model.is_xl else None
        latents, timesteps = torch.randn(3, 4, 8, 8), torch.tensor([3, 400, 900])
        trained_on = predict(model.unet, latents, timesteps, Context(prepend(slots, hidden), pooled, time_ids))
        shown = predict(pipe.unet, latents, timesteps, Context(made["prompt_embeds"], pooled, time_ids))
    torch.testing.assert_close(shown, trained_on, rtol=1e-5, atol=1e-5)


def test_longer_prompts_of_another_library_pass(sd15_folder: Path, tmp_path: Path) -> None:
    pipe = pipeline(sd15_folder)
    LivoTrainable(diffusion.load(str(sd15_folder)), leak_penalty=0.0).save(tmp_path)
    torch.manual_seed(2)
    long = {"prompt_embeds": torch.randn(1, 154, 32), "negative_prompt_embeds": torch.randn(1, 154, 32)}
    base = images(pipe, **long)
    guide = ValueGuide(pipe, tmp_path)
    guide(["a"], [CRACKS])
    assert torch.equal(images(pipe, **long), base)


def test_guide_refuses_what_does_not_fit(sd15_folder: Path, tmp_path: Path) -> None:
    pipe = pipeline(sd15_folder)
    with pytest.raises(TrainingError, match="no value encoder"):
        ValueGuide(pipe, tmp_path / "nothing")
    LivoTrainable(diffusion.load(str(sd15_folder)), leak_penalty=0.0).save(tmp_path)
    with pytest.raises(TrainingError, match="2 prompts but 1 principles;"):
        ValueGuide(pipe, tmp_path)(["a", "b"], [None])
    with pytest.raises(TrainingError, match="1 principles and 2 negative prompts;"):
        ValueGuide(pipe, tmp_path)(["a"], [None], ["b", "c"])


def test_use_probability_balances_two_groups() -> None:
    assert use_probability(0.0) == 0.5
    assert use_probability(0.4) == pytest.approx(1 / 6)
    assert use_probability(0.5) == 0.0
    assert use_probability(0.1, token_share=0.6) == pytest.approx(0.8)
    assert use_probability(0.3, token_share=0.2) == 0.0
    assert sum(spread(0.25, 40, seed=3)) == 10
    assert all(spread(1.0, 7, seed=0)) and not any(spread(0.0, 7, seed=0))


@pytest.mark.parametrize("base", [0.0, 0.2, 0.45])
@pytest.mark.parametrize("token", [0.6, 1.0])
def test_the_mixture_comes_out_even(base: float, token: float) -> None:
    use = use_probability(base, token)
    assert use * token + (1 - use) * base == pytest.approx(0.5)
