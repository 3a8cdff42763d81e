"""Aspect-ratio buckets: which sizes there are, and which image goes to which."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from training import data
from training.data import buckets, pictures
from training.errors import TrainingError

Picture = Callable[..., bytes]
SDXL = buckets.shapes(1024, 64)


def test_the_sizes_of_sdxl_are_those_it_was_trained_at() -> None:
    published = [(1024, 1024), (960, 1088), (896, 1152), (832, 1216), (768, 1344), (704, 1472), (640, 1600)]
    published += [(576, 1792), (512, 2048)]
    assert set(SDXL) == {shape for both in published for shape in (both, both[::-1])}
    assert SDXL[0] == (1024, 1024)


@given(resolution=st.integers(64, 2048), step=st.sampled_from([8, 16, 32, 64]))
def test_all_sizes_are_multiples_of_the_step_within_the_area(resolution: int, step: int) -> None:
    try:
        found = buckets.shapes(resolution, step)
    except TrainingError:
        return
    assert len(set(found)) == len(found) and {shape[::-1] for shape in found} == set(found)
    for tall, wide in found:
        assert tall % step == wide % step == 0
        assert tall * wide <= resolution**2 and 0.25 <= tall / wide <= 4


def test_a_resolution_with_one_size_only_is_refused() -> None:
    with pytest.raises(TrainingError, match="one size only; give a greater --resolution"):
        buckets.shapes(64, 64)


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((1024, 1024), (1024, 1024)),
        ((64, 64), (1024, 1024)),
        ((1216, 832), (1216, 832)),
        ((832, 1216), (832, 1216)),
        ((1000, 1500), (832, 1216)),
        ((1080, 1920), (768, 1344)),
        ((1, 500), (512, 2048)),
        ((4096, 1024), (2048, 512)),
        ((1023, 1024), (1024, 1024)),
    ],
)
def test_an_image_goes_to_the_size_nearest_to_its_shape(size: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert buckets.nearest(size, SDXL) == bucket


def test_images_that_are_compared_go_to_one_size_and_the_moved_are_counted() -> None:
    wide, square, tall = (832, 1216), (1024, 1024), (1216, 832)
    sizes = [wide, square, square, tall, wide, wide, tall]
    found, moved = buckets.assign(sizes, [[0, 1], [1, 2], [4, 5], [6, 3]], SDXL)
    assert found == [square, square, square, tall, wide, wide, tall] and moved == 1
    found, moved = buckets.assign(sizes, [[3, 4]], SDXL)  # of equally many the first image's
    assert found[3:5] == [tall, tall] and moved == 1
    assert buckets.assign(sizes, [], SDXL) == (sizes, 0)


@given(sizes=st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 4000)), min_size=2, max_size=12))
def test_whatever_is_compared_every_group_has_one_size(sizes: list[tuple[int, int]]) -> None:
    rows = np.random.default_rng(len(sizes)).integers(0, len(sizes), (5, 3)).tolist()
    found, moved = buckets.assign(sizes, rows, SDXL)
    assert all(len({found[row] for row in group}) == 1 for group in rows)
    assert moved == sum(buckets.nearest(size, SDXL) != shape for size, shape in zip(sizes, found, strict=True))


@pytest.mark.parametrize("target", [(48, 80), (80, 48), (32, 128), (64, 64)])
@pytest.mark.parametrize("size", [(64, 64), (200, 80), (80, 200), (33, 31), (48, 80)])
def test_a_picture_covers_its_bucket_and_its_time_ids_say_how(size: tuple[int, int], target: tuple[int, int]) -> None:
    picture = Image.radial_gradient("L").resize(size).convert("RGB")
    array = data.to_array(picture, target)
    assert array.shape == (3, *target) and -1 <= array.min() <= array.max() <= 1
    height, width, top, left, tall, wide = pictures.time_ids(size[1], size[0], target)
    assert (height, width, tall, wide) == (size[1], size[0], *target)
    high, broad = pictures.scaled(height, width, target)
    assert (high - tall) // 2 == top >= 0 and (broad - wide) // 2 == left >= 0
    assert high == tall or broad == wide  # it is no larger than it must be


def test_a_square_is_a_bucket_like_any_other() -> None:
    picture = Image.radial_gradient("L").resize((96, 64)).convert("RGB")
    assert np.array_equal(data.to_array(picture, 48), data.to_array(picture, (48, 48)))
    assert pictures.time_ids(64, 96, 48) == pictures.time_ids(64, 96, (48, 48)) == (64, 96, 0, 12, 48, 48)
