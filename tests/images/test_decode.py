import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, TiffImagePlugin

from datagen.images import decode as pictures
from datagen.images.decode import Unreadable, decode, size_of


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def chunk(kind: bytes, data: bytes, checksum: int | None = None) -> bytes:
    """A part of a PNG."""
    return (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data) if checksum is None else checksum)
    )


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    """A PNG with further parts after its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def deep_png(kind: int, values: np.ndarray, *chunks: bytes) -> bytes:
    """A PNG of 16 bits a channel, from values (H, W, channels)."""
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    parts = (chunk(b"IHDR", header), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_of_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
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


def test_16_bits_of_any_colour_become_their_upper_8_over_white() -> None:
    values = np.array([[[0x1234, 0x5678, 0x9ABC], [0, 0xFFFF, 0xFF]]])
    assert np.asarray(decode(deep_png(2, values)))[0].tolist() == [[0x12, 0x56, 0x9A], [0, 255, 0]]
    clear = chunk(b"tRNS", struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC))
    assert np.asarray(decode(deep_png(2, values, clear)))[0].tolist() == [[255, 255, 255], [0, 255, 0]]
    clear = chunk(b"tRNS", struct.pack(">H", 0x1234))
    grey = np.asarray(decode(deep_png(0, values[..., :1], clear)))[0, :, 0]
    assert grey.tolist() == [255, 0]
    layered = np.array([[[0x8000, 0], [0x8000, 0xFFFF]]])  # grey and opacity
    assert np.asarray(decode(deep_png(4, layered)))[0, :, 0].tolist() == [255, 0x80]


def tiff(bits: int, photometric: int, pixels: bytes) -> bytes:
    """A TIFF of one row of two grey pixels."""
    tags = {256: 2, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 1, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("bits", "pixels"), [(1, b"\x40"), (8, b"\0\xff"), (12, b"\0\x0f\xff"), (16, b"\0\0\xff\xff")]
)
def test_grey_of_any_depth_is_scaled_whichever_end_is_white(bits: int, pixels: bytes) -> None:
    for photometric, shown in ((1, [0, 255]), (0, [255, 0]))[: 1 if bits == 12 else 2]:  # PIL knows no other
        assert np.asarray(decode(tiff(bits, photometric, pixels)))[0, :, 1].tolist() == shown


def test_lab_is_converted() -> None:
    red = Image.new("RGB", (2, 2), (200, 50, 30))
    spaces = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    lab = ImageCms.applyTransform(red, ImageCms.buildTransform(*spaces, "RGB", "LAB"))
    assert lab is not None
    assert np.abs(np.asarray(decode(encoded(lab, "TIFF"))).astype(int) - [200, 50, 30]).max() <= 3


CORNER = np.zeros((4, 6, 3), np.uint8)
CORNER[:2, :2] = 255  # white in the upper left, black elsewhere
TURNED = {  # what a viewer shows for each orientation: size, and where the white corner is
    1: ((6, 4), (0, 0)),
    2: ((6, 4), (5, 0)),
    3: ((6, 4), (5, 3)),
    4: ((6, 4), (0, 3)),
    5: ((4, 6), (0, 0)),
    6: ((4, 6), (3, 0)),
    7: ((4, 6), (3, 5)),
    8: ((4, 6), (0, 5)),
    0: ((6, 4), (0, 0)),
    9: ((6, 4), (0, 0)),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", TURNED)
def test_the_camera_s_rotation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(CORNER), kind, exif=exif)
    size, white = TURNED[orientation]
    picture = decode(data)
    assert picture.size == size and size_of(data) == size[::-1]
    red = np.asarray(picture)[..., 0]
    assert max((red[y, x], (x, y)) for x in (0, size[0] - 1) for y in (0, size[1] - 1))[1] == white


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate"])
def test_a_turned_tiff_is_turned_once_whatever_else_its_tags_say(compression: str) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274], tags[270], tags[33550] = 6, "x" * 100, (1e300, -1e300, 0.0)
    data = encoded(Image.fromarray(CORNER), "TIFF", tiffinfo=tags, compression=compression)
    assert decode(data).size == (4, 6) and size_of(data) == (6, 4)
    assert decode(data).getpixel((3, 0)) == (255, 255, 255)


def test_an_orientation_in_xmp_is_not_exif_s() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    for kind in ("JPEG", "WEBP", "TIFF", "PNG"):
        data = encoded(noise(40, 30), kind, xmp=xmp)
        assert decode(data).size == (40, 30) and size_of(data) == (30, 40)


def exif_of(orientation: int, kind: int, count: int, value: int) -> bytes:
    """EXIF with an orientation and one further tag of a type, a count and a value that may be out of all range."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, orientation) + struct.pack("<HHII", 0x829A, kind, count, value)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4) + b"\xff" * 16


