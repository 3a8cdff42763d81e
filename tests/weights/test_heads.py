"""Heads are read from what they are published in; whatever else a file holds is refused in one line."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from datagen.errors import ModelError
from datagen.weights import heads

SHAPES = {"weight": (2, heads.ANY), "bias": (2,)}
ARRAYS = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.array([1, 2], np.float32)}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def as_torch(path: Path, arrays: dict[str, Any]) -> None:
    torch.save({name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()}, path)


FORMATS: dict[str, Callable[[Path, dict[str, Any]], object]] = {
    "head.safetensors": lambda path, arrays: save_file(arrays, path),
    "head.npz": lambda path, arrays: np.savez(path, **arrays),
    "head.pth": as_torch,
    "head.pt": as_torch,
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_every_format_gives_the_same_arrays(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    FORMATS[name](path, {key: value.astype(kind) for key, value in ARRAYS.items()})
    found = heads.read(path, SHAPES, digest(path))
    assert all(found[key].dtype == np.float32 and np.array_equal(found[key], ARRAYS[key]) for key in SHAPES)
    assert heads.identity(found) == heads.identity(ARRAYS)


BAD: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "missing": (lambda a: {"weight": a["weight"]}, r"1 missing \(bias\)"),
    "unexpected": (lambda a: a | {"more": a["bias"]}, r"1 unexpected \(more\)"),
    "another shape": (lambda a: a | {"bias": a["weight"]}, r"1 of another shape \(bias"),
    "NaN": (lambda a: a | {"bias": a["bias"] * np.nan}, r"NaN or infinite numbers \(bias\)"),
    "infinite": (lambda a: a | {"bias": a["bias"] * np.inf}, "NaN or infinite"),
    "integers": (lambda a: a | {"bias": a["bias"].astype(np.int64)}, "something else than floating-point"),
}


@pytest.mark.parametrize("name", ["head.safetensors", "head.npz"])
@pytest.mark.parametrize("case", BAD)
def test_other_arrays_are_refused(name: str, case: str, tmp_path: Path) -> None:
    change, message = BAD[case]
    FORMATS[name](tmp_path / name, change(dict(ARRAYS)))
    with pytest.raises(ModelError, match=message) as error:
        heads.read(tmp_path / name, SHAPES)
    assert "\n" not in str(error.value)


def test_a_pickle_is_read_by_the_hash_of_the_published_one_alone(tmp_path: Path) -> None:
    as_torch(tmp_path / "head.pth", ARRAYS)
    for known, words in (("", "no hash of which is known"), ("00000000", "whose SHA-256 begins with 00000000")):
        with pytest.raises(ModelError, match=words):
            heads.read(tmp_path / "head.pth", SHAPES, known)


class Code:
    def __reduce__(self) -> Any:
        return print, ("code ran",)


@pytest.mark.parametrize("content", [{"weight": Code()}, [1], {"weight": 3}, torch.nn.Linear(2, 2)])
def test_a_published_pickle_of_something_else_runs_nothing(
    content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(content, tmp_path / "head.pth")
    with pytest.raises(ModelError, match="head.pth holds") as error:
        heads.read(tmp_path / "head.pth", SHAPES, digest(tmp_path / "head.pth"))
    assert "code ran" not in capsys.readouterr().out and "\n" not in str(error.value)


def test_objects_in_npz_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "head.npz", weight=np.array([Code()], object), bias=ARRAYS["bias"])
    with pytest.raises(ModelError, match="holds no weights that can be read"):
        heads.read(tmp_path / "head.npz", SHAPES)


NAMES = ["a.safetensors", "a.npz", "a.p", "a.pkl", "a.pth", "a.pt", "a.bin", "a"]


@given(st.binary(max_size=200), st.sampled_from(NAMES))
def test_no_bytes_are_weights_or_an_exception_of_another_kind(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(content)
    with pytest.raises(ModelError) as error:
        heads.read(path, SHAPES, digest(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["head.safetensors", "head.npz", "head.pth", "head.p"])
def test_what_cannot_be_read_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        heads.read(tmp_path / name, SHAPES, "00")
    (tmp_path / name).mkdir()
    with pytest.raises(ModelError, match="Is a directory"):
        heads.read(tmp_path / name, SHAPES, "00")


def test_a_zip_is_read_at_its_offsets(tmp_path: Path) -> None:
    path = tmp_path / "head.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data", b"12345678" + ARRAYS["weight"].tobytes() + ARRAYS["bias"].tobytes())
    shapes = {"weight": (2, 3), "bias": (2,)}
    found = heads.read_zipped(path, "model/data", {"weight": 8, "bias": 32}, shapes, digest(path))
    assert all(np.array_equal(found[key], ARRAYS[key]) for key in shapes)
    for member, offset in (("other", 8), ("model/data", 1000)):
        with pytest.raises(ModelError, match="holds no weights that can be read"):
            heads.read_zipped(path, member, {"weight": offset, "bias": 32}, shapes, digest(path))
