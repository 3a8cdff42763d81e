"""Renders are deterministic, and scenes that differ look different."""

import dataclasses
import random

import numpy as np
import pytest

from datagen.world.grammar import ATTRIBUTES, VALUES, sample_scene
from datagen.world.render import render, render_array


def test_a_render_is_64_pixels_square_and_the_same_every_time() -> None:
    scene = sample_scene(random.Random(0))
    assert render(scene).size == (64, 64)
    assert np.array_equal(render_array(scene), render_array(scene))


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_changing_an_attribute_changes_at_least_20_pixels(name: str) -> None:
    rng = random.Random(name)
    scene = sample_scene(rng)
    for value in VALUES[name]:
        other = dataclasses.replace(scene, **{name: value})
        if other != scene:
            assert (render_array(scene) != render_array(other)).any(-1).sum() >= 20


def test_pixel_art_is_made_of_two_pixel_blocks() -> None:
    blocks = render_array(sample_scene(random.Random(4), {"style": "pixel"})).reshape(32, 2, 32, 2, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
