"""Judges are asked again from embeddings that are known: no image is looked at, and no network loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import heads
import numpy as np
import pytest
import torch

from datagen import judges
from datagen.judges import aesthetic_v1, panel
from datagen.judges.panel import Question


class Unloaded:
    """A backbone that must not be asked for anything that needs its network."""

    identity = "unloaded@1"

    @property
    def view(self) -> Any:
        raise AssertionError("the network was loaded for its view")

    @property
    def logit_scale(self) -> float:
        raise AssertionError("the network was loaded for its scale")

    def images(self, pixels: Sequence[Any]) -> Any:
        raise AssertionError("images were embedded again")

    def texts(self, texts: Sequence[str]) -> Any:
        raise AssertionError("texts were embedded")


class First:
    """The first number of an embedding."""

    name, version, scale = "first", "1", 1.0
    facts = judges.Facts(code_license="MIT", reads_text=False)
    needs = Unloaded()

    def score(self, images: Any, prompts: Sequence[str]) -> Any:
        return images[:, 0].astype(float)


def test_known_embeddings_need_no_network() -> None:
    vectors = heads.embeddings(50, 4)
    asked = [Question(None, ("a chef",), embeddings={"unloaded@1": vector}) for vector in vectors]
    judge: Any = First()
    said = panel.ask([judge], asked)
    assert [one.scores["first"].item() for one in said] == vectors[:, 0].tolist()
    assert all(one.error is None and not one.failures for one in said)


def test_a_stream_of_known_embeddings_needs_no_network() -> None:
    vectors = heads.embeddings(70, 4)
    asked = [Question(None, ("a chef",), embeddings={"unloaded@1": vector}) for vector in vectors]
    judge: Any = First()
    said = [answer for chunk in panel.stream([judge], panel.chunks(asked)) for answer in chunk]
    assert [one.scores["first"].item() for one in said] == vectors[:, 0].tolist()


def test_an_image_whose_embedding_is_not_known_is_looked_at() -> None:
    judge: Any = First()
    with pytest.raises(AssertionError, match="loaded for its view"):
        panel.ask([judge], [Question(None, ("a chef",))])


def test_a_head_is_asked_again_without_its_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(torch.nn.Linear(768, 1).state_dict(), tmp_path / "head.pth")
    heads.publish(monkeypatch, aesthetic_v1, tmp_path / "head.pth")
    judge = heads.load("aesthetic_v1", tmp_path / "head.pth", Path("ViT-L-14/openai"))
    vectors = heads.embeddings(70)
    asked = [Question(None, ("a",), embeddings={"ViT-L-14/openai": vector}) for vector in vectors]
    said = [one.scores["aesthetic_v1"].item() for one in panel.ask([judge], asked)]
    assert said == judge.score(vectors, [""] * 70).tolist() and np.isfinite(said).all()
