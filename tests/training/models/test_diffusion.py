"""Loading, latents and texts as the pipelines have them; parts of a batch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from misfits import copy, reset

from datagen.errors import ModelError
from datagen.weights import pipelines
from training.errors import TrainingError
from training.models import diffusion
from training.models.diffusion import Context


def test_context_is_the_pipelines_own(sd15_folder: Path, sdxl_folder: Path) -> None:
    import diffusers

    kind: Any = diffusers.DiffusionPipeline
    for folder in (sd15_folder, sdxl_folder):
        model, pipe = diffusion.load(str(folder)), kind.from_pretrained(folder)
        embeds = (
            pipe.encode_prompt(["a chef", "b"], "cpu", 1, False)
            if not model.is_xl
            else pipe.encode_prompt(
                ["a chef", "b"], device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
            )
        )
        with torch.no_grad():
            hidden, pooled = diffusion.encode_text(model, ["a chef", "b"])
        assert torch.equal(hidden, embeds[0])
        assert (pooled is None) if not model.is_xl else torch.equal(pooled, embeds[2])


@pytest.mark.parametrize("own", [{}, {"latents_mean": [-1.7, 1.9, -1.4, 2.5], "latents_std": [8.5, 5.9, 6.5, 5.2]}])
def test_latents_are_what_the_pipeline_decodes(own: dict[str, Any], sdxl_folder: Path, tmp_path: Path) -> None:
    folder = copy(sdxl_folder, tmp_path)
    reset(folder / "vae" / "config.json", scaling_factor=0.5, **own)
    model, pipe = diffusion.load(folder), pipelines.load(folder).model
    torch.manual_seed(0)
    latents = torch.randn(2, 4, 8, 8)
    assert torch.allclose(model.latents.unscaled(model.latents.scaled(latents)), latents, atol=1e-5)
    # No step is taken: what the pipeline is given is what it decodes.
    seen: list[torch.Tensor] = []
    pipe.vae.decode = lambda z, **_: seen.append(z) or (torch.zeros(len(z), 3, 64, 64),)
    pipe.scheduler.step = lambda noise, t, latents, **_: (kept.clone(),)
    pipe.set_progress_bar_config(disable=True)
    kept = model.latents.scaled(latents)
    pipe(["a", "b"], num_inference_steps=1, output_type="pt", guidance_scale=1.0)
    torch.testing.assert_close(seen[0], latents, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("sides", "words"), [([8, 16], "is made for 64 × 128 pixels: name a --resolution"), (None, "unknown sizes")]
)
def test_a_side_that_is_none_has_to_be_named(sides: object, words: str, sd15_folder: Path, tmp_path: Path) -> None:
    folder = copy(sd15_folder, tmp_path)
    reset(folder / "unet" / "config.json", sample_size=sides)
    model = diffusion.load(folder)
    with pytest.raises(TrainingError, match=words):
        model.resolution  # noqa: B018
    reset(folder / "unet" / "config.json", sample_size=[8, 8])
    assert diffusion.load(folder).resolution == 64


def test_a_path_is_found_however_it_is_spelled(
    sd15_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(sd15_folder.parent))
    for spelled in (str(sd15_folder), f"{sd15_folder}/", f"~/{sd15_folder.name}", f"{tmp_path}/../{tmp_path.name}"):
        assert diffusion.find(spelled).is_dir()
    with pytest.raises(ModelError, match="there is no folder ~/nothing"):
        diffusion.find("~/nothing")


def test_a_part_has_both_images_of_its_pairs() -> None:
    numbers = torch.arange(6.0)
    batch = diffusion.Batch(
        latents=numbers,
        target=-numbers,
        timesteps=torch.tensor([7, 8, 9, 7, 8, 9]),
        context=Context(numbers[:3].view(3, 1, 1), time_ids=torch.ones(3, 6)),
        uncond=torch.tensor([True, False, False]),
        prompts=["a", "b", "c"],
        principles=["p", "q", "r"],
        other_principles=[(), ("x",), ("q", "p")],
        weight=numbers[:3],
    )
    part = batch.part(slice(1, 3))
    assert part.latents.tolist() == [1, 2, 4, 5] and part.timesteps.tolist() == [8, 9, 8, 9]
    assert part.target.tolist() == [-1, -2, -4, -5] and part.uncond.tolist() == [False, False]
    assert batch.image_context().hidden.flatten().tolist() == [0, 1, 2, 0, 1, 2]
    assert part.image_context().hidden.flatten().tolist() == [1, 2, 1, 2] and part.context.time_ids is not None
    assert part.other_principles == [("x",), ("q", "p")] and part.prompts == ["b", "c"]
    assert part.weight is not None and part.weight.tolist() == [1, 2] and part.probability is None
    own = dataclasses.replace(batch, context=Context(numbers.view(6, 1, 1))).part(slice(1, 2))
    assert own.image_context().hidden.flatten().tolist() == [1, 4]
