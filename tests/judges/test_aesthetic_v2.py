"""LAION's improved aesthetic predictor: its five layers as one, from its file as published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import heads
import numpy as np
import pytest
import torch
from torch.nn import Dropout, Linear, ReLU, Sequential

from datagen.errors import ModelError
from datagen.judges import aesthetic_v2


def network(*, activations: bool = False) -> Any:
    """Its layers, with the activations that its other file has."""
    torch.manual_seed(3)
    between = [[ReLU()] if activations else []] * 4
    return Sequential(
        Linear(768, 1024), *between[0], Dropout(0.2), Linear(1024, 128), *between[1], Dropout(0.2), Linear(128, 64),
        *between[2], Dropout(0.1), Linear(64, 16), *between[3], Linear(16, 1),
    ).eval()  # fmt: skip


def save(path: Path, layers: Any) -> Path:
    torch.save({f"layers.{name}": value for name, value in layers.state_dict().items()}, path)
    return path


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return heads.publish(monkeypatch, aesthetic_v2, save(tmp_path / "sac+logos+ava1-l14-linearMSE.pth", network()))


def test_one_affine_map_equals_the_layers(published: Path, clip_folder: Path) -> None:
    vectors = heads.embeddings(70)
    with torch.no_grad():
        expected = network()(torch.nn.functional.normalize(torch.from_numpy(vectors)))[:, 0].numpy()
    found = heads.load("aesthetic_v2", published, clip_folder).score(vectors, [""] * 70)
    assert found == pytest.approx(expected, abs=1e-5) and np.ptp(expected) > 1e-3


def test_a_score_depends_on_its_image_alone(published: Path, clip_folder: Path) -> None:
    heads.refuse_company(heads.load("aesthetic_v2", published, clip_folder), heads.embeddings(70))


def test_the_file_with_activations_is_refused(
    tmp_path: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = heads.publish(monkeypatch, aesthetic_v2, save(tmp_path / "reluMSE.pth", network(activations=True)))
    with pytest.raises(ModelError, match=r"do not fit: \d+ missing \(layers.2.bias, .*unexpected"):
        heads.load("aesthetic_v2", path, clip_folder)
