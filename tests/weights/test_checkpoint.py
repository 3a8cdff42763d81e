from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from datagen.errors import ModelError
from datagen.weights import checkpoint, identity

NAMES = {"0.weight": "in.w", "0.bias": "in.b", "1.weight": "out.w", "1.bias": "out.b"}


def tensors() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"in.w": (3, 2), "in.b": (3,), "out.w": (1, 3), "out.b": (1,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def hashed(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_of_safetensors_fills_a_network_by_its_own_names(tmp_path: Path) -> None:
    path, held = tmp_path / "it.safetensors", tensors()
    save_file(held, path)
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    checkpoint.fill("it", network, checkpoint.read(path), NAMES)
    for ours, theirs in NAMES.items():
        assert torch.equal(network.state_dict()[ours], held[theirs])
    assert checkpoint.digest(path) == identity.file(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_of_a_known_hash_is_read(legacy: bool, tmp_path: Path) -> None:
    path, held = tmp_path / "it.pt", tensors()
    torch.save(held, path, _use_new_zipfile_serialization=not legacy)
    for known in (hashed(path), hashed(path).upper(), hashed(path)[:16]):
        found = checkpoint.read(path, known)
        assert found.keys() == held.keys() and all(torch.equal(found[name], held[name]) for name in held)
        assert checkpoint.digest(path, known) == hashed(path)[:16]


def test_tensors_may_lie_beside_what_else_a_training_kept(tmp_path: Path) -> None:
    path, held = tmp_path / "it.pt", tensors()
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, "state_dict": held}, path)
    found = checkpoint.read(path, hashed(path))
    assert found.keys() == held.keys() and all(torch.equal(found[name], held[name]) for name in held)


@pytest.mark.parametrize("given", ["", "abc", "0" * 64, "0" * 16])
def test_a_pickle_whose_hash_is_not_known_is_not_read(given: str, tmp_path: Path) -> None:
    path = tmp_path / "it.pt"
    torch.save(tensors(), path)
    words = "read only if its SHA-256 is known" if len(given) < 16 else f"its SHA-256 is {hashed(path)}, not 000"
    for look in (checkpoint.read, checkpoint.digest):
        if len(given) < 16:
            with pytest.raises(ModelError, match=words):
                checkpoint.check(path, given)
        with pytest.raises(ModelError, match=words):
            look(path, given)


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_nothing_in_a_pickle_is_run(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "it.pt"
    torch.save({"in.w": Evil(mark)}, path)
    with pytest.raises(ModelError, match="holds something else than weights") as error:
        checkpoint.read(path, hashed(path))
    assert not mark.exists() and "\n" not in str(error.value)
    path.write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(ModelError, match="holds something else than weights"):
        checkpoint.read(path, hashed(path))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "holds no tensors"),
        ([torch.zeros(1)], "holds no tensors"),
        ({"state_dict": {}}, "holds no tensors"),
        ({"state_dict": [torch.zeros(1)]}, "holds no tensors"),
        ({"state_dict": {"a": torch.zeros(1), "epoch": 3}}, r"holds something else than tensors \(epoch\)"),
        ({"a": torch.zeros(1), "epoch": 3}, r"holds something else than tensors \(epoch\)"),
    ],
)
def test_a_pickle_of_something_else_is_refused(content: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "it.pt"
    torch.save(content, path)
    with pytest.raises(ModelError, match=words):
        checkpoint.read(path, hashed(path))


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04 cut", b"text"])
def test_a_damaged_file_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    for path in (tmp_path / "it.pt", tmp_path / "it.safetensors"):
        path.write_bytes(content)
        with pytest.raises(ModelError) as error:
            checkpoint.read(path, hashed(path))
        assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    for name in ("it.pt", "it.safetensors"):
        with pytest.raises(ModelError, match="cannot be read: No such file"):
            checkpoint.read(tmp_path / name, "0" * 64)
