"""Pipelines and what is attached to them, as `sample` and `evaluate` load both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from misfits import copy, reset, rewrite, without

from datagen.errors import ModelError, UserError
from datagen.weights import adapters
from training.inference.sampling import attach_adapter, load_pipeline
from training.inference.value_guide import ValueGuide
from training.models import diffusion
from training.trainables.livo import LivoTrainable
from training.trainables.unet import UNetTrainable


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, sd15_folder: Path) -> Path:
    """What training writes: LoRA, a U-Net, a value encoder."""
    folder = tmp_path_factory.mktemp("trained")
    for name, rank in (("lora", 2), ("full", 0)):
        UNetTrainable(diffusion.load(sd15_folder), lora_rank=rank, reference=False).save(folder / name)
    LivoTrainable(diffusion.load(sd15_folder), leak_penalty=0.0).save(folder / "livo")
    return folder


def test_whatever_training_wrote_is_attached(trained: Path, sd15_folder: Path) -> None:
    pipe = load_pipeline(str(sd15_folder), "cpu")
    assert isinstance(attach_adapter(pipe, trained / "livo"), ValueGuide)
    before = pipe.unet
    assert attach_adapter(pipe, trained / "full") is None and pipe.unet is not before
    for path in (trained / "lora", trained / "lora" / adapters.LORA):
        pipe = load_pipeline(str(sd15_folder), "cpu")
        assert attach_adapter(pipe, path) is None
        assert any(".lora_A." in name for name, _ in pipe.unet.named_parameters())


@pytest.mark.parametrize("name", ["lora", "full", "livo"])
def test_an_adapter_of_another_family_is_refused(name: str, trained: Path, sdxl_folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        attach_adapter(load_pipeline(str(sdxl_folder), "cpu"), trained / name)
    assert "\n" not in str(caught.value)


def test_a_u_net_with_a_hole_or_a_nan_is_refused(trained: Path, sd15_folder: Path, tmp_path: Path) -> None:
    pipe = load_pipeline(str(sd15_folder), "cpu")
    hurt = copy(trained / "full", tmp_path)
    rewrite(hurt / "unet", lambda tensors: tensors | {"conv_out.bias": torch.full((4,), torch.nan)})
    with pytest.raises(ModelError, match="NaN"):
        attach_adapter(pipe, hurt)
    rewrite(hurt / "unet", without("conv_out.bias"))
    with pytest.raises(ModelError, match=r"1 missing .conv_out.bias"):
        attach_adapter(pipe, hurt)


def test_what_is_said_of_weights_goes_to_stderr(
    sd15_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(sd15_folder, tmp_path)
    reset(folder / "text_encoder" / "config.json", num_hidden_layers=2)
    load_pipeline(str(folder), "cpu")
    assert "note: text_encoder in" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["nothing", "file.txt", "empty"])
def test_what_is_no_adapter_is_refused(given: str, sd15_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("words")
    (tmp_path / "empty").mkdir()
    pipe: Any = load_pipeline(str(sd15_folder), "cpu")
    with pytest.raises(UserError):
        attach_adapter(pipe, tmp_path / given)
