"""Heads as their publishers save them, and embeddings for them to read."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from datagen import judges


def publish(patch: pytest.MonkeyPatch, module: ModuleType, path: Path) -> Path:
    """The file as the one whose hash is the published one's."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    patch.setattr(module, "WEIGHTS", dataclasses.replace(module.WEIGHTS, digest=digest))
    return path


def embeddings(count: int, width: int = 768) -> Any:
    """(count, width) float32, not of length 1, of which one is all zeros."""
    found = np.random.default_rng(5).normal(size=(count, width)).astype(np.float32) * 3
    found[count // 2] = 0
    return found


def load(name: str, path: Path, model: Path) -> Any:
    judges._load_once.cache_clear()
    return judges.load(name, {"weights": str(path), "model": str(model)})


def refuse_company(judge: Any, vectors: Any) -> None:
    """A score must not depend on the other images, nor on the prompt."""
    together = judge.score(vectors, ["a"] * len(vectors))
    alone = [judge.score(vectors[k : k + 1], ["b"])[0] for k in range(len(vectors))]
    assert np.array_equal(together, np.array(alone), equal_nan=True)
    assert np.array_equal(judge.score(vectors[::-1], ["a"] * len(vectors))[::-1], together, equal_nan=True)
