"""What a trained model prefers, told by how well it denoises pairs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.support import implicit_reward, world_pairs
from benchmarks.support.world_pairs import NOISES, Scene
from training.inference import sampling


@pytest.fixture
def scene() -> Scene:
    prompt, principle = world_pairs._prompts("pick-style")[0]
    images = np.random.default_rng(0).integers(0, 256, (2, NOISES, 64, 64, 3)).astype(np.uint8)
    return Scene("pick-style", prompt, principle, images, False)


def test_a_model_that_did_not_change_prefers_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "attach_adapter", lambda pipe, path: None)
    assert not implicit_reward.margins(Path("none"), [scene], 0).any()


def test_exchanged_sides_exchange_what_is_preferred(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def attach(pipe: Any, path: Path) -> None:
        pipe.unet.conv_out.weight.data *= 1.1

    monkeypatch.setattr(sampling, "attach_adapter", attach)
    found = implicit_reward.margins(Path("none"), [scene], 0)
    other = implicit_reward.margins(Path("none"), [dataclasses.replace(scene, images=scene.images[::-1])], 0)
    assert found.shape == (1, NOISES**2) and found.all()
    # The pairs of two noises are (0, 0), (0, 1), (1, 0), (1, 1), and exchange their middle with the sides.
    np.testing.assert_allclose(found[0, [0, 2, 1, 3]], -other[0], rtol=1e-3, atol=1e-6)
