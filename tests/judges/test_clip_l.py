"""OpenAI's ViT-L/14 is taken with the activation that it was trained with, and no other model in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import plain_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from datagen.errors import ModelError
from datagen.judges import views
from datagen.judges.backbones import clip_l


def save(folder: Path, *, quick: bool) -> Path:
    """An open_clip folder of the published width, with towers in small."""
    torch.manual_seed(7)
    model: dict[str, Any] = {
        "embed_dim": 768,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    } | ({"quick_gelu": True} if quick else {})
    network = open_clip.model.CLIP(**model)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    folder.mkdir()
    state = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    config = {"model_cfg": model, "preprocess_cfg": {"mean": views.CLIP_MEAN, "std": views.CLIP_STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def test_the_activation_is_quick_gelu(tmp_path: Path) -> None:
    model = clip_l.find(str(save(tmp_path / "quick", quick=True)))
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(4)]
    pixels = (np.stack([np.asarray(one) / 255 for one in images]) - views.CLIP_MEAN) / views.CLIP_STD
    t = plain_clip.renamed(load_file(tmp_path / "quick" / "open_clip_model.safetensors"))
    found = model.images([model.view(one) for one in images])
    quick, plain = (
        plain_clip.images(t, pixels.transpose(0, 3, 1, 2), 2, act) for act in (plain_clip.quick_gelu, plain_clip.gelu)
    )
    assert plain_clip.cosines(found, quick) == pytest.approx(1, abs=1e-6)
    assert np.abs(found - quick).max() < 1e-4 < np.abs(plain - quick).max() / 10


def test_a_folder_without_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lack quick_gelu, with which OpenAI's ViT-L/14 was trained"):
        clip_l.find(str(save(tmp_path / "plain", quick=False)))
