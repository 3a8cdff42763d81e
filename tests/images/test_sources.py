import csv
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen.errors import InputError
from datagen.images import decode, sources
from datagen.images.sources import Item


def opened(path: Path, prompts: Path | None = None, image: str = "image", prompt: str = "prompt") -> list[Item]:
    total, items = sources.open_input(path, prompts, image, prompt)
    found = list(items)
    assert len(found) == total
    return found


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), "red").save(folder / name)
    return folder


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def table(path: Path, *rows: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def test_a_folder_gives_its_images_in_order_with_the_texts_beside_them(tmp_path: Path) -> None:
    put(tmp_path, "b.png", "a.jpg", "sub/c.webp")
    (tmp_path / "a.txt").write_text("\ufeff a chef\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("Ein Gärtner", encoding="utf-8")
    (tmp_path / "sub/c.txt").write_text("a doctor")
    (tmp_path / "notes.md").write_text("no image")
    assert opened(tmp_path) == [
        Item("a.jpg", tmp_path / "a.jpg", "a chef"),
        Item("b.png", tmp_path / "b.png", "Ein Gärtner"),
        Item("sub/c.webp", tmp_path / "sub/c.webp", "a doctor"),
    ]


def test_what_is_wrong_with_one_text_is_the_error_of_its_image(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "c.txt").write_text(" \n")
    none, binary, blank = opened(tmp_path)
    assert none.error == "no prompt: expected a.txt next to the image, or --prompts"
    assert binary.error is not None and binary.error.startswith("the prompt in b.txt cannot be read")
    assert blank.error == "no prompt: c.txt is empty"
    assert {item.prompt for item in (none, binary, blank)} == {None}


def test_a_text_of_100_000_characters_arrives_whole_so_that_its_length_can_be_told(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("x" * 100_000)
    assert len(opened(tmp_path)[0].prompt or "") == 100_000


def test_a_file_name_that_is_no_text_is_told_with_a_mark(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    try:
        os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/\xff.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert opened(tmp_path)[0].path == "\ufffd.png"


@pytest.mark.parametrize("column", ["image", "file", "file_name", "path"])
def test_a_csv_names_files_and_prompts(tmp_path: Path, column: str) -> None:
    put(tmp_path, "a.png", "b.png")
    listed = table(tmp_path / "p.csv", [column, "prompt"], ["b.png", "a chef, a cook"], ["a.png", "a\ndoctor"])
    assert opened(tmp_path, listed) == [
        Item("b.png", tmp_path / "b.png", "a chef, a cook"),
        Item("a.png", tmp_path / "a.png", "a\ndoctor"),
    ]


def test_a_parquet_table_names_files_and_prompts_in_columns_of_any_name(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    listed = parquet(tmp_path / "p.parquet", picture=["a.png"], text=["a chef"])
    assert opened(tmp_path, listed, "picture", "text") == [Item("a.png", tmp_path / "a.png", "a chef")]


def test_what_is_wrong_with_one_row_of_a_table_is_its_error(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    rows = [["a.png", "fine"], ["b.png", "gone"], ["", "no file"], ["a.png", " "], ["a.png"], ["x" * 5_000, "long"]]
    listed = table(tmp_path / "p.csv", ["image", "prompt"], *rows, ["a.png", "x" * 500_000, "a cell too many"])
    errors = [item.error for item in opened(tmp_path, listed)]
    gone, empty = "there is no such file", "no prompt: the cell is empty"
    assert errors == [None, gone, "no image: the cell is empty", empty, empty, gone, None]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "has no rows"),
        (b"image,prompt\n", "has no rows"),
        (b"imag,prompt\na.png,x\n", "no column 'image' with the files; did you mean 'imag'"),
        (b"image,promt\na.png,x,y,z\n", "no column 'prompt'; did you mean 'promt'"),
        (b"image,prompt\na.png,\xff\n", "as CSV"),
        (b"\x00\x01\x02", "p.csv"),
    ],
)
def test_a_csv_that_cannot_be_used(tmp_path: Path, content: bytes, line: str) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(InputError, match="p.csv") as caught:
        opened(tmp_path, tmp_path / "p.csv")
    assert line in str(caught.value)


def test_a_table_of_prompts_must_be_there_and_of_a_known_kind_and_for_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "p.json").write_text("{}")
    listed = table(tmp_path / "p.csv", ["image", "prompt"], ["a.png", "x"])
    for prompts, line in (("q.csv", "cannot read"), ("q.parquet", "there is no"), ("p.json", "neither a .csv nor")):
        with pytest.raises(InputError, match=line):
            opened(tmp_path, tmp_path / prompts)
    with pytest.raises(InputError, match="for a folder of images, but .* is a file"):
        opened(tmp_path / "a.png", listed)


@pytest.mark.parametrize("kind", ["struct", "binary", "large_binary"])
def test_a_data_set_gives_the_bytes_of_its_cells(tmp_path: Path, kind: str) -> None:
    cells: Any = pa.array([b"1", None, b"3"], {"large_binary": pa.large_binary()}.get(kind, pa.binary()))
    if kind == "struct":
        cells = pa.array([{"bytes": b"1", "path": "a"}, {"bytes": None, "path": "b"}, {"bytes": b"3", "path": None}])
    path = parquet(tmp_path / "d.parquet", image=cells, prompt=["x", "y", None])
    assert opened(path) == [
        Item("d.parquet#0/image", b"1", "x"),
        Item("d.parquet#1/image", None, None, "no image: the cell has no bytes"),
        Item("d.parquet#2/image", b"3", None, "no prompt: the cell is empty"),
    ]


def test_of_a_set_of_pairs_both_images_of_each_row_are_judged_shard_after_shard(tmp_path: Path) -> None:
    for name in "ba":
        column = [{"bytes": f"{name}{k}".encode()} for k in range(40)]
        parquet(tmp_path / f"{name}.parquet", chosen=column, rejected=column, prompt=["x"] * 40)
    items = opened(tmp_path)
    assert [item.path for item in items[:3]] == ["a.parquet#0/chosen", "a.parquet#0/rejected", "a.parquet#1/chosen"]
    assert (items[-1].path, items[-1].source, len(items)) == ("b.parquet#39/rejected", b"b39", 160)


def test_prompts_stored_as_a_dictionary_are_text(tmp_path: Path) -> None:
    path = parquet(tmp_path / "d.parquet", image=[b"1"], prompt=pa.array(["x"]).dictionary_encode())
    assert opened(path)[0].prompt == "x"


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"img": [b"1"], "prompt": ["x"]}, "no column 'image'; did you mean 'img'? known: img, prompt"),
        ({"image": [b"1"], "promt": ["x"]}, "no column 'prompt'; did you mean 'promt'"),
        ({"image": ["a.png"], "prompt": ["x"]}, "column 'image' is string, not image bytes"),
        ({"image": [b"1"], "prompt": [3]}, "column 'prompt' is int64, not text"),
        ({"image": pa.array([], pa.binary()), "prompt": pa.array([], pa.string())}, "has no rows"),
    ],
)
def test_a_data_set_with_other_columns(tmp_path: Path, columns: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        opened(parquet(tmp_path / "d.parquet", **columns))
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nowhere", "there is no"),
        ("x" * 5_000, "there is no"),
        ("empty", f"holds no images ({', '.join(decode.SUFFIXES)}) and no Parquet files"),
        ("a.png", "neither a folder of images nor a Parquet file"),
        ("zero.parquet", "is empty (0 bytes)"),
        ("text.parquet", "not a readable Parquet file"),
        ("cut.parquet", "not a readable Parquet file"),
    ],
)
def test_what_is_no_input_at_all(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path, "a.png")
    (tmp_path / "zero.parquet").touch()
    (tmp_path / "text.parquet").write_text("hello " * 100)
    whole = parquet(tmp_path / "whole.parquet", image=[b"1" * 1000], prompt=["x"])
    (tmp_path / "cut.parquet").write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(InputError) as caught:
        opened(tmp_path / name)
    assert line in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("listed", [False, True])
def test_damage_in_the_middle_of_parquet_is_told(tmp_path: Path, listed: bool) -> None:
    put(tmp_path, "a.png")
    path = tmp_path / "d.parquet"
    cells = ["a.png" if listed else os.urandom(2_000) for _ in range(200)]
    prompts = [os.urandom(200).hex() for _ in range(200)]
    parquet(path, image=cells, prompt=prompts)
    data = path.read_bytes()
    middle = len(data) // 4
    path.write_bytes(data[:middle] + b"\xff" * (len(data) // 2) + data[middle + len(data) // 2 :])
    with pytest.raises(InputError, match="d.parquet is damaged"):
        opened(tmp_path if listed else path, path if listed else None)
