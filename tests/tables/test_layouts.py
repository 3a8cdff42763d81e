"""Tables with two images a row, under the names that their publishers gave the columns."""

from __future__ import annotations

import csv
import io
import json
import math
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.errors import InputError
from datagen.tables import cells, layouts, pictures
from datagen.tables.items import Wanted

RAPIDATA = ("weighted_results_image1_preference", "weighted_results_image2_preference")
FORMS: dict[str, tuple[str, str, str, tuple[str, str] | None]] = {
    "ours": ("chosen", "rejected", "prompt", None),
    "Pick-a-Pic": ("jpg_0", "jpg_1", "caption", ("label_0", "label_1")),
    "numbered": ("image_0", "image_1", "prompt", ("label_0", "label_1")),
    "Rapidata": ("image1", "image2", "prompt", RAPIDATA),
    "votes": ("image1", "image2", "prompt", ("votes_image1", "votes_image2")),
    "letters": ("image_a", "image_b", "text", ("label_a", "label_b")),
    "HPDv3": ("path1", "path2", "prompt", None),
}
LABELS = [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.75, 0.25), (3, 1)]


def rows(form: str) -> list[dict[str, Any]]:
    first, second, prompt, labels = FORMS[form]
    return [
        {
            first: f"{2 * i}.png",
            second: f"{2 * i + 1}.png",
            prompt: f"text {i}",
            **(dict(zip(labels, LABELS[i], strict=True)) if labels else {}),
            "ranking_id": i,
            "model_0": "m",
        }
        for i in range(len(LABELS))
    ]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("kind", ["bytes", "struct", "names", "csv", "jsonl"])
@pytest.mark.parametrize("form", FORMS)
def test_both_images_of_a_row_with_prompt_label_and_id(form: str, kind: str, asked: bool, tmp_path: Path) -> None:
    first, second, _, labels = FORMS[form]
    made = rows(form)
    for row in made:
        for side in (first, second):
            (tmp_path / row[side]).write_bytes(row[side].encode())
            if kind == "bytes":
                row[side] = row[side].encode()
            elif kind == "struct":
                row[side] = {"bytes": row[side].encode(), "path": "x.png"}
    path = tmp_path / ("t.parquet" if kind in ("bytes", "struct", "names") else f"t.{kind}")
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(made[0]))
            writer.writeheader()
            writer.writerows(made)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in made))
    else:
        pq.write_table(pa.Table.from_pylist(made), path)
    given = pictures.open_input(path, Wanted(pairs=asked))
    assert given.of_pairs and given.total == 2 * len(LABELS) and given.ids == ("ranking_id",)
    expected = [1.0, 0.0, 0.5, 0.75, 1.0] if labels else [1.0] * 5
    for i, (one, other) in enumerate(given.pairs()):
        for item, number, side in ((one, 2 * i, first), (other, 2 * i + 1, second)):
            content = item.source.read_bytes() if isinstance(item.source, Path) else item.source
            assert content == f"{number}.png".encode()
            assert (item.prompt, item.label, item.ids) == (f"text {i}", expected[i], {"ranking_id": str(i)})
            assert item.path == f"{path.name}#{i}/{side}" and item.error is None


def test_of_both_a_single_image_and_a_pair_the_single_one_is_read_unless_pairs_are_asked_for(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"image": [b"0"], "chosen": [b"1"], "rejected": [b"2"], "prompt": ["x"]}), tmp_path / "t.parquet"
    )
    one = pictures.open_input(tmp_path / "t.parquet")
    assert [item.source for item in one.items] == [b"0"] and not one.of_pairs
    with pytest.raises(InputError, match=r"has one image a row; known pairs: chosen and rejected; jpg_0 and jpg_1"):
        one.pairs()
    both = pictures.open_input(tmp_path / "t.parquet", Wanted(pairs=True))
    assert [item.source for item in both.items] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("values", "better"),
    [
        ({"label_0": 1, "label_1": 0, "has_label": False}, None),
        ({"label_0": "1", "label_1": "0", "has_label": "False"}, None),
        ({"label_0": "1", "label_1": "0", "has_label": True}, 1.0),
        ({"label_0": None, "label_1": 0}, None),
        ({"label_0": math.nan, "label_1": 0}, None),
        ({"label_0": "good", "label_1": 0}, None),
        ({"label_0": True, "label_1": False}, 1.0),
        ({"label_0": -1, "label_1": 2}, 0.0),
        ({"label_0": math.inf, "label_1": 2}, None),
        ({"label_0": 1}, None),
        ({}, None),
    ],
)
def test_a_label_is_what_it_says_or_none(values: dict[str, Any], better: float | None) -> None:
    assert layouts.better(layouts.PICK_A_PIC, values) == better


