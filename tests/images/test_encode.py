"""Files of pictures: equal pixels back, equal bytes again, and words that any reader of the formats finds."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from datagen.images import encode
from datagen.images.decode import decode
from datagen.images.kinds import kind_of, suffix_of

KINDS = {"webp": ("WebP", ".webp"), "png": ("PNG", ".png"), "jpeg": ("JPEG", ".jpg")}
WORDS = ["a chef", "un café, où\nNegative prompt: x\nSteps: 3", "料理人 in a park 🙂", 'say "hi"; <b>', "w" * 32_000]


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 5), st.randoms(use_true_random=False))
def test_pixels_come_back_as_they_were_without_loss(width: int, height: int, flat: int, random: object) -> None:
    rng = np.random.default_rng(width * 100 + height)
    pixels = rng.integers(0, 256 if flat else 2, (height, width, 3)).astype(np.uint8)
    pixels[: flat * height // 5] = (0, 255, flat)
    picture = Image.fromarray(pixels)
    for kind in ("webp", "png"):
        data = encode.encode(picture, kind)
        assert np.array_equal(np.asarray(decode(data)), pixels)
        assert encode.encode(picture, kind) == data


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_of_its_kind_and_named_so(kind: str) -> None:
    data = encode.encode(Image.linear_gradient("L").convert("RGB"), kind)
    assert (kind_of(data), suffix_of(data)) == KINDS[kind]


def test_a_jpeg_keeps_the_colours_of_single_pixels_and_is_near_the_original() -> None:
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    smooth[5, 5] = (255, 0, 0)
    data = encode.encode(Image.fromarray(smooth), "jpeg")
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as opened:
        assert [layer[1:3] for layer in opened.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
    assert np.abs(np.asarray(decode(data)).astype(int) - smooth).mean() < 3


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_other_modes_are_kept_as_they_would_be_shown(kind: str, mode: str) -> None:
    picture = Image.linear_gradient("L").convert("RGB").convert(mode)
    if mode == "RGBA":
        picture.putpixel((0, 0), (0, 0, 0, 0))
    shown = decode(encode.encode(picture, kind))
    assert shown.mode == "RGB"
    if mode == "RGBA" and kind != "jpeg":
        assert shown.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("kind", KINDS)
def test_words_are_found_by_a_reader_of_the_bare_format_and_change_no_pixel(kind: str, words: str) -> None:
    picture = Image.radial_gradient("L").convert("RGB")
    with_words, without = encode.encode(picture, kind, words), encode.encode(picture, kind)
    assert {"png": of_png, "webp": of_webp, "jpeg": of_jpeg}[kind](with_words) == words
    assert decode(with_words).tobytes() == decode(without).tobytes()
    assert encode.encode(picture, kind, words) == with_words


def of_png(data: bytes) -> str:
    """The text called "parameters", in tEXt or iTXt."""
    at = 8
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + body) == int.from_bytes(data[at + 8 + size : at + 12 + size], "big")
        if kind == b"tEXt" and body.startswith(b"parameters\0"):
            return body.partition(b"\0")[2].decode("latin-1")
        if kind == b"iTXt" and body.startswith(b"parameters\0"):
            assert body[11:15] == bytes(4)  # not compressed, no language, no translation
            return body[15:].decode()
        at += 12 + size
    raise AssertionError("no text")


def of_webp(data: bytes) -> str:
    at = 12
    while at < len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            return user_comment(data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    raise AssertionError("no EXIF")


def of_jpeg(data: bytes) -> str:
    at = 2
    while data[at] == 0xFF:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xE1:
            return user_comment(data[at + 4 : at + 2 + size])
        at += 2 + size
    raise AssertionError("no EXIF")


def user_comment(exif: bytes) -> str:
    """Tag 0x9286 of the directory that tag 0x8769 points to, in the words of the TIFF standard."""
    exif = exif.removeprefix(b"Exif\0\0")
    assert exif[:4] == b"MM\0*"

    def tags(at: int) -> dict[int, tuple[int, int, int]]:
        count = int.from_bytes(exif[at : at + 2], "big")
        entries = [struct.unpack_from(">HHII", exif, at + 2 + 12 * k) for k in range(count)]
        return {tag: (kind, size, value) for tag, kind, size, value in entries}

    first = tags(int.from_bytes(exif[4:8], "big"))
    kind, size, at = tags(first[0x8769][2])[0x9286]
    assert kind == 7 and exif[at : at + 8] == b"UNICODE\0"
    return exif[at + 8 : at + size].decode("utf-16-be")


@pytest.mark.parametrize(("kind", "library"), [("webp", "webp"), ("png", "zlib"), ("jpeg", "jpg")])
def test_the_library_that_writes_the_files_is_named_with_its_version(kind: str, library: str) -> None:
    assert encode.software(kind).endswith(f" {features.version(library)}")
