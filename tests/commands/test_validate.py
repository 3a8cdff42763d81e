"""`validate`: a sound dataset has no problems; each kind of damage is one line."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen.commands.validate import problems
from datagen.errors import InputError
from datagen.export import huggingface


def png(shade: int, width: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, 8), (shade, 0, 0)).save(file, "png")
    return file.getvalue()


def bomb(side: int) -> bytes:
    """A PNG whose header claims side × side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def row(number: int, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in huggingface.schema():
        values[field.name] = "x" if pa.types.is_string(field.type) else 1
    sides = {
        side: {"bytes": png(2 * number + k), "path": f"{number}{k}.png"}
        for k, side in enumerate(("chosen", "rejected"))
    }
    values |= {"width": 8, "height": 8, "scheduler_config": "{}", "rejected_scheduler_config": "{}", "pool": ""}
    return values | sides | {"pair_id": f"id {number}", "prompt": f"scene {number}", "probability": 0.9} | changes


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=huggingface.schema()), path)
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A sound dataset of three train rows and one test row, in a run directory."""
    (tmp_path / "recipe.json").write_text(json.dumps({}))
    write(tmp_path / "dataset/data/train-00000-of-00001.parquet", [row(0), row(1), row(2)])
    write(tmp_path / "dataset/data/test-00000-of-00001.parquet", [row(3)])
    splits = "".join(f"  - name: {name}\n    num_examples: {n}\n" for name, n in (("train", 3), ("test", 1)))
    (tmp_path / "dataset/README.md").write_text(splits)
    return tmp_path / "dataset"


def test_a_sound_dataset_has_no_problems_whichever_way_it_is_given(dataset: Path) -> None:
    for given in (dataset.parent, dataset, dataset / "data/train-00000-of-00001.parquet"):
        assert list(problems(given)) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"chosen": {"bytes": png(1)[:50], "path": ""}}, "chosen does not decode"),
        ({"chosen": {"bytes": b"GIF89a", "path": ""}}, "chosen does not decode"),
        (
            {"chosen": {"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n", "path": ""}},
            "chosen does not decode: the image is PostScript",
        ),
        ({"rejected": {"bytes": b"", "path": ""}}, "rejected has no image bytes"),
        ({"chosen": {"bytes": bomb(14143), "path": ""}}, "chosen does not decode: the image is too large"),
        (
            {"chosen": {"bytes": bomb(10001), "path": ""}},
            "chosen does not decode: the image is too large: 10001×10001",
        ),
        ({"chosen": {"bytes": png(7), "path": ""}, "rejected": {"bytes": png(7), "path": ""}}, "are the same image"),
        ({"probability": 1.5}, "probability is 1.5, should be from 0 to 1"),
        ({"probability": float("nan")}, "probability is nan"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"rejected": {"bytes": png(7, 16), "path": ""}}, "rejected is 16×8, its row says 8×8"),
        ({"scheduler_config": "[]"}, "scheduler_config is not a JSON object"),
        ({"rejected_scheduler_config": ""}, "rejected_scheduler_config is not a JSON object"),
        ({"prompt": "scene 1"}, "its prompt is in train too"),
        ({"pair_id": "id 1"}, "pair_id id 1 is in "),
    ],
)
def test_a_bad_row_is_one_line_with_its_place(dataset: Path, changes: dict[str, Any], line: str) -> None:
    path = write(dataset / "data/test-00000-of-00001.parquet", [row(3, **changes)])
    (found,) = problems(dataset)
    assert f"{path} row 0" in found
    assert line in found


def test_a_pool_of_two_prompts_is_named(dataset: Path) -> None:
    path = write(dataset / "data/train-00000-of-00001.parquet", [row(k, pool="scene") for k in range(3)])
    found = list(problems(path))
    assert found == [f"{path} row {k}: pool scene has rows of another prompt" for k in (1, 2)]
    write(path, [row(k, pool="scene", prompt="one") for k in range(3)])
    assert list(problems(path)) == []


def test_a_missing_column_and_a_wrong_type_are_named(dataset: Path) -> None:
    path = dataset / "data/test-00000-of-00001.parquet"
    table = pq.read_table(path).drop_columns(["margin"])
    table = table.set_column(table.column_names.index("steps"), "steps", pa.array(["1"]))
    pq.write_table(table, path)
    assert list(problems(dataset)) == [
        f"{path}: column margin is missing, should be double",
        f"{path}: column steps is string, should be int64",
    ]


@pytest.mark.parametrize("size", [0, 500])
def test_a_cut_file_is_named_and_the_card_disagrees(dataset: Path, size: int) -> None:
    path = dataset / "data/test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:size])
    unreadable, counts = problems(dataset)
    assert unreadable.startswith(f"{path} ({size} bytes) cannot be read as Parquet")
    assert "states 1 rows of test, the files hold 0" in counts


def test_a_place_without_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no Parquet file"):
        list(problems(tmp_path))
