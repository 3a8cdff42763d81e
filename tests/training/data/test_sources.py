"""Pairs in the forms that people have: tables of any kind, names of files, folders with metadata, Arrow."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training import data
from training.errors import TrainingError

Picture = Callable[..., bytes]
Rows = Callable[..., list[dict[str, Any]]]
PROMPTS = ["a chef", "a “smith”, at work", "北京"]


def files(folder: Path, make_picture: Picture, count: int = 3) -> list[dict[str, str]]:
    """Rows that name image files in a folder below."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(count):
        for side, seed in (("c", 2 * i), ("r", 2 * i + 1)):
            (folder / "images" / f"{side}{i}.png").write_bytes(make_picture(seed))
        rows.append({"prompt": PROMPTS[i], "chosen": f"images/c{i}.png", "rejected": f"images/r{i}.png"})
    return rows


def lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def separated(rows: list[dict[str, str]], delimiter: str = ",") -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def check(pairs: data.Pairs, make_picture: Picture) -> None:
    """The three pairs, whatever they were read from."""
    assert pairs.prompts == PROMPTS
    for i in range(3):
        assert pairs.images.bytes(pairs.chosen[i]) == make_picture(2 * i)
        assert pairs.images.bytes(pairs.rejected[i]) == make_picture(2 * i + 1)


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "bom"])
@pytest.mark.parametrize("name", ["train.csv", "pairs.tsv", "pairs.jsonl", "PAIRS.CSV", "metadata.jsonl"])
@pytest.mark.parametrize("given", ["file", "folder"])
def test_a_table_of_names_is_read(given: str, name: str, mark: str, tmp_path: Path, make_picture: Picture) -> None:
    rows = files(tmp_path, make_picture)
    text = lines(rows) if name.endswith("jsonl") else separated(rows, "\t" if name.endswith("tsv") else ",")
    (tmp_path / name).write_text(mark + text, encoding="utf-8")
    check(data.load(str(tmp_path / name if given == "file" else tmp_path)), make_picture)


@pytest.mark.parametrize("split", ["", "train"])
def test_an_image_folder_is_read_by_its_metadata(split: str, tmp_path: Path, make_picture: Picture) -> None:
    folder = tmp_path / split
    rows = [
        {"chosen_file_name": row["chosen"], "rejected_file_name": row["rejected"], "prompt": row["prompt"]}
        for row in files(folder, make_picture)
    ]
    (folder / "metadata.jsonl").write_text(lines(rows), encoding="utf-8")
    check(data.load(str(tmp_path)), make_picture)
    (folder / "metadata.jsonl").unlink()
    (folder / "metadata.csv").write_text(separated(rows), encoding="utf-8")
    check(data.load(str(tmp_path)), make_picture)


@pytest.mark.parametrize("place", ["beside", "below", "absolute", "struct", "half"])
def test_paths_are_relative_to_the_data(place: str, tmp_path: Path, make_picture: Picture) -> None:
    table = tmp_path / ("data" if place == "below" else "") / "train-0.parquet"
    table.parent.mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = list(files(tmp_path, make_picture))
    for i, row in enumerate(rows):
        for side in ("chosen", "rejected"):
            path = str(tmp_path / row[side]) if place == "absolute" else row[side]
            row[side] = {"bytes": None, "path": path} if place in ("struct", "half") else path
            if place == "half" and i == 1:
                row[side]["bytes"] = (tmp_path / path).read_bytes()
    pq.write_table(pa.Table.from_pylist(rows), table)
    check(data.load(str(tmp_path)), make_picture)


@pytest.mark.parametrize(
    "spelt", ["images\\{}", " images/{} ", "./images/{}", "{folder}/images/{}", "images/%63{rest}"], ids=str
)
def test_names_may_be_spelt_as_other_systems_do(spelt: str, tmp_path: Path, make_picture: Picture) -> None:
    rows = files(tmp_path, make_picture)
    for row in rows:
        name = row["chosen"].removeprefix("images/")
        row["chosen"] = spelt.format(name, folder=tmp_path.name, rest=name[1:])
    (tmp_path / "pairs.jsonl").write_text(lines(rows), encoding="utf-8")
    check(data.load(str(tmp_path)), make_picture)


