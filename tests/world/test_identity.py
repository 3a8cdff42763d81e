"""The embedded model is known by its weights, wherever its folder lies and whatever U-Net was trained on it."""

import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from datagen import world
from datagen.world.identity import KEPT, is_embedded


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(world.PIPELINE, tmp_path / "somewhere" / "else"))


def test_the_embedded_model_by_name_by_folder_and_by_weights(copy: Path) -> None:
    assert is_embedded("embedded") and is_embedded(world.PIPELINE) and is_embedded(str(copy))
    (copy.parent / "linked").symlink_to(copy)
    assert is_embedded(copy.parent / "linked" / ".." / "else")
    shutil.rmtree(copy / "unet")  # a U-Net trained on it still draws this world
    assert is_embedded(copy)
    for name in KEPT:  # saved again: the same tensors under other metadata
        save_file(load_file(copy / name), copy / name, metadata={"format": "other"})
    assert is_embedded(copy)


@pytest.mark.parametrize("name", KEPT)
def test_one_other_number_is_another_model(name: str, copy: Path) -> None:
    weights = load_file(copy / name)
    next(iter(weights.values())).flat[0] += 1
    save_file(weights, copy / name)
    assert not is_embedded(copy)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{"])
def test_files_that_are_no_weights_are_no_embedded_model(content: bytes, copy: Path) -> None:
    (copy / KEPT[0]).write_bytes(content)
    assert not is_embedded(copy)


def test_other_models_and_names(sd15_folder: Path, sdxl_folder: Path, tmp_path: Path) -> None:
    for model in (sd15_folder, sdxl_folder, tmp_path, tmp_path / "nowhere", "owner/name", "Embedded", ""):
        assert not is_embedded(model)
