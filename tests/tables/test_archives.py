"""WebDataset archives: what samples hold, what is passed over, what is broken."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from datagen.errors import InputError
from datagen.tables import pictures, tars
from datagen.tables.items import Input, Item, Wanted
from datagen.tables.tars import Tar

PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def png(color: str = "red") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(stream, "PNG")
    return stream.getvalue()


def packed(files: Mapping[str, bytes | str | tarfile.TarInfo], form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content)
                continue
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def archive(path: Path, files: Mapping[str, Any], **options: Any) -> Path:
    path.write_bytes(packed(files, **options))
    return path


def opened(path: Path, **wanted: Any) -> Input:
    return pictures.open_input(path, Wanted(**wanted))


def items(path: Path, **wanted: Any) -> list[Item]:
    given = opened(path, **wanted)
    found = list(given.items)
    assert len(found) == given.total
    return found


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("pack", PACK)
def test_samples_give_their_picture_and_text_in_order(pack: str, form: int, tmp_path: Path) -> None:
    files = {
        "d/0001.jpg": b"one",
        "d/0001.txt": "\ufeffa chef\n",
        "d/0001.json": '{"caption": "another", "id": 7}',
        "d/0002.PNG": b"two",
        "d/0002.json": '{"caption": "Ein Gärtner", "id": 8}',
        "0002.webp": b"three",
        "0002.caption": "北京",
        "./e/0003.cls": "4",
        "./e/0003.avif": b"four",
        "./e/0003.txt": "x" * 300,
    }
    path = tmp_path / f"a.tar{pack}"
    path.write_bytes(PACK[pack](packed(files, form)))
    name = path.name
    assert items(path) == [
        Item(f"{name}#d/0001", b"one", "a chef", ids={"__key__": "d/0001", "id": "7"}),
        Item(f"{name}#d/0002", b"two", "Ein Gärtner", ids={"__key__": "d/0002", "id": "8"}),
        Item(f"{name}#0002", b"three", "北京", ids={"__key__": "0002"}),
        Item(f"{name}#e/0003", b"four", "x" * 300, ids={"__key__": "e/0003"}),
    ]
    assert opened(path).ids == ("__key__", "id")


def test_members_are_read_in_any_order(tmp_path: Path) -> None:
    for pack in PACK:
        path = tmp_path / f"a.tar{pack}"
        path.write_bytes(PACK[pack](packed({f"{i}.jpg": bytes([i]) * (i + 1) for i in range(20)})))
        tar = Tar(path)
        members = [sample.members["jpg"] for sample in tar.samples()]
        assert [tar.read(members[i]) for i in (19, 3, 3, 0, 7)] == [bytes([i]) * (i + 1) for i in (19, 3, 3, 0, 7)]
        tar.close()


def test_several_archives_are_one_input_by_braces_or_in_a_folder(tmp_path: Path) -> None:
    for i in range(12):
        archive(tmp_path / f"s-{i:03d}.tar", {f"{i}.jpg": b"1", f"{i}.txt": f"text {i}"})
    archive(tmp_path / "other.tar", {"z.jpg": b"1", "z.txt": "z"})
    some = items(tmp_path / "s-{002..010}.tar")
    assert [item.prompt for item in some] == [f"text {i}" for i in range(2, 11)]
    assert [item.path for item in items(tmp_path / "{other,s-001}.tar")] == ["other.tar#z", "s-001.tar#1"]
    assert len(items(tmp_path)) == 13
    with pytest.raises(InputError, match=r"there is no .*s-012.tar: 2 of the 4 files that .*s-\{010\.\.013\}"):
        items(tmp_path / "s-{010..013}.tar")
    with pytest.raises(InputError, match="counts upwards"):
        items(tmp_path / "s-{9..1}.tar")


def test_braces_that_a_file_has_in_its_name_are_its_name(tmp_path: Path) -> None:
    path = archive(tmp_path / "{0..1}.tar", {"a.jpg": b"1", "a.txt": "x"})
    assert tars.expand(path) == [path] and len(items(path)) == 1


def test_pairs_in_archives_are_read_by_their_columns(tmp_path: Path) -> None:
    files: dict[str, Any] = {}
    for i, labels in enumerate([(1, 0), (0, 1), (0.5, 0.5)]):
        files |= {f"{i}.jpg_0": b"a%d" % i, f"{i}.jpg_1.png": b"b%d" % i}
        files[f"{i}.json"] = json.dumps({"caption": f"text {i}", "label_0": labels[0], "label_1": labels[1]})
    path = archive(tmp_path / "a.tar", files)
    found = items(path, pairs=True)
    assert [item.path for item in found[:2]] == ["a.tar#0/jpg_0", "a.tar#0/jpg_1"]
    assert [(first.source, second.source, first.label) for first, second in opened(path).pairs()] == [
        (b"a0", b"b0", 1.0),
        (b"a1", b"b1", 0.0),
        (b"a2", b"b2", 0.5),
    ]
    ours = archive(tmp_path / "b.tar", {"1.chosen.jpg": b"c", "1.rejected.jpg": b"r", "1.prompt.txt": "x"})
    assert [(item.source, item.prompt, item.label) for item in items(ours)] == [(b"c", "x", 1.0), (b"r", "x", 1.0)]
    with pytest.raises(InputError, match="has no two columns of images that are known: image; known: chosen and"):
        items(archive(tmp_path / "c.tar", {"1.jpg": b"c", "1.txt": "x"}), pairs=True)


def test_what_is_part_of_no_sample_is_passed_over_and_counted(tmp_path: Path) -> None:
    files = {
        "a.jpg": b"1",
        "a.txt": "x",
        "README": "words",
        ".hidden.jpg": b"1",
        "._a.jpg": b"1",
        "__MACOSX/b.jpg": b"1",
        "../up.jpg": b"1",
        "/etc/passwd.jpg": b"1",
        "c/../../d.jpg": b"1",
        "e.jpg": link("/etc/passwd"),
        "f.jpg": link("a.jpg", tarfile.LNKTYPE),
        "g.jpg": link("", tarfile.FIFOTYPE),
    }
    path = archive(tmp_path / "a.tar", files)
    assert [item.path for item in items(path)] == ["a.tar#a"]
    assert opened(path).notes == [
        "passed over in a.tar: 1 files whose names have no suffix",
        "passed over in a.tar: 3 files whose names lead out of the archive",
        "passed over in a.tar: 3 hidden files",
        "passed over in a.tar: 2 links",
        "passed over in a.tar: 1 members that are no plain files",
    ]


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"a.txt": "x", "b.jpg": b"1", "b.txt": "x"}, "no image: the sample holds .txt and no picture 'image'"),
        ({"a.jpg": b"1", "a.png": b"2", "a.txt": "x", "b.jpg": b""}, "no image: the sample has several pictures"),
        ({"a.jpg": b"1"}, "no prompt: the sample holds .jpg and no text"),
        ({"a.jpg": b"1", "a.txt": " \n"}, "no prompt: the cell is empty"),
        ({"a.jpg": b"1", "a.txt": b"\xff"}, "no prompt: .txt: it is not UTF-8 text"),
        ({"a.jpg": b"1", "a.json": "{"}, "no prompt: .json: "),
        ({"a.jpg": b"1", "a.json": "[]"}, "no prompt: .json: it holds a list, not an object"),
        ({"a.jpg": b"1", "a.json": '{"prompt": 3}'}, "no prompt: the cell holds a number, not text"),
        ({"a.jpg": b"1", "a.json": '{"title": "x"}'}, "no prompt: the sample holds .jpg, .json and no text"),
        ({"a.jpg": b"1", "a.JPG": b"2", "a.txt": "x"}, "no image: the sample has two files .jpg"),
    ],
)
def test_what_is_wrong_with_one_sample_is_its_error(files: dict[str, Any], error: str, tmp_path: Path) -> None:
    first, *_ = items(archive(tmp_path / "a.tar", files))
    assert first.error is not None and first.error.startswith(error)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is empty (0 bytes)"),
        (b"no archive", "is not a readable tar archive"),
        (gzip.compress(b"no archive", mtime=0), "is not a readable tar archive"),
        (packed({}), "holds no samples"),
        (packed({"README": "x"}), "holds no samples; passed over in a.tar: 1 files whose names have no suffix"),
        (packed({"a.txt": "x"}), "has no column 'image'"),
        (packed({"a.jpg": b"1", "b.jpg": b"2", "a.txt": "x"}), "the files of sample 'a' do not lie side by side"),
    ],
)
def test_what_is_no_archive_of_samples(content: bytes, line: str, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InputError) as caught:
        items(tmp_path / "a.tar")
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_columns_that_are_asked_for_are_obeyed_or_refused(tmp_path: Path) -> None:
    files = {"a.jpg": b"1", "a.depth.png": b"2", "a.txt": "x", "a.json": '{"title": "y"}'}
    path = archive(tmp_path / "a.tar", files)
    assert [(item.source, item.prompt) for item in items(path, image="depth", prompt="title")] == [(b"2", "y")]
    with pytest.raises(InputError, match="has no column 'dept'; did you mean 'depth'"):
        items(path, image="dept")
    assert (
        items(path, prompt="titel")[0].error == "no prompt: the sample holds .jpg, .depth.png, .txt, .json and no text"
    )


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("cut", [0.3, 0.5, 0.7])
def test_an_archive_that_is_cut_off_gives_what_is_whole_and_says_so(cut: float, pack: str, tmp_path: Path) -> None:
    files: dict[str, Any] = {}
    for i in range(9):
        files |= {f"{i}.png": bytes((i * k * 7919) % 251 for k in range(3000)), f"{i}.txt": f"text {i}"}
    whole = PACK[pack](packed(files))
    path = tmp_path / f"a.tar{pack}"
    path.write_bytes(whole[: int(len(whole) * cut)])
    try:
        found = items(path)
    except InputError as error:
        assert pack and "\n" not in str(error)
        return
    assert any("is damaged: " in note for note in opened(path).notes)
    good = [item for item in found if item.error is None]
    assert [item.source for item in good] == [files[f"{i}.png"] for i in range(len(good))]
    assert len(good) >= len(found) - 1


def test_an_archive_cut_at_the_edge_of_a_file_is_noticed(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", {"0.jpg": b"1" * 512, "0.txt": "x"})
    path.write_bytes(path.read_bytes()[:2048])
    assert opened(path).notes == ["a.tar is damaged: the mark of its end is missing after 2 files: it may be cut off"]
    path.write_bytes(path.read_bytes() + b"junk" * 200)
    assert opened(path).notes == ["a.tar is damaged: what follows 2 files is no header and is not read"]
    assert len(items(path)) == 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_archive_with_any_byte_changed_is_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    whole = bytearray(packed({"a.jpg": b"1", "a.txt": "x", "n" * 120 + ".jpg": b"2", "b.json": '{"prompt": "y"}'}))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.tar").write_bytes(whole)
    try:
        assert len(items(tmp_path / "a.tar")) < 10
    except InputError as error:
        assert "\n" not in str(error)


def test_a_folder_of_archives_with_what_img2dataset_leaves_beside_them(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    archive(tmp_path / "00000.tar", {"0.jpg": b"1", "0.txt": "x", "0.json": '{"caption": "x", "url": "u"}'})
    (tmp_path / "00000_stats.json").write_text("{}")
    pq.write_table(pa.table({"url": ["u"], "caption": ["x"], "key": ["0"]}), tmp_path / "00000.parquet")
    assert [item.path for item in items(tmp_path)] == ["00000.tar#0"]
    assert opened(tmp_path).notes == [
        "passed over: Parquet files without a column of images (00000.parquet)",
        "passed over: texts beside archives (00000_stats.json)",
    ]
