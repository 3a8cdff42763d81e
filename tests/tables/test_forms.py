"""Existing images in the other forms that people have: Arrow, saved data sets, names and addresses, one file alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen.errors import InputError
from datagen.tables import pictures, rows
from datagen.tables.items import Item, Wanted


def opened(path: Path, **wanted: Any) -> list[Item]:
    given = pictures.open_input(path, Wanted(**wanted))
    found = list(given.items)
    assert len(found) == given.total
    return found


def saved(folder: Path, table: pa.Table, new: Any = pa.ipc.new_stream, **state: Any) -> Path:
    """Arrow files and the state that names them, as `save_to_disk` leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, part in enumerate((table.slice(0, 2), table.slice(2))):
        with new(str(folder / f"data-{i}.arrow"), table.schema) as writer:
            writer.write_table(part)
    listed = [{"filename": f"data-{i}.arrow"} for i in range(2)]
    (folder / "state.json").write_text(json.dumps({"_data_files": listed, **state}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


TABLE = pa.table(
    {"image": [{"bytes": b"%d" % i, "path": None} for i in range(3)], "text": ["a", "b", None], "id": [5, 6, 7]}
)


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_a_saved_data_set_is_read_in_its_order(new: Any, tmp_path: Path) -> None:
    expected = [
        Item("data-0.arrow#0/image", b"0", "a", ids={"id": "5"}),
        Item("data-0.arrow#1/image", b"1", "b", ids={"id": "6"}),
        Item("data-1.arrow#0/image", b"2", None, "no prompt: the cell is empty", ids={"id": "7"}),
    ]
    assert opened(saved(tmp_path / "s", TABLE, new)) == expected
    assert opened(tmp_path / "s" / "data-0.arrow") == expected[:2]
    for split in ("train", "test"):
        saved(tmp_path / "d" / split, TABLE, new)
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert [item.path for item in opened(tmp_path / "d")][2:4] == [
        "train/data-1.arrow#0/image",
        "test/data-0.arrow#0/image",
    ]


def test_what_datasets_itself_saves_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    columns = {"image": [str(tmp_path / "a.png")] * 3, "caption": ["x", "y", "z"]}
    made = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    made.select([2, 0]).save_to_disk(str(tmp_path / "one"), num_proc=1)
    datasets.DatasetDict({"train": made, "test": made.select([1])}).save_to_disk(str(tmp_path / "two"))
    assert [(item.prompt, item.error) for item in opened(tmp_path / "one")] == [("z", None), ("x", None)]
    assert [item.prompt for item in opened(tmp_path / "two")] == ["x", "y", "z", "y"]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("state.json", "", "state.json cannot be read"),
        ("state.json", "[]", "state.json cannot be read (it holds no object)"),
        ("state.json", "{}", "state.json cannot be read (it lists no files)"),
        ("state.json", '{"_data_files": [{}]}', "state.json cannot be read (it lists no files)"),
        (
            "state.json",
            '{"_data_files": [{"filename": "../x.arrow"}]}',
            "state.json cannot be read (it lists no files)",
        ),
        ("state.json", '{"_data_files": [{"filename": "gone.arrow"}]}', "gone.arrow cannot be read (1 of 1 files"),
        ("state.json", '{"_data_files": [], "_indices_data_files": [{"filename": "i"}]}', "call flatten_indices()"),
        ("dataset_dict.json", "{}", "dataset_dict.json cannot be read (it lists no splits)"),
        ("dataset_dict.json", '{"splits": ["../x"]}', "dataset_dict.json cannot be read (it lists no splits)"),
        ("dataset_dict.json", '{"splits": ["test"]}', "names the split 'test', whose state.json is not there"),
    ],
)
def test_a_damaged_save_is_one_line(name: str, content: str, line: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        opened(tmp_path)
    assert line in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"ARROW1", b"\xff\xff\xff\xff\x10\0\0\0" + bytes(16), bytes(range(1, 99)), b"{}" * 50]
)
def test_an_arrow_file_that_is_none_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.arrow").write_bytes(content)
    with pytest.raises(InputError, match="a.arrow (cannot be read|has no rows)") as caught:
        opened(tmp_path / "a.arrow")
    assert "\n" not in str(caught.value)


def test_an_arrow_file_that_is_cut_is_one_line(tmp_path: Path) -> None:
    saved(tmp_path, TABLE)
    whole = (tmp_path / "data-0.arrow").read_bytes()
    for end in range(0, len(whole) - 8, 37):  # the last 8 bytes are but the mark of the end
        (tmp_path / "data-0.arrow").write_bytes(whole[:end])
        with pytest.raises(InputError) as caught:
            opened(tmp_path)
        assert "data-0.arrow" in str(caught.value) and "\n" not in str(caught.value)


