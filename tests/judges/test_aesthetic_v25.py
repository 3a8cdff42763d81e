"""Aesthetic predictor v2.5: SigLIP's pooled embedding and five layers as one, from its file as published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import heads
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import Dropout, Linear, Sequential
from transformers import SiglipConfig, SiglipModel, SiglipVisionModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import aesthetic_v25
from datagen.judges.backbones import siglip

WIDTH = 1152


def network(width: int) -> Any:
    torch.manual_seed(3)
    layers = [Linear(width, 1024), Dropout(0.5), Linear(1024, 128), Dropout(0.5), Linear(128, 64)]
    return Sequential(*layers, Dropout(0.5), Linear(64, 16), Dropout(0.2), Linear(16, 1)).eval()


def save_head(path: Path, width: int) -> Path:
    """As published: in bfloat16."""
    state = {f"scoring_head.{name}": value.bfloat16() for name, value in network(width).state_dict().items()}
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole SigLIP in small, and its vision tower alone."""
    torch.manual_seed(4)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 50,
    }
    root = tmp_path_factory.mktemp("siglip")
    whole = SiglipModel(SiglipConfig(vision_config=vision, text_config=text))
    whole.save_pretrained(root / "whole")
    SiglipVisionModel.from_pretrained(root / "whole").save_pretrained(root / "tower")
    return root


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return heads.publish(monkeypatch, aesthetic_v25, save_head(tmp_path / "aesthetic_predictor_v2_5.pth", 32))


def load(weights: Path, tower: Path) -> Any:
    judges._load_once.cache_clear()
    siglip.find.cache_clear()
    return judges.load("aesthetic_v25", {"weights": str(weights), "tower": str(tower)})


@pytest.mark.parametrize("which", ["whole", "tower"])
def test_equals_its_definition(which: str, towers: Path, published: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = [(28, 28), (60, 40), (30, 90)]
    images = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]
    processor = SiglipImageProcessorPil(size={"height": 28, "width": 28}, resample=3)
    pixels = torch.from_numpy(np.stack(processor(images)["pixel_values"]))
    layers = network(32)
    layers.load_state_dict({name: value.bfloat16().float() for name, value in layers.state_dict().items()})
    with torch.no_grad():
        pooled = SiglipVisionModel.from_pretrained(towers / which)(pixels).pooler_output
        expected = layers(pooled / pooled.norm(dim=-1, keepdim=True))[:, 0].numpy()
    judge = load(published, towers / which)
    found = judge.score(judge.needs.images([judge.needs.view(image) for image in images]), [""] * 3)
    assert found == pytest.approx(expected, abs=1e-5)


def test_the_layers_are_one_affine_map_at_the_published_width(
    towers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = heads.publish(monkeypatch, aesthetic_v25, save_head(tmp_path / "v25.pth", WIDTH))
    layers = network(WIDTH)
    layers.load_state_dict({name: value.bfloat16().float() for name, value in layers.state_dict().items()})
    vectors = heads.embeddings(50, WIDTH)
    with torch.no_grad():
        expected = layers(torch.nn.functional.normalize(torch.from_numpy(vectors)))[:, 0].numpy()
    judge = load(path, towers / "tower")
    assert judge.score(vectors, [""] * 50) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ModelError, match="read embeddings of 1152 numbers, and its model gives 32"):
        judge.score(heads.embeddings(2, 32), [""] * 2)


def test_a_score_depends_on_its_image_alone(towers: Path, published: Path) -> None:
    heads.refuse_company(load(published, towers / "tower"), heads.embeddings(70, 32))


def test_both_parts_are_asked_for_by_their_places(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAGEN_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises(ModelError, match="needs aesthetic_predictor_v2_5.pth .* of discus0434"):
        judges.load("aesthetic_v25", {})
    with pytest.raises(ModelError, match="hf download google/siglip-so400m.* --local-dir .*aesthetic_v25.siglip"):
        judges.load("aesthetic_v25", {"weights": str(published)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "clip"}, "holds a clip; siglip_vision_model"),
        ({"vision_use_head": False}, "is not of a SigLIP that pools"),
        ({"image_size": 0}, "is not of a SigLIP that pools"),
        ({"num_hidden_layers": 1}, "do not fit"),
    ],
)
def test_another_tower_is_refused_in_one_line(
    change: dict[str, Any], message: str, towers: Path, published: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    config = json.loads((towers / "tower" / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    (folder / "model.safetensors").write_bytes((towers / "tower" / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match=message) as error:
        judge = load(published, folder)
        judge.needs.images([judge.needs.view(Image.new("RGB", (28, 28)))])
    assert "\n" not in str(error.value)
