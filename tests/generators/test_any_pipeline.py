from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import misfits
import numpy as np
import pytest
import tiny_pipelines
import torch

from datagen import generators
from datagen.errors import ModelError
from datagen.generators.any_pipeline import AnyPipeline
from datagen.generators.protocol import ContentError, Request


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pipelines")
    for name in tiny_pipelines.PIPELINES:
        tiny_pipelines.make(name).save_pretrained(place / name)
    return {name: place / name for name in tiny_pipelines.PIPELINES}


def request(text: str = "a chef in a park", seed: int = 3, **changes: Any) -> Request:
    values: dict[str, Any] = {"negative": "red", "steps": 2, "guidance": 4.0, "width": 32, "height": 32}
    return Request(text=text, seed=seed, **(values | changes))


def load(folder: Path, scheduler: str = "model", **more: Any) -> Any:
    return generators.load(SimpleNamespace(model=str(folder), revision="", scheduler=scheduler, **more))


def drawn(generator: Any, *requests: Request) -> list[Any]:
    return generators.in_order(generator, list(requests))


# What each pipeline calls the guidance, whether it reads a negative prompt, and what is cut off of 600 letters.
EXPECTED: dict[str, tuple[str, bool]] = {
    "sd3": ("guidance_scale", True),
    "flux": ("guidance_scale", False),
    "flux-schnell": ("true_cfg_scale", True),
    "pixart": ("guidance_scale", True),
    "sana": ("guidance_scale", True),
    "qwen-image": ("true_cfg_scale", True),
    "aura-flow": ("guidance_scale", True),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_pictures_are_those_of_the_pipeline_itself_whatever_they_are_drawn_with(
    name: str, folders: dict[str, Path]
) -> None:
    import diffusers

    generator = load(folders[name])
    assert isinstance(generator, AnyPipeline) and generator.name == name
    guidance, reads_negative = EXPECTED[name]
    one, other, same = drawn(generator, request(), request(seed=4), request())
    assert one.tobytes() == same.tobytes() != other.tobytes() and one.size == (32, 32)
    given: dict[str, Any] = {guidance: 4.0, "num_inference_steps": 2, "width": 32, "height": 32, "output_type": "np"}
    given |= {"negative_prompt": "red"} if reads_negative else {}
    given |= {"use_resolution_binning": False, "clean_caption": False} if name in ("pixart", "sana") else {}
    stock = diffusers.DiffusionPipeline.from_pretrained(folders[name])
    stock.set_progress_bar_config(disable=True)
    expected = stock("a chef in a park", generator=torch.Generator().manual_seed(3), **given).images[0]
    assert np.abs(np.asarray(one).astype(int) - (expected * 255).round().astype(int)).max() <= 1
    means = generator.means(request("a " * 600))
    assert (means.negative_unread == 0) is reads_negative
    assert means.unread > 0 and generator.means(request()).unread == 0
    assert means.dtype == "float32" and json.loads(means.scheduler_config)
    assert (drawn(generator, request(negative="blue"))[0].tobytes() != one.tobytes()) is reads_negative


def test_a_refused_text_is_a_content_error_in_its_place(folders: dict[str, Path]) -> None:
    picture, refused = drawn(load(folders["sd3"]), request(), request("a naked child"))
    assert isinstance(refused, ContentError) and not isinstance(picture, ContentError)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("sd3", {"width": 33}, "divisible by 2"),
        ("sana", {"width": 40}, "divisible by 32"),
        ("flux", {"width": 33}, "draws 32×32 pixels where 33×32 are asked for"),
    ],
)
def test_a_size_that_is_not_drawn_is_refused(
    name: str, changes: dict[str, Any], words: str, folders: dict[str, Path]
) -> None:
    with pytest.raises(ModelError) as caught:
        drawn(load(folders[name]), request(**changes))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_weights_that_are_nan_are_refused_and_missing_ones_as_well(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = misfits.copy(folders["pixart"], tmp_path)
    misfits.rewrite(folder / "transformer", misfits.without("proj_out"))
    with pytest.raises(ModelError, match="the weights of transformer in .* do not fit: 2 missing"):
        load(folder)
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    assert "has no weights" in str(generators.missing(str(folder)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("StableDiffusionXLControlNetPipeline", "a pipeline with a ControlNet"),
        ("StableDiffusionUpscalePipeline", "an upscaler"),
        ("StableDiffusionLatentUpscalePipeline", "an upscaler"),
        ("FluxFillPipeline", "does not draw with from a text alone"),
        ("FluxKontextPipeline", "a model that edits pictures"),
        ("FluxInpaintPipeline", "a model for inpainting"),
        ("StableVideoDiffusionPipeline", "a model of videos"),
        ("MyOwnPipeline", "does not draw with from a text alone"),
    ],
)
def test_pipelines_that_want_more_than_a_text_are_named_for_what_they_are(
    name: str, words: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = misfits.copy(folders["flux"], tmp_path)
    misfits.reset(folder / "model_index.json", _class_name=name)
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"vae": "some/vae"}, "knows no vae: leave it out"),
        ({"adapters": ("lora.safetensors",)}, "knows no adapters: leave it out"),
        ({"scheduler": "ddim"}, "set scheduler to model"),
    ],
)
def test_what_such_a_model_cannot_be_given_is_refused(
    more: dict[str, Any], words: str, folders: dict[str, Path]
) -> None:
    with pytest.raises(ModelError, match=words):
        load(folders["sd3"], **more)


def test_a_class_of_code_that_lies_in_the_folder_is_not_run(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = misfits.copy(folders["flux"], tmp_path)
    misfits.reset(folder / "model_index.json", transformer=["my_code", "MyTransformer"])
    with pytest.raises(ModelError, match="transformer in .* is a MyTransformer of my_code, which is not known here"):
        load(folder)