@pytest.mark.parametrize("kind", [2, 5, 10, 12, 99])
@pytest.mark.parametrize("count", [1, 2, 2**31])
@pytest.mark.parametrize("value", [0, 38, 2**32 - 1])
def test_exif_out_of_range_refuses_no_picture_and_is_read_for_its_orientation(
    kind: int, count: int, value: int
) -> None:
    for name in ("JPEG", "WEBP", "PNG"):
        data = encoded(Image.fromarray(CORNER), name, exif=exif_of(6, kind, count, value))
        assert decode(data).size == (4, 6) and size_of(data) == (6, 4)


def test_exif_that_is_none_refuses_no_picture() -> None:
    for exif in (
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0rubbish",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
    ):
        for name in ("JPEG", "WEBP", "PNG"):
            assert decode(encoded(noise(), name, exif=exif)).size == (40, 30)


SIDE_CHUNKS = {
    "a text of over a megabyte": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),
    "an international one": chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(b"x" * 5_000_000)),
    "a text that does not unpack": chunk(b"zTXt", b"Comment\0\0rubbish"),
    "a wrong checksum": chunk(b"tEXt", b"Comment\0hello", 7),
    "a wrong checksum of a profile": chunk(b"iCCP", b"x\0\0rubbish", 7),
    "a profile that does not unpack": chunk(b"iCCP", b"x\0\0rubbish"),
    "a profile of over a megabyte": chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(5_000_000))),
    "EXIF with a wrong checksum": chunk(b"eXIf", b"II*\0\x08\0\0\0", 7),
    "a resolution that is none": chunk(b"pHYs", b"\0"),
    "an animation that is none": chunk(b"acTL", bytes(8)),
    "a time that is none": chunk(b"tIME", b""),
    "an unknown part": chunk(b"abCd", b"?"),
}


@pytest.mark.parametrize("what", SIDE_CHUNKS)
def test_a_png_s_side_chunks_refuse_no_picture(what: str) -> None:
    data = with_chunks(encoded(noise()), SIDE_CHUNKS[what])
    assert decode(data).tobytes() == noise().tobytes()
    assert size_of(data) == (30, 40)


def test_many_texts_refuse_no_picture() -> None:
    data = with_chunks(encoded(noise()), *[SIDE_CHUNKS["an international one"]] * 20)
    assert decode(data).tobytes() == noise().tobytes()


def test_every_flipped_bit_of_a_png_s_pixels_is_told() -> None:
    data = encoded(noise(), compress_level=0)
    for at in range(data.find(b"IDAT") + 4, len(data) - 20, 97):
        with pytest.raises(Unreadable, match="is damaged: the checksum of its 'IDAT' part is wrong"):
            decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK"])
def test_a_colour_profile_leaves_pixels_as_they_are(mode: str) -> None:
    image = noise().convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert decode(encoded(image, kind, icc_profile=profile)).tobytes() == decode(encoded(image, kind)).tobytes()


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
        (encoded(Image.new("F", (4, 4)), "TIFF"), "floating-point pixels of unknown range"),
        (encoded(Image.new("I", (4, 4)), "TIFF"), "32-bit or signed integer pixels of unknown range"),
        (encoded(Image.fromarray(np.zeros((4, 4), np.int16)), "TIFF"), "integer pixels of unknown range"),
        (encoded(Image.fromarray(np.zeros((4, 4), np.uint32)), "TIFF"), "integer pixels of unknown range"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is PostScript, which is not read; convert it to PNG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is HEIC, which is not read"),
        (b"\xff\x0a" + bytes(40), "is JPEG XL, which is not read"),
        (encoded(noise(), "JPEG2000"), "is JPEG 2000, which is not read"),
        (encoded(noise(), "PPM"), "is PNM, which is not read"),
        (encoded(noise(), "TGA"), "not an image of a known format"),
        (encoded(noise(), "ICO"), "not an image of a known format"),
        (encoded(noise(), "PCX"), "not an image of a known format"),
        (encoded(noise(), "PDF"), "is PDF, which is not read"),
        (png_of_header(10_001, 10_000), "10001×10000 is 100 megapixels, at most 100 are read"),
        (png_of_header(20_000, 10_000), "too large: over 100 megapixels"),
        (png_of_header(2**31 - 1, 2**31 - 1), "too large: over 100 megapixels"),
        (png_of_header(1, 60_000), "too narrow: 1×60000, sides of at most 1:500 are read"),
    ],
)
def test_what_cannot_be_read_is_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(data)
    for look in (size_of,) if "range" in reason or "large" in reason or "not read" in reason else ():
        with pytest.raises(Unreadable, match=re.escape(str(caught.value))):
            look(data)
    message = str(caught.value)
    assert reason in message
    assert "\n" not in message and "0x" not in message and len(message) < 300


JPEGS: list[dict[str, Any]] = [
    {},
    {"quality": 95, "subsampling": 0},
    {"progressive": True},
    {"restart_marker_rows": 1},
]


