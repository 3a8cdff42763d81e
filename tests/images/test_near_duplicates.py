"""Pictures that look the same are found whatever was done to their files, and others are not, however alike."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from datagen.images import looks, near_duplicates
from datagen.images.decode import Unreadable


def photograph(seed: int, side: int = 192) -> Image.Image:
    """Smooth shapes with some grain, different for each seed."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((side, side))
    grain = random.normal(0, 4, (side, side, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) * 0.7 + 35 + grain, 0, 255).astype(np.uint8))


def file(picture: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, **({"format": "PNG"} | options))
    return stream.getvalue()


SAME: dict[str, Callable[[Image.Image], bytes]] = {
    "the same file": file,
    "JPEG": lambda picture: file(picture, format="JPEG", quality=60),
    "WebP": lambda picture: file(picture, format="WEBP", quality=60),
    "half as large": lambda picture: file(picture.resize((96, 96))),
    "twice as large": lambda picture: file(picture.resize((384, 384))),
    "blurred": lambda picture: file(picture.filter(ImageFilter.GaussianBlur(2))),
    "lighter": lambda picture: file(ImageEnhance.Brightness(picture).enhance(1.15)),
    "flatter": lambda picture: file(ImageEnhance.Contrast(picture).enhance(0.8)),
}
OTHER: dict[str, Callable[[Image.Image], Image.Image]] = {
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "its colours exchanged": lambda picture: Image.merge("RGB", picture.split()[::-1]),
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "another thing in it": lambda picture: _with_a_patch(picture),
}


def _with_a_patch(picture: Image.Image) -> Image.Image:
    changed = picture.copy()
    changed.paste((255, 0, 160), (80, 80, 125, 125))
    return changed


@pytest.mark.parametrize("change", SAME)
def test_a_picture_is_known_again_in_another_file(change: str) -> None:
    ones = [looks.look(file(photograph(seed))) for seed in range(8)]
    others = [looks.look(SAME[change](photograph(seed))) for seed in range(8)]
    assert near_duplicates.alike(ones, others).all()
    assert near_duplicates.groups([*ones, *others]).tolist() == [*range(8), *range(8)]


@pytest.mark.parametrize("change", OTHER)
def test_another_picture_is_not_taken_for_it(change: str) -> None:
    ones = [looks.look(file(photograph(seed))) for seed in range(8)]
    others = [looks.look(file(OTHER[change](photograph(seed)))) for seed in range(8)]
    assert not near_duplicates.alike(ones, others).any()


def test_pictures_of_one_colour_are_equal_where_the_colour_is() -> None:
    colours = ["white", "black", "red", "green", "#fefefe", "white"]
    found = near_duplicates.groups([looks.look(file(Image.new("RGB", (64, 64), colour))) for colour in colours])
    assert found.tolist() == [0, 1, 2, 3, 0, 0]


def test_many_pictures_are_told_apart_and_the_few_twins_among_them_found() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**63, 20_000, dtype=np.uint64)
    small = random.integers(0, 255, (20_000, 192), dtype=np.uint8)
    many = [looks.Look(0, 0, 0, int(bits), cells.tobytes()) for bits, cells in zip(hashes, small, strict=True)]
    twins = [looks.Look(0, 0, 0, many[place].hash ^ 0b10010001, many[place].small) for place in range(0, 20_000, 400)]
    found = near_duplicates.groups([*many, *twins])
    assert found[20_000:].tolist() == list(range(0, 20_000, 400))
    assert len(np.unique(found)) == 20_000


@given(st.integers(0, 2**64 - 1), st.sets(st.integers(0, 63), max_size=6))
def test_hashes_that_differ_in_four_bits_or_fewer_are_compared_wherever_those_are(bits: int, places: set[int]) -> None:
    small = np.random.default_rng(0).integers(0, 255, 192, dtype=np.uint8).tobytes()
    other = bits
    for place in places:
        other ^= 1 << place
    found = near_duplicates.groups([looks.Look(0, 0, 0, bits, small), looks.Look(0, 0, 0, other, small)])
    assert found.tolist() == [0, 0 if len(places) <= 4 else 1]


def test_no_picture_and_one_are_no_groups() -> None:
    assert near_duplicates.groups([]).tolist() == []
    assert near_duplicates.groups([looks.look(file(photograph(0)))]).tolist() == [0]


def test_light_colour_and_sharpness_are_what_their_names_say() -> None:
    def look(picture: Image.Image) -> looks.Look:
        return looks.look(file(picture))

    white, red = look(Image.new("RGB", (20, 20), "white")), look(Image.new("RGB", (20, 20), "red"))
    assert (white.brightness, white.saturation, white.sharpness) == pytest.approx((1, 0, 0), abs=1e-6)
    assert (red.brightness, red.saturation) == pytest.approx((0.299, 1), abs=1e-6)
    sharp = photograph(0)
    assert look(sharp).sharpness > 4 * look(sharp.filter(ImageFilter.GaussianBlur(2))).sharpness
    assert look(Image.new("RGB", (1, 2), "black")) == looks.Look(
        0, 0, 0, look(Image.new("RGB", (1, 2))).hash, bytes(192)
    )


@pytest.mark.parametrize("data", [b"", b"no picture", file(photograph(0))[:300]])
def test_what_cannot_be_read_is_said(data: bytes) -> None:
    with pytest.raises(Unreadable):
        looks.look(data)
