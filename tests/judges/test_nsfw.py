"""LAION's NSFW detector, from its zip as published, with the columns that it does not see."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import heads
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from datagen.errors import ModelError
from datagen.judges import nsfw

BLIND = [180, 316, 413, 440, 644]


def arrays() -> dict[str, Any]:
    """Weights at random; the statistics of five columns are of words' numbers, as in the published file."""
    rng = np.random.default_rng(6)
    found = {"mean": rng.normal(size=768) * 0.01, "variance": rng.uniform(1e-4, 2e-3, 768)}
    found["mean"][BLIND], found["variance"][BLIND] = 1188.0, 2.0e6
    for k, (into, out) in enumerate([(768, 64), (64, 512), (512, 256), (256, 1)], 1):
        found[f"kernel{k}"] = rng.normal(size=(into, out)) * np.sqrt(2 / into)
        found[f"bias{k}"] = rng.normal(size=out) * 0.1
    return {name: value.astype(np.float32) for name, value in found.items()}


def save(path: Path) -> Path:
    """The bundle of a SavedModel: each variable after the other, a count of eight bytes after the first two."""
    given = arrays()
    order = ["mean", "variance", *(f"{kind}{k}" for k in range(1, 5) for kind in ("kernel", "bias"))]
    parts = [given[name].tobytes() for name in order]
    data = b"".join([*parts[:2], bytes(8), *parts[2:], b"what the optimiser kept"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("clip_autokeras_binary_nsfw/saved_model.pb", b"graph")
        archive.writestr("clip_autokeras_binary_nsfw/variables/variables.data-00000-of-00001", data)
        archive.writestr("clip_autokeras_binary_nsfw/variables/variables.index", b"index")
    return path


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return heads.publish(monkeypatch, nsfw, save(tmp_path / "clip_autokeras_binary_nsfw.zip"))


def expected(vectors: Any) -> Any:
    """Keras' layers one by one; the columns it takes for categories give the number of a word it does not know, 0."""
    w = {name: torch.from_numpy(value) for name, value in arrays().items()}
    x = torch.nn.functional.normalize(torch.from_numpy(vectors).clone())
    x[:, BLIND] = 0.0
    x = (x - w["mean"]) / w["variance"].sqrt()
    for k in range(1, 4):
        x = torch.relu(x @ w[f"kernel{k}"] + w[f"bias{k}"])
    return torch.sigmoid(x @ w["kernel4"] + w["bias4"])[:, 0].numpy()


def test_equals_its_layers(published: Path, clip_folder: Path) -> None:
    vectors = heads.embeddings(130)
    found = heads.load("nsfw", published, clip_folder).score(vectors, [""] * 130)
    assert found == pytest.approx(expected(vectors), abs=1e-5)
    assert np.ptp(found) > 0.3 and 0 < found.min() and found.max() < 1


def test_five_columns_are_not_seen(published: Path, clip_folder: Path) -> None:
    judge = heads.load("nsfw", published, clip_folder)
    first = heads.embeddings(40)
    turned = first.copy()
    turned[:, BLIND] = np.roll(first[:, BLIND], 1, axis=1)  # other numbers there, of the same length together
    seen = first.copy()
    seen[:, BLIND[0] + 1] += 3
    said = [judge.score(vectors, [""] * 40) for vectors in (first, turned, seen)]
    assert said[1] == pytest.approx(said[0], abs=1e-6)
    assert np.abs(said[2] - said[0]).max() > 1e-3


def test_a_score_depends_on_its_image_alone(published: Path, clip_folder: Path) -> None:
    heads.refuse_company(heads.load("nsfw", published, clip_folder), heads.embeddings(130))


def test_the_same_weights_as_safetensors_are_the_same_judge(published: Path, clip_folder: Path) -> None:
    other = published.with_name("weights.safetensors")
    save_file(arrays(), other)
    versions = {heads.load("nsfw", path, clip_folder).version for path in (published, other)}
    assert len(versions) == 1


def test_another_zip_is_refused(tmp_path: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "clip_autokeras_binary_nsfw.zip")
    with pytest.raises(ModelError, match="is not the published file, .*begins with 905520bb"):
        heads.load("nsfw", path, clip_folder)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clip_autokeras_binary_nsfw/variables/variables.data-00000-of-00001", b"short")
    with pytest.raises(ModelError, match="holds no weights that can be read"):
        heads.load("nsfw", heads.publish(monkeypatch, nsfw, path), clip_folder)