def test_pairs_without_labels_are_read_without(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image_0": [b"0"], "image_1": [b"1"], "caption": ["x"]}), tmp_path / "t.parquet")
    assert [item.label for item in pictures.open_input(tmp_path / "t.parquet").items] == [None, None]


def test_a_metadata_table_names_the_files_of_a_pair_in_columns_of_their_own(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    line = {"chosen_file_name": "a.png", "rejected_file_name": "b.png", "prompt": "x"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(line))
    given = pictures.open_input(tmp_path)
    assert [item.source for item in given.items] == [tmp_path / "a.png", tmp_path / "b.png"] and given.of_pairs


def test_a_folder_of_single_pictures_is_no_set_of_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    for path in (tmp_path, tmp_path / "a.png"):
        with pytest.raises(InputError, match="--pairs needs two images a row"):
            pictures.open_input(path, Wanted(pairs=True))


CELLS: list[tuple[Any, float | None]] = [
    (1, 1.0), (0, 0.0), (0.25, 0.25), (True, 1.0), (False, 0.0), ("1", 1.0), (" 0.5 ", 0.5), ("True", 1.0),
    ("first", 1.0), ("SECOND", 0.0), ("tie", 0.5), ("jpg_0", 1.0), ("jpg_1", 0.0), ("jpg_1_file_name", 0.0),
    (None, None), ("", None), ("  ", None), ("nan", None), (math.nan, None), ("NULL", None),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "label"), CELLS)
def test_a_cell_says_how_likely_the_first_image_is_the_better_one(cell: Any, label: float | None) -> None:
    assert layouts.label_of(cell, layouts.PICK_A_PIC) == label


@pytest.mark.parametrize("cell", [2, -1, -0.1, 1.01, "2", "left", "chosen", math.inf, "inf", [1], "ja"])
def test_a_cell_that_is_no_label_is_refused(cell: Any) -> None:
    with pytest.raises(cells.Unusable, match="is no label: give how likely the first image is the better one, 0 to 1"):
        layouts.label_of(cell, layouts.PICK_A_PIC)


def test_one_of_two_columns_is_read_with_the_other_and_a_column_of_images_names_its_own() -> None:
    pick, both = layouts.PICK_A_PIC, {"label_0": 0.0, "label_1": 1.0}
    assert layouts.by_column(pick, "label_0", both) == layouts.by_column(pick, "label_1", both) == 0.0
    assert layouts.by_column(pick, "label_1", {"label_1": 0.75}) == 0.25
    assert (layouts.by_column(pick, "jpg_0", {}), layouts.by_column(pick, "jpg_1", {})) == (1.0, 0.0)
    assert layouts.by_column(pick, "jpg_0", {"has_label": "False"}) is None
    assert layouts.by_column(pick, "gone", {}) is None


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_an_outline_names_pairs_and_labels_without_reading_an_image(kind: str, tmp_path: Path) -> None:
    rows = [
        {"jpg_0": "a.png", "jpg_1": "b.png", "caption": "x", "ranking_id": k, "mine": v} for k, v in enumerate("10?")
    ]
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    given = pictures.open_input(path, Wanted(pairs=True, label="mine"))
    assert given.outline is not None
    for _ in range(2):  # as often as it is wanted
        found = [(item.path, item.label, item.ids, bool(item.error)) for item in given.outline()]
        assert found == [
            (f"t.{kind}#0/jpg_0", 1.0, {"ranking_id": "0"}, False),
            (f"t.{kind}#1/jpg_0", 0.0, {"ranking_id": "1"}, False),
            (f"t.{kind}#2/jpg_0", None, {"ranking_id": "2"}, True),
        ]
    assert [item.label for item in given.items] == [1.0, 1.0, 0.0, 0.0, None, None]


def test_a_table_of_bare_pairs_and_an_archive_have_an_outline_too(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"chosen": [b"1", b"2"], "rejected": [b"3", b"4"], "prompt": ["x", "y"]}), tmp_path / "t.parquet"
    )
    given = pictures.open_input(tmp_path / "t.parquet", Wanted(pairs=True, label="rejected"))
    assert given.outline is not None
    assert [(item.path, item.label) for item in given.outline()] == [
        ("t.parquet#0/chosen", 0.0), ("t.parquet#1/chosen", 0.0)
    ]  # fmt: skip
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        for name, content in (("7.jpg_0", b"a"), ("7.jpg_1", b"b"), ("7.json", b'{"caption": "x", "mine": "second"}')):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    given = pictures.open_input(tmp_path / "t.tar", Wanted(pairs=True, label="mine"))
    assert given.outline is not None
    assert [(item.path, item.label, item.ids) for item in given.outline()] == [
        ("t.tar#7/jpg_0", 0.0, {"__key__": "7"})
    ]
    assert [item.label for item in given.items] == [0.0, 0.0]


def test_a_label_column_that_is_not_there_is_refused_by_tables_of_pairs(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"jpg_0": [b"1"], "jpg_1": [b"2"], "caption": ["x"], "label": [1]}), tmp_path / "t.parquet"
    )
    with pytest.raises(InputError, match="has no column 'lable' with labels; did you mean 'label'"):
        pictures.open_input(tmp_path / "t.parquet", Wanted(pairs=True, label="lable"))


def test_only_our_own_rejected_images_of_a_harm_are_harmful() -> None:
    ours, values = layouts.OURS, {"kind": "avoid"}
    assert layouts.is_harmful(ours, values, "rejected") and not layouts.is_harmful(ours, values, "chosen")
    assert not layouts.is_harmful(ours, {"kind": "prefer"}, "rejected") and not layouts.is_harmful(None, values, "x")
    assert not layouts.is_harmful(layouts.PICK_A_PIC, values, "jpg_1")
