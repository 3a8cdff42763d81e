"""`validate`: a sound dataset has no problems; each kind of damage is one line."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen.commands import validate
from datagen.commands.validate import problems
from datagen.errors import InputError
from datagen.export.card import columns as card_columns


def png(shade: int, width: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, 8), (shade, 0, 0)).save(file, "png")
    return file.getvalue()


def tiff(encoded: bytes) -> bytes:
    """The same pixels in other bytes."""
    file = io.BytesIO()
    Image.open(io.BytesIO(encoded), formats=["PNG"]).save(file, "tiff")
    return file.getvalue()


def bomb(side: int) -> bytes:
    """A PNG whose header claims side × side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def row(number: int, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in card_columns.schema():
        values[field.name] = "x" if pa.types.is_string(field.type) else 1
    sides = {
        side: {"bytes": png(2 * number + k), "path": f"{number}{k}.png"}
        for k, side in enumerate(("chosen", "rejected"))
    }
    values |= {"width": 8, "height": 8, "scheduler_config": "{}", "rejected_scheduler_config": "{}", "scores": "{}"}
    values["pool"] = ""
    return values | sides | {"pair_id": f"id {number}", "prompt": f"scene {number}", "probability": 0.9} | changes


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=card_columns.schema()), path)
    return path


def card(**rows: int) -> str:
    splits = "".join(f"  - name: {name}\n    num_examples: {count}\n" for name, count in rows.items())
    return f"---\nlicense: mit\ndataset_info:\n  splits:\n{splits}---\n\n# Pairs\n"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A sound dataset of three train rows and one test row."""
    write(tmp_path / "dataset/data/train-00000-of-00001.parquet", [row(0), row(1), row(2)])
    write(tmp_path / "dataset/data/test-00000-of-00001.parquet", [row(3)])
    (tmp_path / "dataset/README.md").write_text(card(train=3, test=1))
    return tmp_path / "dataset"


def test_a_sound_dataset_has_no_problems_whichever_way_it_is_given(dataset: Path) -> None:
    for given in (dataset, dataset / "data", dataset / "data/train-00000-of-00001.parquet"):
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
        ({"prompt": " \t\n"}, "the prompt is empty"),
        ({"prompt": "\u200b\u2060"}, "the prompt is empty"),
        ({"chosen_prompt": ""}, "chosen_prompt is empty"),
        ({"pair_id": ""}, "pair_id is empty"),
        ({"principle": "\u200b"}, "principle is empty"),
        ({"rejected_prompt": "a\x00b"}, "rejected_prompt holds control characters"),
        ({"chosen_negative_prompt": "a\x1b[31mb"}, "chosen_negative_prompt holds control characters"),
        ({"scores": ""}, "scores is not a JSON object"),
        ({"scores": "[1]"}, "scores is not a JSON object"),
        ({"steps": -5}, "steps is -5, should be 1 or more"),
        ({"prompt": "  Scene\t1 "}, "its prompt is in train too"),
        ({"pair_id": "id 1"}, "pair_id id 1 is in "),
        ({"margin": float("inf")}, "margin is inf"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"scores": '{"clip": {"chosen": {"match": [0.5, NaN]}}}'}, "scores hold a value that is not finite"),
        ({"scheduler_config": "[" * 100_000}, "scheduler_config is not a JSON object"),
        ({"chosen": {"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "path": ""}}, "does not decode"),
        ({"chosen": {"bytes": tiff(png(7)), "path": ""}}, "chosen and rejected are the same image"),
        ({"chosen": {"bytes": png(4), "path": ""}}, "its chosen image is in train too"),
        ({"rejected": {"bytes": png(0), "path": ""}}, "its rejected image is in train too"),
        ({"chosen": None}, "chosen has no image bytes"),
        ({"rejected": {"bytes": None, "path": "x.png"}}, "rejected has no image bytes"),
        ({"chosen_prompt": "a nude child"}, "its text is refused"),
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
    table = pq.read_table(path).drop_columns(["margin", "role"])
    table = table.set_column(table.column_names.index("steps"), "steps", pa.array(["1"]))
    pq.write_table(table, path)
    assert list(problems(dataset)) == [
        f"{path}: columns are missing: margin, role",
        f"{path}: column steps is string, should be int64",
    ]


WRONG = [
    pa.array([["a", "list"]]), pa.array([{"a": "struct"}]), pa.array([b"bytes"]), pa.array([1.5]), pa.array([True]),
    pa.array([None]), pa.array(["large"], pa.large_string()), pa.array(["words"]).dictionary_encode(),
]  # fmt: skip


@pytest.mark.parametrize("name", card_columns.schema().names)
def test_a_column_of_any_other_type_is_named_and_the_rest_is_looked_at(dataset: Path, name: str) -> None:
    path = dataset / "data/test-00000-of-00001.parquet"
    whole = pq.read_table(path)
    for wrong in WRONG:
        if wrong.type == whole.schema.field(name).type:
            continue
        pq.write_table(whole.set_column(whole.column_names.index(name), name, wrong), path)
        given = pq.read_schema(path).field(name).type
        assert list(problems(dataset)) == [
            f"{path}: column {name} is {given}, should be {whole.schema.field(name).type}"
        ]


@pytest.mark.parametrize("name", [n for n in card_columns.schema().names if n not in ("chosen", "rejected", "pool")])
def test_a_null_is_named_in_any_column(dataset: Path, name: str) -> None:
    path = write(dataset / "data/test-00000-of-00001.parquet", [row(3, **{name: None})])
    (found,) = problems(dataset)
    assert found.startswith(str(path)) and name in found


def test_a_column_that_is_there_twice_is_named(dataset: Path) -> None:
    path = dataset / "data/test-00000-of-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("prompt", table["prompt"]), path)
    assert list(problems(dataset)) == [f"{path}: column prompt is there twice, should be string"]


def test_text_that_is_not_utf_8_is_named(dataset: Path) -> None:
    path = dataset / "data/test-00000-of-00001.parquet"
    table = pq.read_table(path)
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\3\0\0\0"), pa.py_buffer(b"caf\xe9"[1:])]
    )
    pq.write_table(table.set_column(table.column_names.index("prompt"), "prompt", broken), path)
    assert list(problems(dataset)) == [f"{path} rows 0 to 0: column prompt holds text that is not UTF-8"]


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"info": []}',
        b'{"info": {"features": null}}',
        b'{"info": {"features": {"chosen": {"dtype": "binary", "_type": "Value"}, "rejected": 3}}}',
    ],
)
def test_images_that_nobody_would_see_as_images_are_named(dataset: Path, metadata: bytes | None) -> None:
    path = dataset / "data/test-00000-of-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(None if metadata is None else {"huggingface": metadata}), path)
    assert list(problems(dataset)) == [
        f"{path}: column {side} is not marked as images: `datasets` and the hub's viewer show its bytes"
        for side in ("chosen", "rejected")
    ]


def test_images_that_may_not_be_null_are_no_images_for_datasets(dataset: Path) -> None:
    path = dataset / "data/test-00000-of-00001.parquet"
    table = pq.read_table(path)
    fields = [field.with_nullable(field.name != "chosen") for field in table.schema]
    pq.write_table(table.cast(pa.schema(fields, metadata=table.schema.metadata)), path)
    assert list(problems(dataset)) == [
        f"{path}: column chosen is not marked as images: `datasets` and the hub's viewer show its bytes"
    ]


@pytest.mark.parametrize(
    ("one", "two", "told"),
    [
        ("data/train.parquet", "data/test.parquet", "test.parquet row 0: its prompt is in train too"),
        ("train/0000.parquet", "test/0000.parquet", "its prompt is in train too"),
        ("data/train-00000-of-00001.parquet", "data/dev.parquet", "dev.parquet row 0: its prompt is in train too"),
        ("pairs_train.PARQUET", "pairs_val.parquet", "its prompt is in train too"),
        ("validation.parquet", "test.parquet", "validation.parquet row 1: its prompt is in test too"),
        ("data/seen-00000-of-00001.parquet", "data/unseen-00000-of-00001.parquet", "its prompt is in seen too"),
        ("pairs.parquet", "eval/pairs.parquet", "its prompt is in train too"),
        ("default/training 1.parquet", "default/testing 1.parquet", "its prompt is in train too"),
    ],
)
def test_a_leak_is_named_however_the_splits_are(tmp_path: Path, one: str, two: str, told: str) -> None:
    write(tmp_path / one, [row(0), row(1)])
    write(tmp_path / two, [row(2, prompt="scene 1")])
    (found,) = problems(tmp_path)
    assert told in found
    write(tmp_path / two, [row(2)])
    assert list(problems(tmp_path)) == []


def test_the_card_says_which_files_are_which_split(tmp_path: Path) -> None:
    write(tmp_path / "one.parquet", [row(0)])
    write(tmp_path / "two.parquet", [row(1, prompt="scene 0")])
    files = "configs:\n- data_files:\n  - split: train\n    path: one.*\n  - {split: held-out, path: [two.parquet]}\n"
    (tmp_path / "README.md").write_text(f"---\n{files}---\n")
    (found,) = problems(tmp_path)
    assert "two.parquet row 0: its prompt is in train too" in found
    (tmp_path / "two.parquet").rename(tmp_path / "three.parquet")
    found = "\n".join(problems(tmp_path))
    assert "names two.parquet as the files of held-out, and there are none" in found
    assert "three.parquet is in no split that" in found


def test_row_groups_that_the_viewer_refuses_are_named(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate.dataset, "VIEWER_BYTES", 2_000)
    path = dataset / "data/train-00000-of-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table] * 3), path, row_group_size=3, use_dictionary=False)
    found = [problem for problem in problems(path) if "row group" in problem]
    assert [problem.partition(": ")[2][:13] for problem in found] == [f"row group {n} i" for n in range(3)]


def test_files_that_their_numbers_say_are_missing_are_named(dataset: Path) -> None:
    (dataset / "data/train-00000-of-00001.parquet").rename(dataset / "data/train-00001-of-00003.parquet")
    assert list(problems(dataset)) == [f"{dataset}/data/train-{n:05d}-of-00003.parquet is missing" for n in (0, 2)]


def test_a_dataset_without_rows_and_a_link_to_nowhere_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet", [])
    (tmp_path / "test.parquet").symlink_to(tmp_path / "gone")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/other.parquet").touch()
    assert list(problems(tmp_path)) == [
        f"{tmp_path / 'test.parquet'} leads to a file that is not there",
        f"{tmp_path} holds no rows",
    ]
    assert list(problems(path)) == [f"{path} holds no rows"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"---\nlicense: mit\n---\ncaf\xe9", "is not UTF-8 text (byte 24)"),
        (b"---\na: b: c\n---\n", "its YAML cannot be read at its line 2: mapping values are not allowed here"),
        (b"---\na: [\n---\n", "its YAML cannot be read"),
        (b"---\na: 2024-13-45\n---\n", "its YAML cannot be read"),
        (b"---\n- a\n- b\n---\n", "its YAML is a list, should be a table"),
        (b"---\nhello\n---\n", "its YAML is a str, should be a table"),
        (b"---\na: " + b"[" * 1500 + b"\n---\n", "its YAML cannot be read"),
        (b"---\n? [a]\n: b\n? {c: d}\n: e\n---\n", "its YAML cannot be read"),
        (b"---\na: !!python/object:os.system x\n---\n", "its YAML cannot be read"),
        (b"---\ndataset_info: none\n---\n", "dataset_info is a str, should be a table"),
        (b"---\ndataset_info:\n  splits: 4\n---\n", "dataset_info.splits is a int, should be a list of tables"),
        (b"---\ndataset_info:\n  splits:\n  - {name: train, num_examples: 3}\n---\n", "does not state test"),
        (b"---\ndataset_info:\n  splits:\n  - {name: train, num_examples: '3'}\n---\n", "states 3 rows of train"),
        (b"---\ndataset_info:\n  splits:\n  - {name: [1], num_examples: 3}\n---\n", "states 3 rows of a list"),
        (b"---\ndataset_info:\n  features:\n  - {name: chosen, dtype: binary}\n---\n", "says that chosen is binary"),
        (
            b"---\ndataset_info:\n  features:\n  - {name: rejected}\n---\n",
            "says that rejected is None",
        ),
        (card(train=3, test=2).encode(), "states 2 rows of test, the files hold 1"),
        (card(train=3, test=2).replace("\n", "\r\n").encode("utf-8-sig"), "states 2 rows of test"),
    ],
)
def test_a_card_that_is_wrong_is_one_line(dataset: Path, text: bytes, told: str) -> None:
    (dataset / "README.md").write_bytes(text)
    found = [problem for problem in problems(dataset) if "README.md" in problem]
    assert found and told in found[0]
    assert all("\n" not in problem for problem in found)


@pytest.mark.parametrize(
    "text",
    [b"", b"# Pairs\n", b"---\n---\n", b"---\n", b"---\nlicense: mit\n---", b"---\ndataset_info:\nconfigs: 3\n---\n"],
)
def test_a_card_that_states_nothing_is_no_problem(dataset: Path, text: bytes) -> None:
    (dataset / "README.md").write_bytes(text)
    assert list(problems(dataset)) == []
    (dataset / "README.md").unlink()
    assert list(problems(dataset)) == []


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


def test_a_linked_folder_is_a_part_of_the_dataset(dataset: Path, tmp_path: Path) -> None:
    (dataset / "data").rename(tmp_path / "elsewhere")
    (dataset / "data").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/loop").symlink_to(dataset)
    assert list(problems(dataset)) == []
