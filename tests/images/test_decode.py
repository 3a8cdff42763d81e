import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datagen.images import decode as pictures
from datagen.images.decode import Unreadable, decode


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png_of_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_keep_every_pixel_from_bytes_and_from_a_file(kind: str, tmp_path: Path) -> None:
    data = encoded(noise(), kind, **({"lossless": True} if kind == "WEBP" else {}))
    (tmp_path / "a.img").write_bytes(data)
    for source in (data, tmp_path / "a.img"):
        picture = decode(source)
        assert (picture.mode, picture.size) == ("RGB", (40, 30))
        assert picture.tobytes() == noise().tobytes()


def test_transparency_lies_over_white() -> None:
    layer = np.zeros((1, 3, 4), np.uint8)
    layer[0, :, 3] = (0, 128, 255)
    picture = np.asarray(decode(encoded(Image.fromarray(layer))))[0, :, 0]
    assert picture.tolist() == [255, 127, 0]


def test_a_palette_with_a_transparent_colour_lies_over_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    picture = np.asarray(decode(encoded(image, transparency=0)))
    assert picture[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    grey = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    assert np.asarray(decode(encoded(Image.fromarray(grey))))[0, :, 1].tolist() == [0, 1, 128, 255]


def test_the_camera_s_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    assert decode(encoded(noise(40, 30), "JPEG", exif=exif)).size == (30, 40)


def test_of_an_animation_the_first_frame_is_seen() -> None:
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    data = encoded(red, "GIF", save_all=True, append_images=[blue])
    assert decode(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "CMYK", "YCbCr", "RGBA", "P", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.new(mode, (5, 4))
    kind = "PNG" if mode in ("1", "L", "LA", "RGBA", "P", "I;16") else "JPEG"
    assert decode(encoded(image, kind)).mode == "RGB"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the image is empty (0 bytes)"),
        (b"no image", "cannot be decoded: not an image of a known format"),
        (encoded(noise())[:20], "cannot be decoded"),
        (encoded(noise())[:-1000], "cannot be decoded"),
        (encoded(noise(200, 200), "JPEG")[:3000], "cannot be decoded"),
        (encoded(noise(), "WEBP")[:200], "cannot be decoded"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), "floating-point pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
        (png_of_header(10_001, 10_000), "10001×10000 is 100 megapixels, at most 100 are read"),
        (png_of_header(20_000, 10_000), "too large: over 100 megapixels"),
        (png_of_header(2**31 - 1, 2**31 - 1), "too large: over 100 megapixels"),
        (png_of_header(1, 60_000), "too narrow: 1×60000, sides of at most 1:500 are read"),
    ],
)
def test_what_cannot_be_read_is_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(data)
    message = str(caught.value)
    assert reason in message
    assert "\n" not in message and "0x" not in message and len(message) < 300


def test_an_empty_file_and_no_file_are_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    for name in ("a.png", "b.png"):
        with pytest.raises(Unreadable, match="cannot be decoded"):
            decode(tmp_path / name)


def test_an_image_that_is_too_large_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("1", (12_000, 9_000)))  # 108 megapixels in a few kilobytes

    def load(*arguments: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(pictures, "_rgb", load)
    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(Unreadable, match="12000×9000 is 108 megapixels"):
        decode(data)


SAMPLES = {kind: encoded(noise(), kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")}
DAMAGE: list[Callable[[bytes, int, int], bytes]] = [
    lambda data, at, value: data[:at],
    lambda data, at, value: data[:at] + bytes([value]) + data[at + 1 :],
    lambda data, at, value: data[:at] + data[at + value :],
]


@given(st.sampled_from(sorted(SAMPLES)), st.integers(0, 5_000), st.integers(0, 255), st.sampled_from(DAMAGE))
def test_damaged_bytes_give_a_picture_or_unreadable_and_nothing_else(
    kind: str, at: int, value: int, damage: Callable[[bytes, int, int], bytes]
) -> None:
    data = SAMPLES[kind]
    try:
        assert decode(damage(data, at % len(data), value)).mode == "RGB"
    except Unreadable as error:
        assert "\n" not in str(error)


@given(st.binary(max_size=200))
def test_random_bytes_are_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(data)
