"""The one loader of CLIP models in training: every way of naming one, and weights with their own activation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest

from datagen.errors import ModelError
from datagen.weights import clip as weights
from training.models import clip
from training.models.embedded import EMBEDDED


def test_a_folder_and_the_embedded_model_load_frozen_in_evaluation_mode(clip_folder: Path) -> None:
    for model, name in ((EMBEDDED, EMBEDDED), (str(clip_folder), "clip")):
        loaded = clip.load(model, "cpu")
        assert loaded.name == name
        assert not loaded.model.training
        assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


@pytest.mark.parametrize(
    ("model", "given", "quick"),
    [
        ("RN50/openai", ("RN50", "openai"), True),
        ("ViT-B-32/laion2b_s34b_b79k", ("ViT-B-32", "laion2b_s34b_b79k"), False),
        ("hf-hub:owner/name", ("hf-hub:owner/name", None), False),
    ],
)
def test_weights_get_the_activation_that_they_were_trained_with(
    model: str, given: tuple[str, str | None], quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def create(name: str, *, pretrained: str | None, force_quick_gelu: bool, **_: Any) -> Any:
        asked.append((name, pretrained, force_quick_gelu))
        raise RuntimeError("enough\nof it")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", create)
    monkeypatch.setattr(weights, "_weights", lambda source, pretrained: None)
    with pytest.raises(ModelError, match="^the CLIP model .* does not load: enough of it$"):
        clip.load(model, "cpu")
    assert asked == [(*given, quick)]
