import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datagen import pictures


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def huge_png(width: int = 20_000, height: int = 10_000) -> bytes:
    """A PNG whose header promises 200 megapixels, in a hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_every_mode_becomes_rgb_of_the_right_colour() -> None:
    grey = Image.new("L", (8, 6), 100)
    palette = Image.new("RGB", (8, 6), (200, 10, 30)).quantize()
    assert pictures.decode(encoded(grey)).getpixel((0, 0)) == (100, 100, 100)
    assert pictures.decode(encoded(palette)).getpixel((0, 0)) == (200, 10, 30)
    assert pictures.decode(encoded(Image.new("1", (8, 6), 1))).getpixel((0, 0)) == (255, 255, 255)
    assert pictures.decode(encoded(Image.new("CMYK", (8, 6)), "TIFF")).getpixel((0, 0)) == (255, 255, 255)
    assert pictures.decode(encoded(Image.new("LA", (8, 6), (9, 255)))).getpixel((0, 0)) == (9, 9, 9)


def test_transparency_is_over_white() -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.putpixel((1, 1), (255, 0, 0, 255))
    decoded = pictures.decode(encoded(image))
    assert decoded.getpixel((0, 0)) == (255, 255, 255)
    assert decoded.getpixel((1, 1)) == (255, 0, 0)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    image = Image.fromarray(np.full((4, 4), 30_000, dtype=np.uint16))
    assert pictures.decode(encoded(image)).getpixel((0, 0)) == (116, 116, 116)


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "green")]
    for kind in ("GIF", "WEBP", "PNG"):
        lossless = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
        assert pictures.decode(data).getpixel((0, 0)) == (255, 0, 0)


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (8, 4), "white")
    exif = Image.Exif()
    exif[0x0112] = 6
    assert pictures.decode(encoded(image, "JPEG", exif=exif)).size == (4, 8)


def test_200_megapixels_are_refused_unread() -> None:
    with pytest.raises(pictures.Unreadable, match="too large") as caught:
        pictures.decode(huge_png())
    assert "\n" not in str(caught.value)
    with pytest.raises(pictures.Unreadable, match="12000×10000 is 120 megapixels, at most 100 are read"):
        pictures.decode(huge_png(12_000, 10_000))


PNG = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)))
BAD = {
    "empty": b"",
    "text": b"no image at all",
    "truncated": PNG[: len(PNG) // 2],
    "header only": PNG[:40],
    "flipped": PNG[:200] + bytes(b ^ 255 for b in PNG[200:260]) + PNG[260:],
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("as_file", [False, True])
def test_damaged_images_are_told_in_one_line(kind: str, as_file: bool, tmp_path: Path) -> None:
    source: bytes | Path = BAD[kind]
    if as_file:
        source = tmp_path / "image.png"
        source.write_bytes(BAD[kind])
    with pytest.raises(pictures.Unreadable) as caught:
        pictures.decode(source)
    assert "\n" not in str(caught.value) and "0x" not in str(caught.value)


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(pictures.Unreadable, match="floating-point"):
        pictures.decode(encoded(Image.new("F", (4, 4)), "TIFF"))


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(pictures.Unreadable):
        pictures.decode(tmp_path / "nothing.png")
