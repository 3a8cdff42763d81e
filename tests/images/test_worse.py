"""A degraded copy is the same picture, clearly worse, and the same wherever it is made."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from datagen.images import worse
from datagen.images.decode import Unreadable

NAMES = {kind: next(str(k) for k in range(99) if worse.kind_of(str(k)) == kind) for kind in worse.KINDS}


def picture(mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).convert(mode)


@pytest.mark.parametrize("kind", worse.KINDS)
@pytest.mark.parametrize(
    ("mode", "size"), [("RGB", (64, 48)), ("L", (64, 48)), ("P", (33, 7)), ("RGBA", (1, 1)), ("CMYK", (300, 2))]
)
def test_a_copy_has_the_size_of_its_picture_whatever_that_is(kind: str, mode: str, size: tuple[int, int]) -> None:
    copy = worse.copy(picture(mode, size), NAMES[kind])
    assert (copy.mode, copy.size) == ("RGB", size)


@pytest.mark.parametrize("kind", worse.KINDS)
def test_a_copy_differs_and_is_the_same_again_from_a_file(kind: str) -> None:
    file = io.BytesIO()
    picture().save(file, "PNG")
    copy, again = worse.copy(picture(), NAMES[kind]), worse.copy(file.getvalue(), NAMES[kind])
    assert copy.tobytes() == again.tobytes()
    assert np.abs(np.asarray(copy, float) - np.asarray(picture(), float)).mean() > 5


def test_kinds_are_shared_out_evenly() -> None:
    kinds = [worse.kind_of(f"picture {k}") for k in range(1000)]
    assert all(150 < kinds.count(kind) < 250 for kind in worse.KINDS)


def test_what_cannot_be_decoded_has_no_copy() -> None:
    with pytest.raises(Unreadable):
        worse.copy(b"no picture", "x")
