"""What is saved loads again, light or full; the light one is light; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from misfits import Change, prefixed, rewrite, without

from datagen.weights import value_pipeline
from datagen.weights.value_pipeline import DoesNotFit, value_tokens
from training.models import diffusion
from training.models.diffusion import StableDiffusion
from training.trainables import value_encoder
from training.trainables.livo import LivoTrainable


def shaken(model: StableDiffusion, rank: int) -> LivoTrainable:
    """A method whose weights are unlike those it began with."""
    trainable = LivoTrainable(model, leak_penalty=0.0, rank=rank)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in trainable.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return trainable


@pytest.mark.parametrize("rank", [0, 2])
def test_saved_and_loaded_tokens_are_equal(model: StableDiffusion, rank: int, tmp_path: Path) -> None:
    trainable = shaken(model, rank)
    trainable.save(tmp_path)
    loaded = value_pipeline.load(tmp_path, model.text_encoders)
    texts = (["a principle", "b"], ["a prompt", "c"])
    with torch.no_grad():
        made, again = (value_tokens(e, model.tokenizers, *texts) for e in (trainable.encoders, loaded))
        before = value_tokens(model.text_encoders, model.tokenizers, *texts)
    assert torch.equal(made, again)
    assert not torch.allclose(made, before, atol=1e-3)
    names = ["value_encoder", "value_encoder_2"][: len(model.text_encoders)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipeline.py", *names]
    assert not list(tmp_path.rglob("*.bin"))


def test_lora_starts_as_the_text_encoder_and_shares_it(model: StableDiffusion) -> None:
    encoders = value_encoder.make(model.text_encoders, rank=2)
    with torch.no_grad():
        made, plain = (value_tokens(e, model.tokenizers, ["a"], ["b"]) for e in (encoders, model.text_encoders))
    torch.testing.assert_close(made, plain)
    frozen = {p.data_ptr() for encoder in model.text_encoders for p in encoder.parameters()}
    for encoder in encoders:
        for weight in encoder.parameters():
            assert (weight.data_ptr() in frozen) != weight.requires_grad
    assert not any("lora" in name for encoder in model.text_encoders for name, _ in encoder.named_modules())


def test_the_light_encoder_is_light_at_the_real_shape() -> None:
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel

    unet: Any = diffusers.UNet2DConditionModel
    vae: Any = diffusers.AutoencoderKL
    widths = (128, 256, 512, 512)
    with torch.device("meta"):
        text = CLIPTextModel(
            CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        )
        parts = [
            text,
            unet(cross_attention_dim=768, attention_head_dim=8, sample_size=64),
            vae(
                block_out_channels=widths,
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=2,
            ),
        ]
        light = value_encoder.make([text], rank=64)[0]
    whole = sum(p.numel() for part in parts for p in part.parameters())
    trained = sum(p.numel() for p in light.parameters() if p.requires_grad)
    assert whole == pytest.approx(1066e6, rel=1e-3)
    assert trained == 64 * 165_888
    assert trained / whole < 0.012


def test_a_published_folder_is_read_as_it_is(sd15_folder: Path, tmp_path: Path) -> None:
    model = diffusion.load(str(sd15_folder))
    model.text_encoders[0].save_pretrained(tmp_path / "any-name")
    assert len(value_pipeline.load(tmp_path / "any-name", model.text_encoders)) == 1


@pytest.mark.parametrize("rank", [0, 2])
def test_what_does_not_fit_is_refused(sd15_folder: Path, sdxl_folder: Path, tmp_path: Path, rank: int) -> None:
    small, large = diffusion.load(str(sd15_folder)), diffusion.load(str(sdxl_folder))
    LivoTrainable(small, leak_penalty=0.0, rank=rank).save(tmp_path / "small")
    LivoTrainable(large, leak_penalty=0.0, rank=rank).save(tmp_path / "large")
    for folder, model in (("large", small), ("small", large), ("nothing", small)):
        with pytest.raises(DoesNotFit, match="no value encoder for this model"):
            value_pipeline.load(tmp_path / folder, model.text_encoders)
    with pytest.raises(DoesNotFit, match="does not fit|wide"):
        value_pipeline.load(tmp_path / "small", [large.text_encoders[1]])
    (tmp_path / "broken" / "value_encoder").mkdir(parents=True)
    with pytest.raises(DoesNotFit, match="no value encoder that fits"):
        value_pipeline.load(tmp_path / "broken", small.text_encoders)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("layers.2."), "missing ("),
        (without("layers.0.mlp.fc1"), "missing ("),
        (prefixed("value_encoder."), "unexpected (value_encoder."),
        (lambda tensors: tensors | {"surplus": torch.zeros(1)}, "1 unexpected (surplus, "),
        (lambda tensors: {name: value[:1] for name, value in tensors.items()}, "of another shape ("),
        (lambda tensors: {name: value * torch.nan for name, value in tensors.items()}, "not finite ("),
        (lambda tensors: {"x": torch.zeros(1)}, "1 unexpected (x, "),
    ],
)
def test_a_value_encoder_that_is_not_filled_is_refused(
    rank: int, change: Change, words: str, sd15_folder: Path, tmp_path: Path
) -> None:
    model = diffusion.load(sd15_folder)
    LivoTrainable(model, leak_penalty=0.0, rank=rank).save(tmp_path)
    rewrite(tmp_path / "value_encoder", change)
    with pytest.raises(DoesNotFit) as caught:
        value_pipeline.load(tmp_path, model.text_encoders)
    assert words in str(caught.value) and "\n" not in str(caught.value)
