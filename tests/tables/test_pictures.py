import csv
import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen.errors import InputError
from datagen.images import decode
from datagen.tables import pictures
from datagen.tables.items import Item, Wanted


def opened(path: Path, prompts: Path | None = None, image: str | None = None, prompt: str | None = None) -> list[Item]:
    given = pictures.open_input(path, Wanted(image, prompt), prompts)
    found = list(given.items)
    assert len(found) == given.total
    return found


def notes(path: Path, prompts: Path | None = None) -> list[str]:
    return pictures.open_input(path, None, prompts).notes


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), "red").save(folder / name)
    return folder


def parquet(file: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), file)
    return file


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
    assert none.error == "no prompt: expected a.txt (.caption, .json) next to the image, or --prompts"
    assert binary.error is not None and binary.error.endswith("b.txt is UTF-16 text: save it as UTF-8")
    assert blank.error == "no prompt: c.txt is empty"
    assert {item.prompt for item in (none, binary, blank)} == {None}


def test_a_text_of_100_000_characters_arrives_whole_so_that_its_length_can_be_told(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("x" * 100_000)
    assert len(opened(tmp_path)[0].prompt or "") == 100_000


def test_a_file_name_that_is_no_text_is_spelt_out(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    try:
        os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/\xff.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    put(tmp_path, "b.png")
    os.rename(tmp_path / "b.png", os.fsencode(tmp_path) + b"/\xfe.png")
    assert [item.path for item in opened(tmp_path)] == ["\\xfe.png", "\\xff.png"]  # two keys, as there are two files


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
    put(tmp_path, "a.png", "c.png")
    rows = [["a.png", "fine"], ["b.png", "gone"], ["", "no file"], ["c.png", " "], ["x" * 5_000, "long"], ["", ""]]
    listed = table(tmp_path / "p.csv", ["image", "prompt"], *rows)
    good, gone, no_file, empty, long, nothing = opened(tmp_path, listed)
    assert good.error is None
    assert gone.error == f"there is no such file: {tmp_path / 'b.png'}"
    assert long.error is not None and long.error.startswith("there is no such file")
    assert empty.error == "no prompt: the cell is empty"
    assert no_file.error == nothing.error == "no image: the cell is empty"
    assert (no_file.path, nothing.path) == ("p.csv line 4", "p.csv line 7")


@pytest.mark.parametrize("cell", [3, 1.5, float("nan"), True, ["a chef"], {"text": "a chef"}, None])
def test_a_prompt_that_is_no_text_is_none(tmp_path: Path, cell: object) -> None:
    put(tmp_path, "a.png", "b.png")
    lines = [{"file_name": "a.png", "prompt": "fine"}, {"file_name": "b.png", "prompt": cell}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    good, bad = opened(tmp_path, tmp_path / "p.jsonl")
    assert good == Item("a.png", tmp_path / "a.png", "fine")
    assert bad.prompt is None and bad.error is not None and bad.error.startswith("no prompt: the cell ")


@pytest.mark.parametrize("column", [[["x"]], [{"a": 1}], [b"x"], [3], [0.5], [True], [None]])
@pytest.mark.parametrize("name", ["image", "prompt"])
def test_columns_of_names_and_prompts_that_are_no_text_are_refused(
    tmp_path: Path, column: list[object], name: str
) -> None:
    put(tmp_path, "a.png")
    columns: dict[str, Any] = {"image": ["a.png"], "prompt": ["x"], name: column}
    listed = parquet(tmp_path / "p.parquet", **columns)
    with pytest.raises(InputError, match=f"column '{name}' is .*, not text"):
        opened(tmp_path, listed)


@pytest.mark.parametrize(
    "spelt",
    [
        unicodedata.normalize("NFC", "sub/é à.png"),
        unicodedata.normalize("NFD", "sub/é à.png"),
        unicodedata.normalize("NFD", "sub/é ") + "à.png",
        "sub/%C3%A9%20%C3%A0.png",
        "sub\\é à.png",
        "  sub/é à.png ",
        "./sub/é à.png",
        "pictures/sub/é à.png",
        "pictures\\sub\\é à.png",
        "sub /é à.png",
    ],
)
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_name_in_another_spelling_finds_its_file(tmp_path: Path, spelt: str, stored: Any) -> None:
    name = unicodedata.normalize(stored, "sub/é à.png")
    folder = put(tmp_path / "pictures", name)
    listed = parquet(tmp_path / "p.parquet", image=[spelt], prompt=["x"])
    (item,) = opened(folder, listed)
    assert isinstance(item.source, Path) and item.source.samefile(folder / name)
    assert (item.path, item.prompt) == (spelt, "x")


def test_names_that_differ_in_spelling_only_are_never_confused(tmp_path: Path) -> None:
    put(tmp_path, "a%20b.png", "a b.png", " c.png", "c.png")
    listed = table(tmp_path / "p.csv", ["image", "prompt"], *([name, "x"] for name in ("a%20b.png", "a b.png")))
    assert [item.source for item in opened(tmp_path, listed)] == [tmp_path / "a%20b.png", tmp_path / "a b.png"]
    listed = table(tmp_path / "q.csv", ["image", "prompt"], [" c.png", "x"], ["c.png", "y"])
    assert [item.source for item in opened(tmp_path, listed)] == [tmp_path / " c.png", tmp_path / "c.png"]


def test_names_relative_to_their_table_are_found_and_said_and_others_tell_where_they_were_looked_for(
    tmp_path: Path,
) -> None:
    put(tmp_path / "d", "a.png")
    put(tmp_path / "t", "images/b.png")
    rows = [["a.png", "x"], ["images/b.png", "y"], ["c.png", "z"], ["https://example.org/c.png", "z"]]
    listed = table(tmp_path / "t" / "p.csv", ["image", "prompt"], *rows)
    inside, beside, gone, address = opened(tmp_path / "d", listed)
    assert (inside.source, beside.source) == (tmp_path / "d/a.png", tmp_path / "t/images/b.png")
    assert gone.error == f"there is no such file: {tmp_path / 'd' / 'c.png'}, nor in {tmp_path / 't'}"
    assert address.error is not None and "is an address, and nothing is downloaded" in address.error
    assert notes(tmp_path / "d", listed) == [f"1 images that p.csv names are not in {tmp_path / 'd'}, but elsewhere"]


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_the_table_of_an_image_folder_is_read_where_it_lies(tmp_path: Path, name: str) -> None:
    put(tmp_path, "train/a.png", "train/b.png")
    listed = tmp_path / "train" / name
    listed.write_text('{"file_name": "a.png", "text": "x"}' if name.endswith("l") else "file_name,text\na.png,x")
    assert notes(tmp_path) == [
        f"passed over: pictures that {name} does not name (train/b.png)",
        "prompts are read from column 'text'",
    ]
    expected = [Item("a.png", tmp_path / "train/a.png", "x")]
    assert opened(tmp_path) == opened(tmp_path, listed) == opened(tmp_path, listed, prompt="text") == expected
    (tmp_path / "train/b.txt").write_text("y")
    with pytest.raises(InputError, match=r"holds both pictures with texts beside them \(train/b.png\) and a table"):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["captions.csv", "metadata.jsonl"])
def test_a_table_that_may_hold_the_prompts_of_a_folder_is_pointed_to(tmp_path: Path, name: str) -> None:
    put(tmp_path, "a.png")
    (tmp_path / name).write_text('{"file_name": "a.png", "label": 1}' if name.endswith("l") else "file,words\na.png,x")
    assert notes(tmp_path)[-1] == f"{tmp_path / name} may hold the prompts: name it with --prompts"


def test_rows_that_are_there_twice_are_said(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png")
    rows = [["a.png", "x"], ["a.png", "y"], ["./a.png", "x"], ["b.png", "x"], ["b.png", "x"]]
    listed = table(tmp_path / "p.csv", ["image", "prompt"], *rows)
    assert notes(tmp_path, listed) == ["2 rows of p.csv repeat image and prompt of an earlier row"]


def test_pictures_that_a_table_does_not_name_are_said(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png", "c.png")
    listed = table(tmp_path / "p.csv", ["image", "prompt"], ["b.png", "x"])
    assert notes(tmp_path, listed)[-1] == "passed over: pictures that p.csv does not name (2, such as a.png)"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "has no rows"),
        (b"image,prompt\n", "has no rows"),
        (b"imag,prompt\na.png,x\n", "no column 'image' with the files; did you mean 'imag'"),
        (b"image,promt\na.png,x\n", "no column 'prompt'; did you mean 'promt'"),
        (b"image,prompt\na.png,x\nb.png,\xff\n", "line 3 is not UTF-8 text (byte 0xff)"),
        (b"\x00\x01\x02", "line 1 holds NUL bytes"),
        (b"image,prompt\na.png,a chef, in violet\n", "line 2 has 3 cells, its header has 2 (image, prompt)"),
        (b"image,prompt\na.png\n", "line 2 has 1 cells, its header has 2"),
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
    for prompts, line in (("q.csv", "there is no"), ("q.parquet", "there is no"), ("p.json", "is no table")):
        with pytest.raises(InputError, match=line):
            opened(tmp_path, tmp_path / prompts)
    with pytest.raises(InputError, match="for a folder of images, but .* is a file"):
        opened(tmp_path / "a.png", listed)


BYTES = {
    "binary": pa.binary(),
    "large binary": pa.large_binary(),
    "binary view": pa.binary_view(),
    "of one length": pa.binary(1),
}
TEXTS = {"string": pa.string(), "large string": pa.large_string(), "string view": pa.string_view()}


@pytest.mark.parametrize("text", [*TEXTS, "dictionary"])
@pytest.mark.parametrize("kind", [*BYTES, "dictionary"])
@pytest.mark.parametrize("struct", [False, True])
def test_a_data_set_gives_the_bytes_of_its_cells(tmp_path: Path, kind: str, text: str, struct: bool) -> None:
    cells: Any = pa.array([b"1", None, b"3"], BYTES.get(kind, pa.binary()))
    if kind == "dictionary":
        cells = cells.dictionary_encode()
    if struct:
        cells = pa.StructArray.from_arrays([cells, pa.array([None, None, "c"])], ["bytes", "path"])
    prompts: Any = pa.array(["x", "y", None], TEXTS.get(text, pa.string()))
    prompts = prompts.dictionary_encode() if text == "dictionary" else prompts
    path = parquet(tmp_path / "d.parquet", image=cells, prompt=prompts)
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
        ({"img": [b"1"], "prompt": ["x"]}, "no column 'image'; did you mean 'img'? known: img, prompt; name one with"),
        ({"image": [["x"]], "prompt": ["x"]}, "column 'image' is list<"),
        ({"image": [[b"1"]], "prompt": ["x"]}, "column 'image' is list<"),
        ({"image": [{"bytes": {"bytes": b"1"}}], "prompt": ["x"]}, "column 'image' is struct<bytes: struct<"),
        ({"image": [b"1"], "prompt": [b"x"]}, "column 'prompt' is binary, not text"),
        ({"image": [b"1"], "prompt": [["x"]]}, "column 'prompt' is list<"),
        ({"image": [b"1"], "prompt": pa.array([None], pa.null())}, "column 'prompt' is null, not text"),
        ({"image": [{"file": "a.png"}], "prompt": ["x"]}, "column 'image' is struct<file: string>, not image bytes"),
        ({"image": [b"1"], "promt": ["x"]}, "no column 'prompt'; did you mean 'promt'"),
        ({"image": [3], "prompt": ["x"]}, "column 'image' is int64, not image bytes, a struct with bytes or path, or"),
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
        ("a.pdf", "is none of what can be judged (pictures in PDF, which is not read"),
        ("a.md", "is none of what can be judged: give a picture, a table (Parquet, Arrow, CSV, TSV, JSON Lines), a"),
        ("a\0b", "there is no"),
        ("zero.parquet", "is empty (0 bytes)"),
        ("text.parquet", "not a readable Parquet file"),
        ("cut.parquet", "not a readable Parquet file"),
    ],
)
def test_what_is_no_input_at_all(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "a.md").write_text("words")
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


def test_shards_of_one_name_in_two_folders_have_keys_of_their_own(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "default" / split).mkdir(parents=True)
        parquet(tmp_path / "default" / split / "0000.parquet", image=[split.encode()], prompt=["x"])
    assert [item.path for item in opened(tmp_path)] == [
        "default/test/0000.parquet#0/image",
        "default/train/0000.parquet#0/image",
    ]


@pytest.mark.parametrize("wanted", ["image", "chosn", "Chosen", "chosen ", "rejected_"])
def test_a_column_that_was_asked_for_is_obeyed_or_refused(tmp_path: Path, wanted: str) -> None:
    path = parquet(tmp_path / "d.parquet", chosen=[b"1"], rejected=[b"2"], prompt=["x"])
    with pytest.raises(InputError, match=f"has no column '{wanted}'"):
        opened(path, image=wanted)
    assert [item.source for item in opened(path, image="rejected")] == [b"2"]
    assert [item.source for item in opened(path)] == [b"1", b"2"]


def test_a_column_of_files_that_was_asked_for_is_obeyed_or_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    listed = table(tmp_path / "p.csv", ["file_name", "prompt"], ["a.png", "x"])
    with pytest.raises(InputError, match="no column 'image' with the files"):
        opened(tmp_path, listed, image="image")
    put(tmp_path / "d", "a.png")
    with pytest.raises(InputError, match="names a column, but .* is a folder of images without a table"):
        opened(tmp_path / "d", image="picture")


def test_a_stray_picture_in_a_folder_of_tables_is_passed_over_and_said(tmp_path: Path) -> None:
    put(tmp_path, "assets/banner.png", "logo.jpg")
    parquet(tmp_path / "d.PARQUET", image=[b"1"], prompt=["x"])
    assert [item.path for item in opened(tmp_path)] == ["d.PARQUET#0/image"]
    assert notes(tmp_path) == ["passed over: pictures beside Parquet files (2, such as assets/banner.png)"]


def test_a_stray_picture_beside_tables_whose_columns_are_not_known_decides_nothing(tmp_path: Path) -> None:
    put(tmp_path, "assets/banner.png")
    parquet(tmp_path / "d.parquet", img=[b"1"], prompt=["x"])
    for texts in (True, False):
        with pytest.raises(InputError, match="has no column 'image'; did you mean 'img'"):
            pictures.open_input(tmp_path, Wanted(texts=texts))
    assert [item.source for item in opened(tmp_path, image="img")] == [b"1"]


def test_a_folder_that_may_be_either_is_asked_about(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("x")
    parquet(tmp_path / "d.parquet", image=[b"1"], prompt=["x"])
    with pytest.raises(InputError, match=r"holds both pictures with texts beside them \(a.png\) and Parquet \(d.par"):
        opened(tmp_path)


def test_a_stray_table_in_a_folder_of_pictures_is_passed_over_and_said(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("x")
    parquet(tmp_path / "embeddings.parquet", vector=[1.0])
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    assert opened(tmp_path) == [Item("a.png", tmp_path / "a.png", "x")]
    assert notes(tmp_path) == ["passed over: Parquet files without a column of images (2, such as cut.parquet)"]


def test_scores_that_an_earlier_call_wrote_are_no_input(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("x")
    parquet(tmp_path / "s.parquet", path=["a.png"], prompt=["x"], judge=["clip"], judge_version=["1"], value=[0.5])
    assert opened(tmp_path) == [Item("a.png", tmp_path / "a.png", "x")]
    assert notes(tmp_path) == ["passed over: tables of scores (s.parquet)"]


def test_texts_beside_pictures_in_any_spelling_and_what_else_lies_there_is_told(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "é.png")
    put(tmp_path, "a.png", "b.png", "c.png", "d.png", "e.png", decomposed, "scene 1.5.png", "f.v2.png")
    (tmp_path / "a.TXT").write_text("one")
    (tmp_path / "b.caption").write_text("two")
    (tmp_path / "c.png.txt").write_text("three")
    (tmp_path / unicodedata.normalize("NFC", "é.txt")).write_text("four")
    (tmp_path / "scene 1.5.txt").write_text("five")
    (tmp_path / "d.rtf").write_text("six")
    (tmp_path / "e.JSON").write_text('{"caption": "seven", "id": 3}')
    (tmp_path / "f.v2.png.json").write_text('\ufeff{"prompt": "eight", "text": "nine"}')
    (tmp_path / "info.json").write_text("[]")
    found = {item.path: item for item in opened(tmp_path)}
    expected = {"a": "one", "b": "two", "c": "three", "e": "seven", "f.v2": "eight", "scene 1.5": "five"}
    assert {name: found[f"{name}.png"].prompt for name in expected} == expected
    assert (found[decomposed].prompt, found["e.png"].ids) == ("four", {"id": "3"})
    assert found["d.png"].error == (
        "no prompt: expected d.txt (.caption, .json) next to the image, or --prompts; d.rtf is not read"
    )
    assert notes(tmp_path) == [
        "passed over: files that are neither pictures nor Parquet (d.rtf)",
        "passed over: texts without a picture of their name (info.json)",
    ]


def test_of_several_texts_beside_a_picture_the_txt_counts_and_the_others_are_said(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png", "c.png")
    for name in ("a.txt", "a.caption", "a.png.txt", "b.caption", "b.json"):
        (tmp_path / name).write_text(name)
    (tmp_path / "c.json").write_text('{"prompt": "c.json"}')
    assert [item.prompt for item in opened(tmp_path)] == ["a.txt", "b.caption", "c.json"]
    said = "passed over: texts beside another one of the same picture (3, such as a.caption)"
    assert notes(tmp_path) == [said]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "a.json is not JSON"),
        ('{"prompt": "x"', "a.json is not JSON"),
        ('{"prompt": "x", "prompt": "y"}', "a.json is not JSON: it has two values for 'prompt'"),
        ("[" * 100_000, "a.json is not JSON: it is nested too deeply"),
        ("[1]", "a.json holds a list, not an object"),
        ('"a chef"', "a.json holds text, not an object"),
        ('{"title": "x"}', "a.json has none of prompt, caption, text"),
        ('{"prompt": null, "caption": "x"}', "the cell is empty"),
        ('{"prompt": ["x"]}', "the cell holds a list, not text"),
        ('{"prompt": "\\ud800"}', "half of a character"),
    ],
)
def test_a_json_beside_a_picture_without_a_text_is_its_error(tmp_path: Path, content: str, why: str) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "a.json").write_text(content)
    (item,) = opened(tmp_path)
    assert item.error is not None and item.error.startswith("no prompt: ") and why in item.error
    assert item.source == tmp_path / "a.png" and item.prompt is None


def test_text_in_parquet_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    bad = pa.array([b"fine", b"\xff"]).view(pa.string())
    path = parquet(tmp_path / "d.parquet", image=[b"1", b"2"], prompt=bad)
    with pytest.raises(InputError, match="row 1 holds text that is not UTF-8"):
        opened(path)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([b"1"]), pa.array(["x"]), pa.array(["y"])], ["image", "prompt", "prompt"])
    pq.write_table(twice, tmp_path / "d.parquet")
    with pytest.raises(InputError, match="has two columns 'prompt'"):
        opened(tmp_path / "d.parquet")
