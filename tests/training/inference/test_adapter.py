"""Which model an adapter belongs to, and whether it fits another: from names and headers, before anything is drawn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from datagen import world
from datagen.errors import ModelError
from training.errors import TrainingError
from training.inference.adapter import DOWN, LORA, base_of, check_fits
from training.models import diffusion
from training.trainables.livo import LivoTrainable
from training.trainables.lora import KOHYA
from training.trainables.unet import UNetTrainable

KINDS = ("lora", "unet", "value-encoder", "light")


def trained(kind: str, model: Path, out: Path) -> Path:
    """What a training of `kind` writes."""
    torch.manual_seed(0)
    loaded = diffusion.load(str(model))
    if kind in ("lora", "unet"):
        UNetTrainable(loaded, lora_rank=2 * (kind == "lora"), reference=False).save(out)
    else:
        LivoTrainable(loaded, leak_penalty=0.0, rank=2 * (kind == "light")).save(out)
    return out


def says(folder: Path, model: str, revision: str = "") -> Path:
    """The folder with a training.json that names the model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "unet").mkdir(exist_ok=True)
    (folder / "training.json").write_text(json.dumps({"run": {"model": model, "revision": revision}}))
    return folder


def refused(says: str, *given: Any) -> None:
    with pytest.raises(TrainingError, match="^[^\n]*$") as caught:
        base_of(*given)
    assert says in str(caught.value)


def test_a_model_that_is_not_named_is_the_one_that_was_trained_on(sd15_folder: Path, tmp_path: Path) -> None:
    one = says(tmp_path / "one", str(sd15_folder))
    assert base_of([one], "").model == str(sd15_folder) and not base_of([one], "").is_embedded
    assert base_of([says(tmp_path / "e", "embedded")], "").is_embedded
    hub = base_of([says(tmp_path / "hub", "owner/name", "abc")], "")
    assert (hub.model, hub.revision, hub.note) == ("owner/name", "abc", "")
    assert base_of([], "").model == "embedded" and base_of([], "a/b").model == "a/b"


def test_a_model_that_is_named_wins_and_the_conflict_is_said(sd15_folder: Path, tmp_path: Path) -> None:
    one = says(tmp_path / "one", str(sd15_folder))
    assert (
        base_of([one], "owner/other").note
        == f"{one} was trained on {str(sd15_folder)!r}; it is used with 'owner/other'"
    )
    (tmp_path / "link").symlink_to(sd15_folder)
    for same in (str(sd15_folder), f"{sd15_folder}/", str(tmp_path / "link"), f"{sd15_folder}/../{sd15_folder.name}"):
        assert base_of([one], same).note == ""
    copy = shutil.copytree(world.PIPELINE, tmp_path / "copy")
    assert base_of([says(tmp_path / "e", "embedded")], str(copy)).note == ""
    assert base_of([says(tmp_path / "e", "embedded")], str(sd15_folder)).note


def test_an_adapter_that_says_nothing_of_its_model_needs_one(sd15_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bare" / "unet").mkdir(parents=True)
    refused("bare says which model it was trained on: give --model", [tmp_path / "bare"], "")
    assert base_of([tmp_path / "bare"], str(sd15_folder)).note == ""
    one, other = says(tmp_path / "one", "embedded"), says(tmp_path / "other", "owner/name")
    refused("trained on different models ('embedded', 'owner/name')", [one, other], "")
    refused("was trained on './gone', which is not here", [says(tmp_path / "gone", "./gone")], "")
    refused("was trained on '/nowhere/base', which is not here", [says(tmp_path / "gone", "/nowhere/base")], "")
    refused("there is no --adapter", [tmp_path / "nowhere"], "")
    (tmp_path / "empty").mkdir()
    refused("holds no unet/", [tmp_path / "empty"], "embedded")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"run": 1}', '{"run": {}}', "\xff"])
def test_a_damaged_training_json_is_one_line(text: str, tmp_path: Path) -> None:
    one = says(tmp_path / "one", "embedded")
    (one / "training.json").write_bytes(text.encode("latin-1"))
    refused("training.json does not say what was trained", [one], "")


def pipeline(model: Path) -> Any:
    import diffusers

    kind: Any = diffusers.DiffusionPipeline
    return kind.from_pretrained(model)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_trained_on_a_model_fits_it_and_no_other(
    kind: str, sd15_folder: Path, sdxl_folder: Path, tmp_path: Path
) -> None:
    models = {"sd15": sd15_folder, "sdxl": sdxl_folder, "embedded": world.PIPELINE}
    pipes = {name: pipeline(model) for name, model in models.items()}
    for own in ("sd15", "sdxl"):
        folder = trained(kind, models[own], tmp_path / own)
        (folder / "training.json").write_text(json.dumps({"run": {"model": own}}))
        for name, pipe in pipes.items():
            if name == own:
                check_fits(pipe, folder, name)
                continue
            with pytest.raises(TrainingError, match="^[^\n]*$") as caught:
                check_fits(pipe, folder, name)
            assert str(folder) in str(caught.value) and "--model" in str(caught.value)


def test_the_message_counts_and_names_the_first(sd15_folder: Path, sdxl_folder: Path, tmp_path: Path) -> None:
    folder = trained("lora", sdxl_folder, tmp_path)
    (folder / "training.json").write_text(json.dumps({"run": {"model": "our/sdxl"}}))
    with pytest.raises(
        TrainingError, match=r"which was trained on 'our/sdxl', does not fit 'it': \d+ of its \d+ "
    ) as e:
        check_fits(pipeline(sd15_folder), folder, "it")
    assert "first unet." in str(e.value) and "give the --model that it was trained on" in str(e.value)


def test_a_file_that_is_cut_off_is_one_line(sd15_folder: Path, tmp_path: Path) -> None:
    folder = trained("lora", sd15_folder, tmp_path)
    (folder / LORA).write_bytes((folder / LORA).read_bytes()[:100])
    with pytest.raises(ModelError, match="is cut short or no safetensors file"):
        check_fits(pipeline(sd15_folder), folder, "it")


def test_one_tensor_of_another_shape_is_enough(sd15_folder: Path, tmp_path: Path) -> None:
    folder = trained("lora", sd15_folder, tmp_path)
    weights = load_file(folder / LORA)
    key = next(name for name in weights if name.endswith(DOWN))
    weights[key] = torch.cat([weights[key], weights[key]], dim=1)
    save_file(weights, folder / LORA)
    with pytest.raises(TrainingError, match=r"1 of its \d+ tensors have no place there, first unet.*×"):
        check_fits(pipeline(sd15_folder), folder, "it")


@pytest.mark.parametrize("name", [LORA, KOHYA])
def test_a_lora_file_is_an_adapter_too(name: str, sd15_folder: Path, sdxl_folder: Path, tmp_path: Path) -> None:
    file = trained("lora", sd15_folder, tmp_path) / name
    assert base_of([file], str(sd15_folder)).model == str(sd15_folder)
    (tmp_path / "training.json").write_text(json.dumps({"run": {"model": str(sd15_folder)}}))
    assert base_of([file], "").model == str(sd15_folder)
    pipe = pipeline(sd15_folder)
    names = list(pipe.unet.state_dict())
    check_fits(pipe, file, "it")
    assert list(pipe.unet.state_dict()) == names  # it was taken out again
    with pytest.raises(ModelError, match="^[^\n]*$"):
        check_fits(pipeline(sdxl_folder), file, "it")
