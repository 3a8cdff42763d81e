"""Tables of every format give the same rows; what does not fit is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import InputError
from datagen.tables import cells, delimited, rows, text

ROWS = [("a.png", "a chef, in violet"), ("b.png", 'a sign that says "open"'), ("c.png", "two\nlines"), ("d.png", "")]


def quoted(cell: str) -> str:
    return '"{}"'.format(cell.replace('"', '""'))


def written(folder: Path, kind: str) -> Path:
    path = folder / f"t.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"image": [row[0] for row in ROWS], "prompt": [row[1] for row in ROWS]}), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"image": a, "prompt": b}) + "\n\n" for a, b in ROWS))
    else:
        delimiter = "\t" if kind == "tsv" else ","
        lines = [("image", "prompt"), *ROWS]
        path.write_text("".join(f"{quoted(a)}{delimiter}{quoted(b)}\n" for a, b in lines))
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows_as_often_as_they_are_asked_for(kind: str, tmp_path: Path) -> None:
    table = rows.read(written(tmp_path, kind))
    assert table.columns == ("image", "prompt")
    for _ in range(2):
        assert [(row.values["image"], row.values["prompt"]) for row in table.rows()] == ROWS
    assert [row.values for row in table.rows("prompt")] == [{"prompt": prompt} for _, prompt in ROWS]


def test_rows_say_where_they_are(tmp_path: Path) -> None:
    csv = rows.read(written(tmp_path, "csv")).rows()
    assert [row.place for row in csv] == ["line 2", "line 3", "line 4", "line 6"]
    assert [row.place for row in rows.read(written(tmp_path, "parquet")).rows()][-1] == "row 3"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff", "\ufeff\ufeff"])
def test_line_ends_and_byte_order_marks_of_any_system(end: str, mark: str, tmp_path: Path) -> None:
    content = end.join(
        [f'{mark}image , "prompt"'.replace(' "', ' "').replace(', "', ',"'), "a.png,x", "", "b.png,y", ""]
    )
    (tmp_path / "t.csv").write_bytes(content.encode())
    table = rows.read(tmp_path / "t.csv")
    assert table.columns == ("image", "prompt")
    assert [list(row.values.values()) for row in table.rows()] == [["a.png", "x"], ["b.png", "y"]]


def test_the_unnamed_column_that_pandas_writes_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",image,prompt\n0,a.png,x\n1,b.png,y\n")
    table = rows.read(tmp_path / "t.csv")
    assert table.columns == ("image", "prompt")
    assert [row.values["prompt"] for row in table.rows()] == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("image,prompt\na,b, c\n", "line 2 has 3 cells, its header has 2 (image, prompt)"),
        ("image,prompt\na,b\nc\n", "line 3 has 1 cells, its header has 2"),
        ("image,prompt\na;b\n", "line 2 has 1 cells, its header has 2"),
        ("image,prompt\na,b\n\nc,d,e\n", "line 4 has 3 cells"),
        ("image,prompt\na,b\nimage,prompt\nc,d\n", "line 3 repeats the header"),
        ("image,prompt\na,b\nimage, prompt \n", "line 3 repeats the header"),
        ("prompt\na\nprompt\n", "line 3 repeats the header"),
        ("image,prompt\na,b\nImage,PROMPT\n", "line 3 repeats the header"),
        ("image,prompt,prompt\na,b,c\n", "two columns 'prompt'"),
        ("image,prompt, prompt\na,b,c\n", "two columns 'prompt'"),
        (
            "image;prompt\na;b;c\n",
            "line 2 has 3 cells, its header has 2 (image, prompt): put a text with semi",
        ),
        ("image\tprompt\na\tb\n", "has tabs between its columns"),
        ("image|prompt\na|b\n", "has bars between its columns"),
        ("sep=;\nimage;prompt\na;b\n", "has semicolons between its columns"),
        ('image,prompt\na,"b\nc,d\n', "line 2 cannot be read: a quote that is not closed"),
        ('image,prompt\nx,y\na,"b\nc,"d"\n', "line 3 cannot be read: "),
        ('image,prompt\na,"b"c\n', "line 2 cannot be read: "),
        (
            'image,prompt\na.png,"a chef in ruins\nb.png,a guard in a hall"\nc.png,x\n',
            "line 2 has a quoted text that goes on to line 3",
        ),
        (
            'image,prompt\na.png,"a chef\nb.png,a guard\nc.png,a nurse"\n',
            "over what looks like another row ('b.png,a guard')",
        ),
        ('seed,image,prompt\n1,a b.png,"a chef\n2,b c.png,a guard"\n', "over what looks like another row"),
        (
            'image,prompt,note\na.png,"a chef,x\nb.png,a guard",y\nc.png,a smith,z\n',
            "over what looks like another row",
        ),
        ('image,prompt\na.png, "a chef"\n', "line 2 has a space before a quoted text"),
        ('image,prompt\na.png,  "a chef, tall"\n', "line 2 has 3 cells"),
        ('id,prompt,seed\n1,"a chef,3\n2,a guard",4\n', "line 2 has a quoted text that goes on to line 3"),
        ("image,prompt\na,b\0\n", "line 2 holds NUL bytes"),
        ("", "has no rows"),
        ("\n\n", "has no rows"),
        ("image,prompt\n", "has no rows"),
    ],
)
def test_csv_that_does_not_fit_is_refused_with_its_line(content: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError) as caught:
        list(rows.read(tmp_path / "t.csv").rows())
    assert line in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "cell",
    ["a chef,\nstanding in the ruins, at night", "one\n\ntwo", "a list:\n- ruins\n- a hall", 'a "sign"\nin ruins'],
)
def test_a_quoted_text_of_several_lines_is_a_text(cell: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"image,prompt\na.png,{quoted(cell)}\nb.png,x\n")
    assert [row.values["prompt"] for row in rows.read(tmp_path / "t.csv").rows()] == [cell, "x"]


def test_a_text_whose_further_line_has_commas_is_no_other_row(tmp_path: Path) -> None:
    cell = "a chef,\nred, blue"
    (tmp_path / "t.csv").write_text(f"image,prompt,seed\na.png,{quoted(cell)},1\nb.png,x,2\n")
    assert [row.values["prompt"] for row in rows.read(tmp_path / "t.csv").rows()] == [cell, "x"]


def test_a_quote_within_a_text_that_begins_with_a_space_is_one(tmp_path: Path) -> None:
    cell = ' "big" chef'
    (tmp_path / "t.csv").write_text(f"image,prompt\na.png,{quoted(cell)}\n")
    assert [row.values["prompt"] for row in rows.read(tmp_path / "t.csv").rows()] == [cell]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("t.csv", "image,prompt\na,b\n".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        ("t.csv", "image,prompt\na,b\n".encode("utf-16-le"), "line 1 holds NUL bytes"),
        ("t.csv", "image,prompt\na,b\n".encode("utf-32"), "is UTF-16 text"),
        ("t.csv", b"image,prompt\na,b\nc,caf\xe9\n", "line 3 is not UTF-8 text (byte 0xe9): save it as UTF-8"),
        ("t.csv", b"image,prompt\na,\x93b\x94\n", "line 2 is not UTF-8 text (byte 0x93)"),
        ("t.csv", b"PAR1\x15\x04", "is a Parquet file: name it .parquet"),
        ("t.csv", b"PK\x03\x04" + bytes(20), "is an Excel workbook or a ZIP archive"),
        ("t.jsonl", b"\x1f\x8b\x08", "is compressed with gzip: unpack it"),
        ("t.jsonl", b'{"prompt": "x"}\n{"prompt"', "line 2 is not JSON"),
        ("t.jsonl", b'[{"prompt": "x"}]\n', "line 1 is no object"),
        ("t.jsonl", b'{\n"prompt": "x"\n}\n', "line 1 is not JSON"),
        ("t.jsonl", b'{"prompt": "x", "prompt": "y"}\n', "line 1 is not JSON: it has two values for 'prompt'"),
        ("t.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("t.jsonl", b'"x"\n', "line 1 is no object"),
        ("t.jsonl", b"", "has no rows"),
        ("t.parquet", b"image,prompt\na,b\n", "is not a readable Parquet file"),
        ("t.parquet", b"", "is empty (0 bytes)"),
        ("t.xlsx", b"PK", "is no table that can be read: give .csv, .tsv, .jsonl, .parquet or .arrow"),
        ("t", b"image,prompt", "is no table that can be read"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    name: str, content: bytes, line: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(rows.read(tmp_path / name).rows())
    assert line in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_what_is_no_file_is_refused(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"d{suffix}").mkdir()
    for name, line in ((f"d{suffix}", "is a folder"), (f"no{suffix}", "there is no"), ("x" * 300 + suffix, "x" * 300)):
        with pytest.raises(InputError, match=line):
            rows.read(tmp_path / name)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "the cell is empty"),
        (" \ufeff\n", "the cell is empty"),
        ("\u200b", "the cell is empty"),
        ("\x00\u2060 \xad", "the cell is empty"),
        ("nan", "'nan', which stands for nothing"),
        (" <NA>", "which stands for nothing"),
        ("None", "which stands for nothing"),
        ("\\N", "which stands for nothing"),
        (3, "a number"),
        (float("nan"), "NaN"),
        (True, "true or false"),
        (b"x", "bytes"),
        (["x"], "a list"),
        ({"a": 1}, "a struct"),
        ("a \ud83d", "half of a character"),
    ],
)
def test_what_is_no_text_is_none(cell: Any, reason: str) -> None:
    with pytest.raises(cells.Unusable, match=reason):
        cells.text_of(cell)


def test_a_text_loses_what_is_around_it_and_an_image_is_bytes_or_a_struct_of_them() -> None:
    assert cells.text_of("\ufeff a chef\r\n") == "a chef"
    assert cells.image_of(b"1") == cells.image_of({"bytes": b"1", "path": None}) == b"1"
    for cell, reason in (
        (None, "no bytes"),
        (b"", "no bytes"),
        ({"bytes": None, "path": "a.png"}, "no bytes, only the path 'a.png'"),
        ("a.png", "holds text, not image bytes"),
        ([b"1"], "holds a list, not image bytes"),
    ):
        with pytest.raises(cells.Unusable, match=reason):
            cells.image_of(cell)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=12)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_what_is_written_as_csv_is_read_as_it_was_or_refused(lines: list[tuple[str, str]]) -> None:
    """Nothing is ever read as another table."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        content = "".join(f"{quoted(a)},{quoted(b)}\n" for a, b in [("image", "prompt"), *lines])
        path.write_text(content, encoding="utf-8", newline="")
        try:
            found = [cells for _, cells in delimited.rows(path, ",")][1:]
        except InputError:
            return
        assert found == [list(line) for line in lines]


@given(st.binary(max_size=80))
def test_any_bytes_are_a_text_or_one_line(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(data)
        for read in (lambda: list(text.lines(path)), lambda: list(rows.read(path).rows())):
            try:
                read()
            except InputError as error:
                assert "\n" not in str(error)
