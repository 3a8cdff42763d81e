"""LoRA's files of both formats draw, in stock diffusers, what the trained U-Net draws, whatever alpha and places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from training.inference.sampling import attach_adapter
from training.loop.grids import pipeline
from training.models import diffusion
from training.trainables.lora import KOHYA
from training.trainables.unet import UNetTrainable

LIBRARY: Any = diffusers
PROMPTS = ["a chef in park 1", "a doctor"]


def trained(model: Path, folder: Path, **given: Any) -> Any:
    """A pipeline around a U-Net with adapters unlike untrained ones, which are saved to the folder."""
    torch.manual_seed(1)
    loaded = diffusion.load(str(model))
    trainable = UNetTrainable(loaded, lora_rank=2, reference=False, **given)
    with torch.no_grad():
        for weight in trainable.parameters():
            weight.copy_(0.1 * torch.randn_like(weight))
    folder.mkdir(exist_ok=True)
    trainable.save(folder)
    return pipeline(loaded)


def stock(model: Path) -> Any:
    pipe = LIBRARY.DiffusionPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = LIBRARY.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    return pipe


def draw(pipe: Any) -> torch.Tensor:
    seeds = [torch.Generator().manual_seed(i) for i in range(len(PROMPTS))]
    size = {"num_inference_steps": 2, "height": 64, "width": 64, "output_type": "latent"}
    made = pipe(PROMPTS, generator=seeds, **size).images
    assert isinstance(made, torch.Tensor)
    return made


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize(
    "given",
    [{}, {"lora_alpha": 6.0}, {"lora_alpha": 0.5, "lora_targets": "transformer"}],
    ids=["plain", "alpha", "transformer"],
)
def test_stock_diffusers_draws_the_same_from_either_file(
    family: str, given: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = request.getfixturevalue(f"{family}_folder")
    wanted = draw(trained(model, tmp_path, **given))
    base = stock(model)
    assert not torch.allclose(draw(base), wanted, atol=1e-2)
    for name in ("pytorch_lora_weights.safetensors", KOHYA):
        pipe = stock(model)
        pipe.load_lora_weights(str(tmp_path), weight_name=name)
        torch.testing.assert_close(draw(pipe), wanted, rtol=1e-4, atol=1e-4)
    attach_adapter(base, tmp_path)
    torch.testing.assert_close(draw(base), wanted, rtol=1e-4, atol=1e-4)


def test_kohyas_file_has_its_names_alphas_and_what_it_says_of_itself(sd15_folder: Path, tmp_path: Path) -> None:
    trained(sd15_folder, tmp_path, lora_alpha=6.0)
    weights = load_file(tmp_path / KOHYA)
    layers = {name.partition(".")[0] for name in weights}
    assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q" in layers
    for layer in layers:
        assert {f"{layer}.{end}" for end in ("lora_down.weight", "lora_up.weight", "alpha")} <= set(weights)
        assert weights[f"{layer}.alpha"] == 2 == len(weights[f"{layer}.lora_down.weight"])
    assert len(weights) == 3 * len(layers)
    with safe_open(tmp_path / KOHYA, framework="pt") as file:
        said = file.metadata()
    assert (said["ss_base_model_version"], said["ss_network_dim"]) == ("sd_v1", "2")


def test_feed_forward_layers_get_gradients(sd15_folder: Path) -> None:
    """The layers that save memory read the weights inside them directly: an adapter there must not be passed over."""
    torch.manual_seed(1)
    model = diffusion.load(str(sd15_folder))
    trainable = UNetTrainable(model, lora_rank=2, reference=False, lora_targets="transformer")
    names = [name for name, weight in model.unet.named_parameters() if weight.requires_grad]
    assert any("ff.net.0.proj" in name for name in names) and any("ff.net.2" in name for name in names)
    context = diffusion.Context(torch.randn(2, 77, 32))
    made = diffusion.predict(model.unet, torch.randn(2, 4, 8, 8), torch.tensor([5, 500]), context)
    gradients = torch.autograd.grad(made.square().sum(), trainable.parameters())
    assert all(g.abs().sum() > 0 for g, name in zip(gradients, names, strict=True) if "lora_B" in name)
