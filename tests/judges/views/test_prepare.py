"""Images become views by threads: in order, each decoded once, with what is wrong in its place."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datagen.images.decode import Unreadable, decode
from datagen.judges import views
from datagen.judges.views import prepare as module
from datagen.judges.views.prepare import enough, prepare


def jpeg(seed: int, width: int = 160, height: int = 120) -> bytes:
    rng, file = np.random.default_rng(seed), io.BytesIO()
    coarse = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


SEEN = [views.clip_hf(32), views.squash(48), views.letterbox_float(32), views.letterbox_bottom_right(32)]


def test_images_come_in_order_and_what_is_no_good_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(100))
    sources = [
        jpeg(0),
        b"",
        tmp_path / "a.jpg",
        jpeg(1)[:900],
        b"text",
        tmp_path / "none.png",
        *map(jpeg, range(2, 40)),
    ]
    found = list(prepare(sources, SEEN))
    assert len(found) == len(sources)
    assert [str(found[place]).split(":")[0] for place in (1, 3, 4, 5)] == [
        "the image is empty (0 bytes)",
        "the image cannot be decoded",
        "the image cannot be decoded",
        "the image cannot be read",
    ]
    for source, pixels in zip(sources, found, strict=True):
        if not isinstance(pixels, Unreadable):
            for view in SEEN:
                np.testing.assert_array_equal(pixels[view], view(decode(source)))


def test_each_image_is_decoded_once_whatever_the_number_of_views(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, seen = threading.Lock(), list[bytes]()

    def counted(source: bytes, at_least: int | None) -> Image.Image:
        with lock:
            seen.append(source)
        return decode(source, at_least)

    monkeypatch.setattr(module, "decode", counted)
    sources = [jpeg(seed) for seed in range(5)]
    list(prepare(sources, SEEN))
    assert sorted(seen) == sorted(sources)


def test_sources_are_read_no_further_ahead_than_asked_for_and_threads_end_when_nobody_waits() -> None:
    before, read = threading.active_count(), 0

    def sources() -> Iterator[bytes]:
        nonlocal read
        for seed in range(1000):
            read += 1
            yield jpeg(seed % 3)

    found = prepare(sources(), SEEN, ahead=4)
    for _ in range(3):
        next(found)
    assert 3 <= read <= 8
    found.close()
    assert threading.active_count() == before and read <= 8


def test_an_interrupt_ends_the_threads_and_reaches_who_asked() -> None:
    before = threading.active_count()

    def sources() -> Iterator[bytes]:
        yield from map(jpeg, range(6))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(prepare(sources(), SEEN, ahead=4))
    assert threading.active_count() == before


def test_fast_decodes_jpegs_no_smaller_than_the_largest_view_and_leaves_other_formats_alone() -> None:
    assert enough(SEEN) == 48
    assert enough([*SEEN, views.smart_resize()]) is None
    large = jpeg(0, 1024, 768)
    file = io.BytesIO()
    decode(large).save(file, "PNG")
    exact, png = prepare([large, file.getvalue()], SEEN)
    fast, fast_png = prepare([large, file.getvalue()], SEEN, fast=True)
    for view in SEEN[:3]:  # the last looks at single pixels, and sees others
        np.testing.assert_array_equal(png[view], fast_png[view])
        difference = np.abs(exact[view].astype(float) - fast[view]) * (1 if exact[view].dtype == np.uint8 else 255)
        assert 0 < difference.mean() < 6 and exact[view].shape == fast[view].shape