def test_a_file_that_is_not_there_is_named_where_it_was_looked_for(tmp_path: Path, make_picture: Picture) -> None:
    rows = files(tmp_path, make_picture)
    rows[1]["chosen"], rows[2]["rejected"] = "images/gone.png", "https://example.org/r.png"
    (tmp_path / "pairs.jsonl").write_text(lines(rows), encoding="utf-8")
    with pytest.raises(TrainingError) as caught:
        data.load(str(tmp_path))
    said = str(caught.value)
    assert "2 of 3 pairs cannot be used: pairs.jsonl line 2: chosen holds no image bytes, and " in said
    assert f"there is no file {tmp_path}" in said
    assert "https://example.org/r.png is an address, and nothing is downloaded" in said


def saved(folder: Path, rows: list[dict[str, Any]], form: str) -> None:
    """Arrow files and the state that names them, as `save_to_disk` leaves them."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    new = pa.ipc.new_stream if form == "stream" else pa.ipc.new_file
    for i, part in enumerate((table.slice(0, 2), table.slice(2))):
        with new(str(folder / f"data-{i}.arrow"), table.schema) as writer:
            writer.write_table(part)
    listed = [{"filename": f"data-{i}.arrow"} for i in range(2)]
    (folder / "state.json").write_text(json.dumps({"_data_files": listed}))


@pytest.mark.parametrize("form", ["stream", "file"])
def test_what_save_to_disk_wrote_is_read(form: str, tmp_path: Path, make_rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(make_rows(5)), tmp_path / "pairs.parquet")
    whole = data.load(str(tmp_path / "pairs.parquet"))
    saved(tmp_path / "saved", make_rows(5), form)
    assert data.load(str(tmp_path / "saved")).digest() == whole.digest()
    saved(tmp_path / "splits" / "train", make_rows(5), form)
    saved(tmp_path / "splits" / "test", make_rows(2, 5), form)
    (tmp_path / "splits" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert data.load(str(tmp_path / "splits")).digest() == whole.digest()
    assert len(data.load(str(tmp_path / "splits"), split="test")) == 2


@pytest.mark.parametrize(
    "state", ["", "{", "[]", '{"_data_files": [{}]}', '{"_data_files": [{"filename": "gone.arrow"}]}']
)
def test_a_damaged_save_is_one_line(state: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(state)
    with pytest.raises(TrainingError, match=r"(state.json|gone.arrow) cannot be read"):
        data.load(str(tmp_path))


def test_a_stray_save_decides_nothing(tmp_path: Path, make_rows: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.Table.from_pylist(make_rows(4)), tmp_path / "pairs.parquet")
    saved(tmp_path / "old" / "copy", make_rows(2), "stream")
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    assert len(data.load(str(tmp_path))) == 4
    said = capsys.readouterr().err
    assert "passed over: tables in text beside others (" in said and "notes.csv" in said


TYPES = {
    "large_string": ("prompt", pa.large_string()),
    "string_view": ("prompt", pa.string_view()),
    "dictionary": ("prompt", pa.dictionary(pa.int32(), pa.string())),
    "large_binary": ("chosen", pa.large_binary()),
    "binary_view": ("chosen", pa.binary_view()),
}


@pytest.mark.parametrize("kind", TYPES)
def test_every_arrow_type_of_text_and_bytes_is_read(kind: str, tmp_path: Path, make_picture: Picture) -> None:
    columns: dict[str, Any] = {
        "prompt": pa.array(PROMPTS),
        "chosen": pa.array([make_picture(2 * i) for i in range(3)], pa.binary()),
        "rejected": pa.array([make_picture(2 * i + 1) for i in range(3)], pa.binary()),
    }
    name, wanted = TYPES[kind]
    columns[name] = columns[name].cast(wanted) if kind != "dictionary" else columns[name].dictionary_encode()
    pq.write_table(pa.table(columns), tmp_path / "train-0.parquet")
    check(data.load(str(tmp_path)), make_picture)


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("prompt", [["a"], ["b"]], "prompt must be a text, not list"),
        ("prompt", [b"a", b"b"], "prompt must be a text, not binary"),
        ("prompt", [1, 2], "prompt must be a text, not int64"),
        ("prompt", ["a", " "], "row 1: prompt must be a text, not blank"),
        ("prompt", ["a", "\ufeff"], "row 1: prompt must be a text, not blank"),
        ("chosen", [[b"a"], [b"b"]], "chosen holds list"),
        ("chosen", [1, 2], "chosen holds int64; images are bytes, structs of bytes and path, or names of files"),
        ("chosen", [None, None], "row 0: chosen holds no image bytes"),
        ("chosen", [{"url": "x"}, {"url": "y"}], "chosen holds struct"),
        ("probability", [[0.5], [0.5]], "probability must be a number from 0 to 1, not list"),
        ("probability", ["0.5", "0.5"], "probability must be a number from 0 to 1, not string"),
    ],
)
def test_columns_of_another_kind_are_refused(
    column: str, values: list[Any], says: str, tmp_path: Path, make_rows: Rows
) -> None:
    table = pa.Table.from_pylist(make_rows(2))
    table = table.drop_columns([column] if column in table.column_names else []).append_column(column, [values])
    pq.write_table(table, tmp_path / "train-0.parquet")
    with pytest.raises(TrainingError) as caught:
        data.load(str(tmp_path))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_numbers_of_a_text_table_are_read(tmp_path: Path, make_picture: Picture) -> None:
    rows = [{**row, "probability": f"0.{9 - i}"} for i, row in enumerate(files(tmp_path, make_picture))]
    (tmp_path / "pairs.csv").write_text(separated(rows), encoding="utf-8")
    assert data.load(str(tmp_path)).probabilities == [0.9, 0.8, 0.7]
    rows[1]["probability"] = "high"
    (tmp_path / "pairs.csv").write_text(separated(rows), encoding="utf-8")
    with pytest.raises(TrainingError, match="pairs.csv line 3: probability must be a number from 0 to 1, not high"):
        data.load(str(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "prompt,chosen,rejected\na, b,c.png,d.png\n",
        'prompt,chosen,rejected\n"a,c.png,d.png\n',
        "",
        "prompt;chosen;rejected\na;b;c\n",
    ],
)
def test_a_table_that_is_not_well_formed_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(TrainingError, match="pairs.csv"):
        data.load(str(tmp_path / "pairs.csv"))


def test_columns_of_other_names_are_taken_as_told(tmp_path: Path, make_rows: Rows) -> None:
    rows = [{"text": row["prompt"], "good": row["chosen"], "bad": row["rejected"]} for row in make_rows(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train-0.parquet")
    names = {"prompt": "text", "chosen": "good", "rejected": "bad"}
    assert data.load(str(tmp_path), names=names).prompts == [row["text"] for row in rows]
    with pytest.raises(TrainingError, match="has no column 'wrong', which --columns names; it has text, good, bad"):
        data.load(str(tmp_path), names={**names, "prompt": "wrong"})
    swapped = data.load(str(tmp_path), names={**names, "chosen": "bad", "rejected": "good"})
    assert swapped.images.bytes(swapped.chosen[0]) == rows[0]["bad"]["bytes"]


def test_a_folder_without_pairs_says_what_it_holds(tmp_path: Path, make_picture: Picture) -> None:
    (tmp_path / "a.png").write_bytes(make_picture(1))
    (tmp_path / "a.txt").write_text("a chef")
    with pytest.raises(TrainingError, match="no Parquet file under .*; it holds 1 images; 1 texts"):
        data.load(str(tmp_path))
    with pytest.raises(TrainingError, match="a.txt is no table of pairs: .csv, .tsv, .jsonl, .parquet, .arrow, .tar"):
        data.load(str(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    "litter", ["._train-1.parquet", ".ipynb_checkpoints/train-1.parquet", "__MACOSX/train-1.parquet"]
)
def test_what_systems_leave_behind_is_no_data(litter: str, tmp_path: Path, make_rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(make_rows(2)), tmp_path / "train-0.PARQUET")
    (tmp_path / litter).parent.mkdir(exist_ok=True)
    (tmp_path / litter).write_bytes(b"litter")
    assert len(data.load(str(tmp_path))) == 2


def test_a_mark_within_a_cell_is_no_part_of_the_text(tmp_path: Path, make_rows: Rows) -> None:
    rows = [{**row, "prompt": f"\ufeff{row['prompt']}"} for row in make_rows(2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train-0.parquet")
    assert data.load(str(tmp_path)).prompts == [row["prompt"] for row in make_rows(2)]


def test_a_column_that_the_first_line_lacks_is_read(tmp_path: Path, make_picture: Picture) -> None:
    rows = files(tmp_path, make_picture)
    rows[1]["principle"] = "no smoke"
    (tmp_path / "pairs.jsonl").write_text(lines(rows), encoding="utf-8")
    with pytest.raises(TrainingError, match="2 of 3 pairs cannot be used: pairs.jsonl line 1: principle must"):
        data.load(str(tmp_path))
