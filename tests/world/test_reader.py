"""The attribute reader knows every drawing: it is exact on renders and steady under small damage."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datagen.world.grammar import ATTRIBUTES, VALUES, Scene, sample_scene
from datagen.world.reader import read, read_array
from datagen.world.render import render, render_array

scenes = st.builds(
    Scene,
    **{name: st.sampled_from(values) for name, values in VALUES.items()},
    figure_slot=st.integers(0, 3), thing_slot=st.integers(0, 1),
    background_variant=st.integers(0, 3), hazard_variant=st.integers(0, 5),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(scenes)
def test_every_attribute_of_any_render_is_read_back(scene: Scene) -> None:
    assert read_array(render_array(scene)).attributes == scene.attributes()


@pytest.mark.slow
def test_at_least_995_of_1000_even_renders_are_right_for_every_attribute() -> None:
    rng = random.Random("reader test")
    drawn = [sample_scene(rng, {name: rng.choice(VALUES[name]) for name in ATTRIBUTES}) for _ in range(1000)]
    shown = [read_array(render_array(scene)).attributes for scene in drawn]
    for name in ATTRIBUTES:
        right = sum(seen[name] == getattr(scene, name) for seen, scene in zip(shown, drawn, strict=True))
        assert right >= 995, f"{name}: {right} of 1000"


def test_a_clean_render_has_almost_no_error_and_noise_has_much() -> None:
    scene = sample_scene(random.Random(1), {"hazard": "none"})
    assert read_array(render_array(scene)).error < 0.5
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert read_array(noise).error > 30


def test_light_noise_changes_no_attribute() -> None:
    rng, numbers = random.Random(2), np.random.default_rng(2)
    for _ in range(20):
        scene = sample_scene(rng)
        noisy = np.clip(render_array(scene) + numbers.normal(0, 8, (64, 64, 3)), 0, 255).astype(np.uint8)
        assert read_array(noisy).attributes == scene.attributes()


@pytest.mark.parametrize("mode", ["RGBA", "P", "RGB"])
@pytest.mark.parametrize("size", [64, 128, 256])
def test_any_mode_and_size_is_brought_to_the_scene_size(mode: str, size: int) -> None:
    scene = sample_scene(random.Random(3))
    image = render(scene).resize((size, size), Image.Resampling.NEAREST).convert(mode)
    assert read([image])[0].attributes == scene.attributes()
