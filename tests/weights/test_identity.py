import os
import shutil
from pathlib import Path

import pytest
import torch
from misfits import copy, reset, rewrite
from safetensors.torch import save_file

from datagen.errors import ModelError
from datagen.weights import identity


def age(folder: Path) -> None:
    """Make the files of a folder older than a moment, as those of people are."""
    identity_time = 1_700_000_000
    for path in folder.rglob("*"):
        os.utime(path, (identity_time, identity_time))


@pytest.fixture
def model(tmp_path: Path, sd15_folder: Path) -> Path:
    return copy(sd15_folder, tmp_path)


def test_a_model_is_the_same_wherever_it_lies_and_however_it_is_spelled(model: Path, tmp_path: Path) -> None:
    known = identity.pipeline(model)
    assert len(known) == 16 and int(known, 16) >= 0
    (tmp_path / "link").symlink_to(model)
    elsewhere = Path(shutil.copytree(model, tmp_path / "a" / "b"))
    for same in (tmp_path / "link", elsewhere, model / ".", model / ".." / model.name, Path(os.path.relpath(model))):
        assert identity.pipeline(same) == known


def test_how_weights_are_spread_over_files_makes_no_difference(model: Path, tmp_path: Path) -> None:
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(model)
    pipeline.save_pretrained(tmp_path / "whole")
    pipeline.save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
    assert len(list((tmp_path / "sharded" / "unet").glob("*.safetensors"))) > 1
    assert identity.pipeline(tmp_path / "sharded") == identity.pipeline(tmp_path / "whole")


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("scheduler/scheduler_config.json", {"prediction_type": "v_prediction"}),
        ("scheduler/scheduler_config.json", {"beta_end": 0.02}),
        ("text_encoder/config.json", {"hidden_act": "gelu"}),
        ("vae/config.json", {"scaling_factor": 0.13025}),
        ("unet/config.json", {"sample_size": 64}),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 20}),
        ("model_index.json", {"force_zeros_for_empty_prompt": False}),
    ],
)
def test_settings_that_decide_an_image_are_part_of_a_model(file: str, values: dict[str, object], model: Path) -> None:
    known = identity.pipeline(model)
    reset(model / file, **values)
    assert identity.pipeline(model) != known


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("model_index.json", {"_diffusers_version": "0.1", "_name_or_path": "elsewhere"}),
        ("unet/config.json", {"_diffusers_version": "0.1", "_name_or_path": "elsewhere"}),
        ("text_encoder/config.json", {"transformers_version": "4.1", "torch_dtype": "float16"}),
        ("model_index.json", {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}),
    ],
)
def test_who_wrote_a_model_is_not(file: str, values: dict[str, object], model: Path) -> None:
    known = identity.pipeline(model)
    reset(model / file, **values)
    assert identity.pipeline(model) == known


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_one_number_makes_another_model(part: str, model: Path) -> None:
    known = identity.pipeline(model)

    def change(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        name = sorted(tensors)[len(tensors) // 2]
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[-1] += 1e-3
        return tensors

    rewrite(model / part, change)
    assert identity.pipeline(model) != known


def test_files_are_read_once_and_again_when_they_changed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(model)
    monkeypatch.setattr(identity, "_TICK", -1.0)  # the copy's files have just been made
    read = []
    hashed = identity._hashed
    monkeypatch.setattr(identity, "_hashed", lambda path: read.append(path.parent.name) or hashed(path))
    known = identity.pipeline(model)
    assert sorted(read) == ["text_encoder", "unet", "vae"]
    assert identity.pipeline(model) == known and len(read) == 3
    path = model / "unet" / "diffusion_pytorch_model.safetensors"
    content, state = bytearray(path.read_bytes()), path.stat()
    content[-1] ^= 1
    with path.open("r+b") as stream:  # in place: the same inode, the same size
        stream.write(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # and, for anyone who asks, the same time
    assert identity.pipeline(model) != known
    assert read[3:] == ["unet"]


def test_what_was_written_just_now_is_not_remembered(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr(identity, "_keep", lambda *facts: kept.append(facts))
    monkeypatch.setattr(identity, "_TICK", 3600.0)
    identity.pipeline(model)
    assert not kept


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"stamp": 1}', "\x00"])
def test_a_cache_that_is_damaged_or_cannot_be_written_is_none(
    damage: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = identity.pipeline(model)
    monkeypatch.setenv("DATAGEN_WEIGHTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(identity, "_TICK", -1.0)
    assert identity.pipeline(model) == known
    for path in (tmp_path / "cache").iterdir():
        path.write_text(damage)
    assert identity.pipeline(model) == known
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DATAGEN_WEIGHTS_CACHE", str(tmp_path / "file" / "cache"))
    assert identity.pipeline(model) == known


def test_weights_that_are_not_whole_have_no_identity(model: Path) -> None:
    path = model / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="is cut short"):
        identity.pipeline(model)


def test_a_lora_is_known_by_its_tensors_and_what_it_says_of_their_scale(tmp_path: Path) -> None:
    made = {}
    for name, value, about in (
        ("plain", 1.0, {"format": "pt"}),
        ("renamed", 1.0, {"format": "pt", "made_by": "somebody"}),
        ("other", 2.0, {"format": "pt"}),
        ("scaled", 1.0, {"format": "pt", "lora_adapter_metadata": '{"unet.lora_alpha": 7}'}),
    ):
        save_file({"unet.x.lora.up.weight": torch.full((2, 2), value)}, tmp_path / f"{name}.safetensors", about)
        made[name] = identity.adapter(tmp_path / f"{name}.safetensors")
    assert made["plain"] == made["renamed"] and len({*made.values()}) == 3


def test_a_network_is_known_wherever_it_lies(sd15_folder: Path, tmp_path: Path) -> None:
    model = copy(sd15_folder, tmp_path)
    age(model)
    assert identity.network(model / "unet") == identity.network(sd15_folder / "unet")
    rewrite(model / "unet", lambda tensors: tensors | {"conv_out.bias": tensors["conv_out.bias"] + 1})
    assert identity.network(model / "unet") != identity.network(sd15_folder / "unet")
