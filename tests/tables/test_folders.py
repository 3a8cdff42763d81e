"""What a folder holds: neither more nor less than a person would say, and nothing left out without a word."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from datagen.tables.folders import walk


def picture(kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, kind)
    return buffer.getvalue()


def put(root: Path, *names: str, content: bytes | None = None) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture() if content is None else content)
    return root


def images(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in walk(root).images]


def test_hidden_files_and_what_systems_leave_behind_are_no_pictures_and_are_said(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "sub/b.png")
    put(tmp_path, ".hidden.png", "._a.png", "sub/._b.png", ".DS_Store")
    put(
        tmp_path,
        ".ipynb_checkpoints/a-checkpoint.png",
        "__MACOSX/._a.png",
        "__MACOSX/c.png",
        ".git/x.png",
        "@eaDir/a.png",
    )
    put(tmp_path, "Thumbs.db", content=b"\xd0\xcf\x11\xe0")
    assert images(tmp_path) == ["a.png", "sub/b.png"]
    assert walk(tmp_path).notes(tmp_path) == [
        "passed over: files that are neither pictures nor Parquet (Thumbs.db)",
        "passed over: hidden files (4, such as .DS_Store)",
        "passed over: hidden folders (4, such as .git)",
    ]


def test_a_folder_in_a_hidden_place_is_read_when_it_is_given(tmp_path: Path) -> None:
    assert images(put(tmp_path / ".cache" / "pictures", "a.png")) == ["a.png"]


@pytest.mark.parametrize(
    "name", ["a.jfif", "a.jpe", "a.pjpeg", "a.pjp", "a.JPG", "a", "a.heic", "a.jpg_1", "a.png~", "x.1"]
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_picture_is_known_by_its_content_whatever_its_name(name: str, kind: str, tmp_path: Path) -> None:
    put(tmp_path, name, content=picture(kind))
    assert images(tmp_path) == [name]


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.heic", HEIC, "HEIC"),
        ("a", HEIC, "HEIC"),
        ("a.heif", b"?", "HEIC"),
        ("a.jxl", b"\xff\x0a" + bytes(20), "JPEG XL"),
        ("a.jp2", picture("JPEG2000"), "JPEG 2000"),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        ("a.psd", b"8BPS\0\x01", "Photoshop"),
        ("a.ppm", picture("PPM"), "PNM"),
        ("a.tga", picture("TGA"), "Targa"),
        ("a.pdf", b"%PDF-1.7", "PDF"),
        ("a.dng", picture("TIFF"), "camera"),
        ("a.NEF", picture("TIFF"), "camera"),
    ],
)
def test_pictures_that_are_not_read_are_named(name: str, content: bytes, kind: str, tmp_path: Path) -> None:
    put(tmp_path, "b.png")
    put(tmp_path, name, content=content)
    assert images(tmp_path) == ["b.png"]
    (note,) = walk(tmp_path).notes(tmp_path)
    assert kind in note and "not read" in note and name in note


def test_a_known_suffix_is_a_picture_even_if_its_content_is_none_so_that_the_fault_is_told(tmp_path: Path) -> None:
    put(tmp_path, "a.png", content=b"")
    assert images(tmp_path) == ["a.png"]


def test_tables_are_known_in_any_case(tmp_path: Path) -> None:
    put(tmp_path, "a.PARQUET", "sub/b.Parquet", content=b"PAR1")
    assert [path.name for path in walk(tmp_path).tables] == ["a.PARQUET", "b.Parquet"]


def test_linked_folders_and_files_are_read_once_and_cycles_end(tmp_path: Path) -> None:
    root, other = put(tmp_path / "root", "a.png", "sub/b.png"), put(tmp_path / "other", "c.png", "deep/d.png")
    (root / "linked").symlink_to(other)
    (root / "aa").symlink_to(root / "sub")
    (root / "sub" / "up").symlink_to(root)
    (other / "back").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    (root / "e.png").symlink_to(other / "c.png")
    assert images(root) == ["a.png", "e.png", "linked/c.png", "linked/deep/d.png", "sub/b.png"]
    assert walk(root).notes(root) == [
        "passed over: links that lead nowhere (loop)",
        "passed over: links to a folder that is read already (4, such as aa)",
        "read although links lead out of the folder: 3, such as e.png",
    ]


def test_links_that_lead_nowhere_and_what_is_no_file_are_said(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "c.png")
    assert images(tmp_path) == ["a.png"]
    assert walk(tmp_path).notes(tmp_path) == [
        "passed over: links that lead nowhere (b.png)",
        "passed over: what is no regular file (c.png)",
    ]


def test_own_files_are_left_out_by_whatever_path(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    put(tmp_path, "x.parquet", "sub/x.parquet", "x.parquet.parts/b.parquet", content=b"PAR1")
    (tmp_path / "link").symlink_to(tmp_path)
    assert [path.name for path in walk(tmp_path, [tmp_path / "link" / "x.parquet"]).tables] == ["x.parquet"]
    assert walk(tmp_path, [tmp_path / "x.parquet"]).tables == [tmp_path / "sub" / "x.parquet"]
