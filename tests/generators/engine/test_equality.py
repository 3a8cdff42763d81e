"""Our sampling against the stock pipelines: same latents, texts, negatives and guidance, by every scheduler."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.support.tiny_clip import NOISE
from datagen import generators
from datagen.generators import assembly, stable_diffusion
from datagen.generators.protocol import Request

TEXTS = ["a chef in the park", "a wizard, pixel art", "red " * 40, "", "a chef in the park"]
NEGATIVES = ["plain", "", "green " * 50, "a", "plain"]
SEEDS = [7, 8, 9, 10, 11]
ZERO = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}

# What a recipe's choice makes of a model's own scheduler, and what models come with.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
    "ddim, zero SNR": ("DDIMScheduler", {"clip_sample": False, **ZERO}),
    "euler, zero SNR": ("EulerDiscreteScheduler", ZERO),
    "dpm++, v": ("DPMSolverMultistepScheduler", {"prediction_type": "v_prediction"}),
    "dpm++, Karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpm++ with noise": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "euler, trailing": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    "ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "ancestral, second order": ("KDPM2AncestralDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "heun": ("HeunDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "lcm": ("LCMScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}


@pytest.fixture(scope="module", params=["sd15_folder", "sdxl_folder"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    """Our generator of a tiny model, and the stock pipeline of the same."""
    import diffusers

    folder: Path = request.getfixturevalue(request.param)
    name = json.loads((folder / "model_index.json").read_text())["_class_name"]
    stock = getattr(diffusers, name).from_pretrained(folder)
    stock.set_progress_bar_config(disable=True)
    stable_diffusion.load.cache_clear()
    yield stable_diffusion.load(str(folder), "", "model"), stock
    stable_diffusion.load.cache_clear()


def scheduler(kind: str, settings: dict[str, Any]) -> Any:
    import diffusers

    cls = getattr(diffusers, kind)
    read = inspect.signature(cls).parameters
    return cls(**{name: value for name, value in (NOISE | settings).items() if name in read})


class Seen:
    """What a VAE decoded, in -1…1, before it was rounded."""

    def __init__(self, vae: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pixels: list[torch.Tensor] = []
        decode = vae.decode

        def watched(*args: Any, **kwargs: Any) -> Any:
            made = decode(*args, **kwargs)
            self.pixels += list(made[0])
            return made

        monkeypatch.setattr(vae, "decode", watched)


def asked(steps: int, guidance: float, size: tuple[int, int] = (64, 64)) -> list[Request]:
    return [
        Request(text, negative, seed, steps, guidance, *size)
        for text, negative, seed in zip(TEXTS, NEGATIVES, SEEDS, strict=True)
    ]


def by_stock(stock: Any, requests: list[Request]) -> None:
    """The requests through the stock pipeline in one call."""
    first = requests[0]
    stock(
        [request.text for request in requests],
        negative_prompt=[request.negative for request in requests],
        num_inference_steps=first.steps, guidance_scale=first.guidance, width=first.width, height=first.height,
        generator=[torch.Generator("cpu").manual_seed(request.seed) for request in requests], output_type="pt",
    )  # fmt: skip


def without_zeros(ours: Any, requests: list[Request]) -> list[Request]:
    """Requests that the stock pipeline can be given in one call: it takes no negative for all of them or for none."""
    return [request for request in requests if request.negative] if ours._zeros else requests


@pytest.mark.parametrize("name", SCHEDULERS)
def test_images_are_those_of_the_stock_pipelines(
    both: tuple[Any, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, stock = both
    for pipeline in (ours._pipeline, stock):
        pipeline.scheduler = scheduler(*SCHEDULERS[name])
    mine, theirs = (Seen(pipeline.vae, monkeypatch) for pipeline in (ours._pipeline, stock))
    requests = without_zeros(ours, asked(3, 5.0))
    made = generators.in_order(ours, requests)
    by_stock(stock, requests)
    by_stock(stock, requests[:1])
    *together, alone = theirs.pixels
    for place, expected in [*enumerate(together), (0, alone)]:
        assert (mine.pixels[place] - expected).abs().max() / 2 <= 1e-3, (name, place)
    assert all(np.asarray(image).std() > 1 for image in made)
    assert isinstance(assembly.settings(ours._pipeline.scheduler), dict)


@pytest.mark.parametrize(("guidance", "size"), [(0.0, (64, 64)), (1.0, (64, 64)), (7.5, (96, 64)), (1.01, (64, 128))])
def test_so_are_those_without_guidance_and_of_other_sizes(
    both: tuple[Any, Any], guidance: float, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, stock = both
    for pipeline in (ours._pipeline, stock):
        pipeline.scheduler = scheduler("DDIMScheduler", {"clip_sample": False})
    mine, theirs = (Seen(pipeline.vae, monkeypatch) for pipeline in (ours._pipeline, stock))
    shapes: list[int] = []
    forward = ours._pipeline.unet.forward
    monkeypatch.setattr(
        ours._pipeline.unet, "forward", lambda x, *a, **k: (shapes.append(len(x)), forward(x, *a, **k))[1]
    )
    requests = without_zeros(ours, asked(3, guidance, size))
    generators.in_order(ours, requests)
    by_stock(stock, requests)
    for place, expected in enumerate(theirs.pixels):
        assert (mine.pixels[place] - expected).abs().max() / 2 <= 1e-3
    # Without guidance nothing is computed of the negatives.
    assert set(shapes) == {ours.batch_size(*size) * (1 + (guidance > 1))}


def test_a_row_in_batches_of_1_5_and_16_is_the_same_image(both: tuple[Any, Any]) -> None:
    ours, _ = both
    ours._pipeline.scheduler = scheduler("EulerAncestralDiscreteScheduler", {})
    requests = asked(4, 5.0)
    made = {}
    for size in (1, 5, 16):
        sized = [Request(**(vars(request) | {"batch_size": size})) for request in requests]
        made[size] = np.stack([np.asarray(image).astype(int) for image in generators.in_order(ours, sized)])
        assert ours.means(sized[0]).batch_size == size
    assert np.abs(made[1] - made[5]).max() <= 2 and np.abs(made[1] - made[16]).max() <= 2
    again = [Request(**(vars(request) | {"batch_size": 5})) for request in requests]
    assert np.array_equal(
        np.stack([np.asarray(image) for image in generators.in_order(ours, again[::-1])])[::-1], made[5]
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_guidance_of_latent_consistency_models_is_an_embedding(
    seed: int, tmp_path: Path, sd15_folder: Path
) -> None:
    import diffusers

    stock = diffusers.StableDiffusionPipeline.from_pretrained(sd15_folder)
    torch.manual_seed(seed)
    config = dict(stock.unet.config) | {"time_cond_proj_dim": 16}
    unet = diffusers.UNet2DConditionModel.from_config(config)
    stock.register_modules(unet=unet, scheduler=scheduler("LCMScheduler", {}))
    stock.set_progress_bar_config(disable=True)
    ours = stable_diffusion.StableDiffusion(stock, torch.device("cpu"), "lcm", "r")
    image, other = generators.in_order(
        ours, [Request("a chef", "idle", seed, 4, guidance, 64, 64) for guidance in (8.5, 3.0)]
    )
    assert ours.means(Request("a", "b", 0, 4, 8.5, 64, 64)).negative_unread == 1
    expected = stock(
        ["a chef"] * 8, num_inference_steps=4, guidance_scale=8.5, width=64, height=64,
        generator=[torch.Generator("cpu").manual_seed(seed) for _ in range(8)],
    ).images[0]  # fmt: skip
    assert np.abs(np.asarray(image).astype(int) - np.asarray(expected)).max() <= 1
    assert image.tobytes() != other.tobytes()