@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_was_cut_is_told_though_it_was_closed_again(mode: str, options: dict[str, Any]) -> None:
    data = encoded(noise(120, 90).convert(mode), "JPEG", **options)
    assert decode(data).size == (120, 90)
    begin = data.find(b"\xff\xda") + 20
    for at in range(begin, len(data) - 100, (len(data) - begin) // 12):
        with pytest.raises(Unreadable, match="the image is cut short: pixel data is missing|cannot be decoded"):
            decode(data[:at].rstrip(b"\xff") + b"\xff\xd9")


@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("colour", ["black", "white", (128, 128, 128)])
def test_a_jpeg_that_ends_in_one_colour_is_whole(colour: Any, options: dict[str, Any]) -> None:
    image = noise(120, 90)
    image.paste(colour, (0, 40, 120, 90))
    for whole in (image, Image.new("RGB", (33, 17), colour), Image.new("RGB", (1, 1), colour)):
        data = encoded(whole, "JPEG", **options)
        assert decode(data).size == decode(data + b"what follows the end").size == whole.size


@pytest.mark.parametrize(("at_least", "scale"), [(1, 8), (38, 8), (39, 4), (76, 4), (77, 2), (152, 2), (153, 1)])
def test_a_jpeg_is_decoded_no_smaller_than_suffices(at_least: int, scale: int) -> None:
    smooth, size = noise(16, 12).resize((400, 304), Image.Resampling.BICUBIC), (400 // scale, 304 // scale)
    data = encoded(smooth, "JPEG", quality=95, subsampling=0)
    small = decode(data, at_least)
    assert small.size == size and small.mode == "RGB"
    difference = np.asarray(small, int) - np.asarray(decode(data).resize(size, Image.Resampling.BOX), int)
    assert np.abs(difference).mean() < 2
    for kind in ("PNG", "WEBP", "BMP", "TIFF", "GIF"):
        assert decode(encoded(smooth, kind), at_least).size == (400, 304)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "MPO"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_jpeg_that_is_decoded_smaller_is_upright_and_rgb(mode: str, orientation: int) -> None:
    exif, kind = Image.Exif(), "MPO" if mode == "MPO" else "JPEG"
    exif[0x0112] = orientation
    image = Image.new("RGB", (160, 80), "white")
    image.paste("black", (0, 0, 80, 40))
    data = encoded(image.convert("RGB" if mode == "MPO" else mode), kind, exif=exif, quality=95)
    small, whole = decode(data, 20), decode(data)
    assert small.mode == "RGB" and small.size == (whole.width // 4, whole.height // 4)
    assert np.abs(np.asarray(small, int) - np.asarray(whole.resize(small.size, Image.Resampling.BOX), int)).max() < 9


@pytest.mark.parametrize("options", [options for options in JPEGS if "progressive" not in options])
@pytest.mark.parametrize("at_least", [8, 16, 40])
def test_a_cut_jpeg_is_told_also_where_less_of_it_is_decoded(at_least: int, options: dict[str, Any]) -> None:
    data = encoded(noise(128, 96), "JPEG", **options)
    assert decode(data, at_least).width < 128
    begin = data.find(b"\xff\xda") + 20
    for at in range(begin, len(data) - 300, (len(data) - begin) // 12):
        with pytest.raises(Unreadable, match="the image is cut short: pixel data is missing|cannot be decoded"):
            decode(data[:at].rstrip(b"\xff") + b"\xff\xd9", at_least)
    flat = encoded(Image.new("RGB", (128, 96), "grey"), "JPEG", **options)
    assert decode(flat, at_least).width < 128


@pytest.mark.parametrize("at_least", [8, 40])
def test_a_progressive_jpeg_that_lacks_details_is_told_where_less_of_it_is_decoded(at_least: int) -> None:
    data = encoded(noise(128, 96), "JPEG", progressive=True)
    scans = [at for at in range(len(data)) if data.startswith(b"\xff\xda", at)]
    assert decode(data, at_least).width < 128
    for end in scans[1:]:
        with pytest.raises(Unreadable, match="the image is cut short: pixel data is missing|cannot be decoded"):
            decode(data[:end] + b"\xff\xd9", at_least)


def test_of_several_pictures_in_one_jpeg_the_first_is_seen() -> None:
    first, second = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    assert decode(data).getpixel((20, 15))[0] > 200


def test_an_empty_file_and_no_file_are_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    for name in ("a.png", "b.png"):
        with pytest.raises(Unreadable, match="is empty|cannot be read: No such file"):
            decode(tmp_path / name)


def test_an_image_that_is_too_large_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("1", (12_000, 9_000)))  # 108 megapixels in a few kilobytes

    def load(*arguments: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(pictures, "rgb", load)
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
    data = damage(SAMPLES[kind], at % len(SAMPLES[kind]), value)
    try:
        picture = decode(data)
        assert picture.mode == "RGB" and picture.size[::-1] == size_of(data)
    except Unreadable as error:
        assert "\n" not in str(error)


@given(st.binary(max_size=200))
def test_random_bytes_are_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(data)
