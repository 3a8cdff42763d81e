"""Tables with two images a row, under the names that their publishers gave the columns."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.errors import InputError
from datagen.tables import layouts, pictures
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
