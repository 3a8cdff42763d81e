from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import shared_file
import torch

from datagen.weights import files, held, pipelines

ARGUMENTS = {"num_inference_steps": 2, "width": 64, "height": 64, "output_type": "np"}


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "LARGE", 0)


@pytest.fixture(scope="module", params=[torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An SDXL in half precision, as a folder with its U-Net in shards and as one file."""
    pipe = shared_file.pipeline("sdxl", request.param)
    place = tmp_path_factory.mktemp("half")
    pipe.save_pretrained(place / "folder", max_shard_size="400KB")
    return place / "folder", shared_file.save(place / "model.safetensors", shared_file.tensors(pipe, "sdxl"))


def draw(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    return pipe("a chef, 35 mm", negative_prompt="red", generator=generator, **ARGUMENTS).images


@pytest.mark.parametrize("form", [0, 1], ids=["folder", "file"])
def test_pictures_are_those_of_float32_and_weights_stay_half(form: int, stored: tuple[Path, Path]) -> None:
    plain = pipelines.load(stored[form]).model
    half = pipelines.load(stored[form], hold=True).model
    for _ in range(2):  # pages that were given back are read again
        assert (draw(half) == draw(plain)).all()
    for name in pipelines.NETWORKS:
        network = getattr(half, name)
        assert network.dtype == torch.float32 and not network.training
        kinds = {value.dtype for value in network.parameters()}
        assert kinds == {torch.float32} if name == "vae" else kinds <= {torch.float16, torch.bfloat16}


def test_an_error_within_a_layer_leaves_it_as_it_was(stored: tuple[Path, Path]) -> None:
    unet = pipelines.load(stored[0], hold=True).model.unet
    with pytest.raises(RuntimeError):
        unet.conv_in(torch.zeros(1, 3, 8, 8))
    assert unet.conv_in.weight.dtype != torch.float32


@pytest.mark.parametrize(
    ("kinds", "large", "expected"),
    [
        (("F16", "F16"), 0, torch.float16),
        (("BF16", "BF16"), 0, torch.bfloat16),
        (("F16", "F32"), 0, None),
        (("F16", "BF16"), 0, None),
        (("F32",), 0, None),
        (("F16", "I64"), 0, torch.float16),
        (("F16",), 33, None),
        (("F16",), 32, torch.float16),
    ],
)
def test_only_large_networks_that_are_wholly_half_are_held_so(
    kinds: tuple[str, ...], large: int, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "LARGE", large)
    entries = {str(place): files.Entry(kind, (2, 4), 0, 1) for place, kind in enumerate(kinds)}
    assert held.half_of(entries) is expected
