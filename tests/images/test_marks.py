"""The mark of a machine: read back by Pillow, with the pixels and the compressed stream as they were."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datagen.images import encode, marks
from datagen.images.decode import decode

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True, "quality": 50}),
    ("JPEG", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", "comment": b"words"}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"quality": 60}),
    ("WEBP", {"lossless": True, "exif": b"MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
]


def encoded(size: tuple[int, int], kind: str, options: dict[str, Any], mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    picture = Image.frombytes("RGB", size, bytes(n * 37 % 251 for n in range(size[0] * size[1] * 3)))
    picture.convert(mode).save(file, kind, **options)
    return file.getvalue()


def source_type(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as picture:
        found = picture.info.get("xmp") or picture.info["XML:com.adobe.xmp"].encode()
    words = ElementTree.fromstring(found.decode()).find(f".//{RDF}Description")
    assert words is not None
    return words.attrib["{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"]


@settings(max_examples=40)
@given(st.sampled_from(OPTIONS), st.integers(1, 70), st.integers(1, 70))
def test_pillow_reads_the_mark_and_the_pixels_are_equal(
    how: tuple[str, dict[str, Any]], width: int, height: int
) -> None:
    data = encoded((width, height), *how)
    made = marks.with_xmp(data)
    assert made is not None and source_type(made) == marks.SOURCE
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(made)) as after:
        assert (before.size, before.mode, before.tobytes()) == (after.size, after.mode, after.tobytes())
        assert before.getexif() == after.getexif()
    assert marks.with_xmp(made) == made


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_and_grey_pictures_keep_their_pixels(mode: str, kind: str) -> None:
    data = encoded((9, 5), kind, {"lossless": True} if kind == "WEBP" else {}, mode)
    made = marks.with_xmp(data)
    assert made is not None and source_type(made) == marks.SOURCE
    assert decode(made).tobytes() == decode(data).tobytes()


@pytest.mark.parametrize("kind", ["webp", "png", "jpeg"])
@pytest.mark.parametrize("parameters", ["", "a chef\nSteps: 20, Größe ☃"])
def test_the_files_that_we_write_keep_their_stream_and_their_words(kind: str, parameters: str) -> None:
    data = encode.encode(Image.effect_noise((33, 17), 90), kind, parameters)
    made = marks.with_xmp(data)
    assert made is not None and source_type(made) == marks.SOURCE
    stream = {"webp": b"VP8L", "png": b"IDAT", "jpeg": b"\xff\xdb"}[kind]
    tail = data[data.index(stream) :]
    assert tail in made
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(made)) as after:
        assert before.getexif().tobytes() == after.getexif().tobytes()
        assert before.info.get("parameters") == after.info.get("parameters")


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a" + bytes(40), b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8L"]
)
def test_what_we_do_not_mark_is_none(data: bytes) -> None:
    assert marks.with_xmp(data) is None


@settings(max_examples=60)
@given(st.sampled_from(OPTIONS), st.integers(0, 300))
def test_a_file_that_is_cut_anywhere_is_no_traceback(how: tuple[str, dict[str, Any]], at: int) -> None:
    assert isinstance(marks.with_xmp(encoded((40, 40), *how)[:at]), bytes | None)


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool (libimage-exiftool-perl) is not installed")
def test_exiftool_reads_the_mark_of_every_kind(tmp_path: Path) -> None:
    kinds = [("RGB", "PNG", {}), ("RGBA", "PNG", {}), ("L", "PNG", {}), ("RGB", "JPEG", {}), ("L", "JPEG", {})]
    kinds += [(mode, "WEBP", how) for mode in ("RGB", "RGBA") for how in ({"lossless": True}, {"quality": 70})]
    for place, (mode, kind, how) in enumerate(kinds):
        made = marks.with_xmp(encoded((9, 7), kind, how, mode))
        assert made is not None
        (tmp_path / f"{place}.{kind.lower()}").write_bytes(made)
    line = ["exiftool", "-json", "-n", "-warning", "-XMP-iptcExt:DigitalSourceType", "-FileType", str(tmp_path)]
    read = json.loads(subprocess.run(line, capture_output=True, check=True, text=True).stdout)
    assert len(read) == len(kinds) and not any("Warning" in one for one in read)
    assert {one["DigitalSourceType"] for one in read} == {marks.SOURCE}
    assert {one["FileType"].split()[-1] for one in read} >= {"PNG", "JPEG"}
