"""LAION's first aesthetic predictor, from its file as published."""

from __future__ import annotations

from pathlib import Path

import heads
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from datagen.errors import ModelError
from datagen.judges import aesthetic_v1


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.manual_seed(2)
    path = tmp_path / "sa_0_4_vit_l_14_linear.pth"
    torch.save(torch.nn.Linear(768, 1).state_dict(), path)
    return heads.publish(monkeypatch, aesthetic_v1, path)


def test_equals_its_definition(published: Path, clip_folder: Path) -> None:
    layer = torch.nn.Linear(768, 1)
    layer.load_state_dict(torch.load(published, weights_only=True))
    vectors = heads.embeddings(70)
    with torch.no_grad():
        expected = layer(torch.nn.functional.normalize(torch.from_numpy(vectors)))[:, 0].numpy()
    found = heads.load("aesthetic_v1", published, clip_folder).score(vectors, [""] * 70)
    assert found == pytest.approx(expected, abs=1e-5) and np.ptp(expected) > 0.05


def test_a_score_depends_on_its_image_alone(published: Path, clip_folder: Path) -> None:
    heads.refuse_company(heads.load("aesthetic_v1", published, clip_folder), heads.embeddings(70))


def test_the_same_weights_in_another_format_are_the_same_judge(published: Path, clip_folder: Path) -> None:
    first = heads.load("aesthetic_v1", published, clip_folder)
    tensors = torch.load(published, weights_only=True)
    save_file(tensors, published.with_name("weights.safetensors"))
    np.savez(published.with_name("weights.npz"), **{name: value.numpy() for name, value in tensors.items()})
    for name in ("weights.safetensors", "weights.npz"):
        assert heads.load("aesthetic_v1", published.with_name(name), clip_folder).version == first.version
    published.unlink()
    assert heads.load("aesthetic_v1", published.parent, clip_folder).version == first.version


def test_what_is_missing_is_said_with_its_place_and_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_WEIGHTS", str(tmp_path))
    with pytest.raises(
        ModelError, match=r"needs sa_0_4_vit_l_14_linear.pth \(its SHA-256 begins with 2cd4e60f\)"
    ) as it:
        aesthetic_v1.Judge(aesthetic_v1.Options())
    assert f"put it into {tmp_path / 'aesthetic_v1'}" in str(it.value) and "\n" not in str(it.value)


def test_a_model_of_another_width_is_refused(published: Path, clip_folder: Path) -> None:
    judge = heads.load("aesthetic_v1", published, clip_folder)
    with pytest.raises(ModelError, match="read embeddings of 768 numbers, and its model gives 32"):
        judge.score(heads.embeddings(3, 32), [""] * 3)


@pytest.mark.parametrize("model", ["ViT-B-32/openai", "ViT-L-14/laion2b_s32b_b82k", "ViT-L-14-336/openai"])
def test_another_model_is_refused_by_its_name(published: Path, model: str) -> None:
    with pytest.raises(ModelError, match=f"read embeddings of OpenAI's ViT-L/14, not of {model}"):
        heads.load("aesthetic_v1", published, Path(model))


def test_the_name_of_openais_model_is_taken_without_loading_it(published: Path) -> None:
    judge = heads.load("aesthetic_v1", published, Path("ViT-L-14/openai"))
    assert judge.needs.identity == "ViT-L-14/openai" and judge.version.endswith(":ViT-L-14/openai")
