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


@pytest.mark.parametrize("rescale", [0.7, 1.0])
def test_rescaled_guidance_is_that_of_the_stock_pipelines_and_stands_in_the_row(
    rescale: float, sd15_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    ours = stable_diffusion.load(str(sd15_folder), "", "model", guidance_rescale=rescale)
    stock = diffusers.StableDiffusionPipeline.from_pretrained(sd15_folder)
    stock.set_progress_bar_config(disable=True)
    for pipeline in (ours._pipeline, stock):
        pipeline.scheduler = scheduler("DDIMScheduler", {"clip_sample": False, **ZERO})
    mine, theirs = (Seen(pipeline.vae, monkeypatch) for pipeline in (ours._pipeline, stock))
    (request,) = asked(3, 7.5)[:1]
    generators.in_order(ours, [request])
    stock(
        request.text, negative_prompt=request.negative, num_inference_steps=3, guidance_scale=7.5, width=64, height=64,
        generator=torch.Generator("cpu").manual_seed(request.seed), guidance_rescale=rescale, output_type="pt",
    )  # fmt: skip
    assert (mine.pixels[0] - theirs.pixels[0]).abs().max() / 2 <= 1e-3
    assert json.loads(ours.means(request).options) == {"guidance_rescale": rescale}
    assert ours.means(request).notes == ""
    assert "guidance_rescale without effect" in ours.means(asked(3, 1.0)[0]).notes


def test_long_prompts_are_read_in_windows_where_the_profile_says_so(sdxl_folder: Path, sd15_folder: Path) -> None:
    for folder in (sdxl_folder, sd15_folder):
        cut = stable_diffusion.load(str(folder), "", "ddim")
        whole = stable_diffusion.load(str(folder), "", "ddim", long_prompts="windows")
        long, short = "red " * 40, "a chef"  # a token a letter: 120 of them
        requests = [
            Request(text, negative, 7, 2, 4.0, 64, 64)
            for text, negative in ((short, "plain"), (long, "plain"), (short, long), (long, ""))
        ]
        first, second = (generators.in_order(generator, requests) for generator in (cut, whole))
        same = [one.tobytes() == other.tobytes() for one, other in zip(first, second, strict=True)]  # type: ignore[union-attr]
        assert same == [True, False, False, False]
        alone = [generators.in_order(whole, [request])[0] for request in requests[:3]]
        assert [image.tobytes() for image in alone] == [image.tobytes() for image in second[:3]]  # type: ignore[union-attr]
        assert (cut.means(requests[1]).unread, whole.means(requests[1]).unread) == (45, 0)
        assert json.loads(whole.means(requests[0]).options) == {"long_prompts": "windows"}
        assert cut.means(requests[0]).options == "{}"


def test_compiled_blocks_draw_the_same(sd15_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = generators.in_order(stable_diffusion.load(str(sd15_folder), "", "ddim"), asked(2, 4.0))
    compiled: list[str] = []
    # What the compiler itself makes of a block is its business, and takes a minute.
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda module, *a, **k: compiled.append(type(module).__name__), raising=False
    )
    ours = stable_diffusion.load(str(sd15_folder), "", "ddim", compile=True)
    assert set(compiled) == {"BasicTransformerBlock"} and ours._kept is None
    for image, other in zip(generators.in_order(ours, asked(2, 4.0)), plain, strict=True):
        assert np.abs(np.asarray(image).astype(int) - np.asarray(other)).max() <= 1
    assert json.loads(ours.means(asked(2, 4.0)[0]).options) == {"compile": True}