ADDRESSES = ("https://example.org/a.jpg", "http://x/y", "s3://bucket/a.png", "hf://datasets/a/b.png")


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "struct"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_column_of_addresses_is_refused_in_one_line(address: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.{'parquet' if kind == 'struct' else kind}"
    if kind == "csv":
        path.write_text(f"image,prompt\n,y\n{address},x\n")
    elif kind == "jsonl":
        path.write_text(json.dumps({"image": address, "prompt": "x"}))
    else:
        cell: Any = {"bytes": None, "path": address} if kind == "struct" else address
        pq.write_table(pa.table({"image": [cell], "prompt": ["x"]}), path)
    with pytest.raises(InputError, match="column 'image' holds addresses .* and nothing is downloaded") as caught:
        opened(path)
    assert address in str(caught.value)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv", "tsv", "jsonl", "semicolons", "struct"])
def test_a_table_alone_names_the_files_beside_it(kind: str, tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "a.png").write_bytes(b"1")
    named = [("i/a.png", "x"), ("i/gone.png", "y")]
    path = tmp_path / f"t.{({'semicolons': 'csv', 'struct': 'parquet'}).get(kind, kind)}"
    if kind in ("csv", "tsv", "semicolons"):
        mark = {"csv": ",", "tsv": "\t", "semicolons": ";"}[kind]
        path.write_text("".join(mark.join(row) + "\n" for row in [("image", "prompt"), *named]))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"image": a, "prompt": b}) + "\n" for a, b in named))
    else:
        cells: list[Any] = [{"bytes": None, "path": a} if kind == "struct" else a for a, _ in named]
        table = pa.table({"image": cells, "prompt": ["x", "y"]})
        if kind == "arrow":
            with pa.ipc.new_file(str(path), table.schema) as writer:
                writer.write_table(table)
        else:
            pq.write_table(table, path)
    good, gone = opened(path)
    assert (good.source, good.prompt, good.error) == (tmp_path / "i/a.png", "x", None)
    assert gone.error == f"there is no such file: {tmp_path / 'i/gone.png'}"


def test_a_cell_with_a_path_and_no_bytes_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    column = pa.array([{"bytes": b"0", "path": "a.png"}, {"bytes": None, "path": "a.png"}])
    pq.write_table(pa.table({"image": column, "prompt": ["x", "y"]}), tmp_path / "t.parquet")
    assert [item.source for item in opened(tmp_path / "t.parquet")] == [b"0", tmp_path / "a.png"]


@pytest.mark.parametrize("text", ["", ".txt", ".caption", ".json"])
@pytest.mark.parametrize("name", ["a.png", "a b.JPG", "ü.webp", "plain"])
def test_one_picture_alone(name: str, text: str, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / name, "PNG")
    Image.new("RGB", (4, 4)).save(tmp_path / "other.png")
    beside = (tmp_path / name).with_suffix(text) if text else None
    if beside:
        beside.write_text('{"prompt": "a chef"}' if text == ".json" else "a chef")
    (item,) = opened(tmp_path / name)
    assert (item.path, item.source, item.prompt) == (name, tmp_path / name, "a chef" if text else None)


def test_prompts_are_read_from_the_column_that_is_there_and_that_is_said(tmp_path: Path) -> None:
    for name in ("caption", "text"):
        pq.write_table(pa.table({"image": [b"1"], name: ["x"], "label": [1]}), tmp_path / f"{name}.parquet")
        given = pictures.open_input(tmp_path / f"{name}.parquet")
        assert [item.prompt for item in given.items] == ["x"]
        assert given.notes == [f"prompts are read from column {name!r}"]
        with pytest.raises(InputError, match="no column 'prompt'"):
            opened(tmp_path / f"{name}.parquet", prompt="prompt")


def test_without_a_need_for_prompts_a_table_may_have_none(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"1"], "n": [1]}), tmp_path / "t.parquet")
    assert opened(tmp_path / "t.parquet", texts=False) == [Item("t.parquet#0/image", b"1", None)]
    with pytest.raises(InputError, match="no column 'prompt'"):
        opened(tmp_path / "t.parquet")


def test_a_linked_file_out_of_the_folder_is_read_and_a_loop_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "a.png").write_bytes(b"1")
    (tmp_path / "d" / "l.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "d" / "loop.png").symlink_to("loop.png")
    assert [item.path for item in opened(tmp_path / "d")] == ["l.png"]
    notes = pictures.open_input(tmp_path / "d").notes
    assert "passed over: links that lead nowhere (loop.png)" in notes
    assert "read although links lead out of the folder: l.png" in notes
    (tmp_path / "d" / "m.png").symlink_to("l.png")
    (tmp_path / "d" / "inside.png").write_bytes(b"1")
    (tmp_path / "d" / "n.png").symlink_to("inside.png")
    assert "read although links lead out of the folder: 2, such as l.png" in pictures.open_input(tmp_path / "d").notes


@pytest.mark.parametrize("header", ["prompt", "a; b", "x;y;", "a!;b"])
def test_a_header_that_is_no_list_of_names_is_left_as_it_is(header: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"{header}\nx\n")
    try:
        assert len(rows.read(tmp_path / "t.csv").columns) >= 1
    except InputError as error:
        assert "t.csv" in str(error)
