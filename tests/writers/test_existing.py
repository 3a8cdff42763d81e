"""Existing prompts are read from every kind of file alike; what cannot be read is one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.errors import InputError
from datagen.writers import existing

TEXTS = ["a cat on a roof", "a tram in the rain, at night", 'a sign that says "open"']


def csv(path: Path) -> None:
    path.write_text(
        "\ufeffid,prompt\n" + "".join(f'{k},"{t.replace(chr(34), chr(34) * 2)}"\n' for k, t in enumerate(TEXTS))
    )


def tsv(path: Path) -> None:
    path.write_text("prompt\tid\n" + "".join('"{}"\t1\n'.format(t.replace('"', '""')) for t in TEXTS))


def jsonl(path: Path) -> None:
    path.write_text("\n".join(json.dumps({"prompt": text}) for text in TEXTS) + "\n\n")


def parquet(path: Path) -> None:
    pq.write_table(pa.table({"prompt": [*TEXTS, None], "id": [1, 2, 3, 4]}), path)


def txt(path: Path) -> None:
    path.write_text("\n".join([*TEXTS, "", TEXTS[0]]) + "\n")


@pytest.mark.parametrize("write", [csv, tsv, jsonl, parquet, txt])
def test_every_kind_of_file_gives_the_same_prompts_in_the_same_order(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / f"prompts.{write.__name__}"
    write(path)
    found = list(existing.prompts(str(path), "prompt", seed=3).texts)
    assert sorted(found) == sorted(TEXTS)
    txt(tmp_path / "other.txt")
    assert found == list(existing.prompts(str(tmp_path / "other.txt"), "prompt", seed=3).texts)


def test_a_data_set_on_disk_is_a_source_too(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(str(tmp_path / "set"))
    assert sorted(existing.prompts(str(tmp_path / "set"), "text", 0).texts) == sorted(TEXTS)


def test_the_order_depends_on_the_seed_and_not_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    many = [f"scene number {k}" for k in range(50)]
    path.write_text("\n".join(many))
    first = list(existing.prompts(str(path), "prompt", 0).texts)
    path.write_text("\n".join(reversed(many[:40])))
    fewer = list(existing.prompts(str(path), "prompt", 0).texts)
    assert fewer == [text for text in first if text in fewer]
    assert list(existing.prompts(str(path), "prompt", 1).texts) != fewer


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("none.csv", None, "there is no file"),
        ("empty.txt", b"\n\n", "has no texts"),
        ("columns.csv", b"id,promt\n1,x\n", "has no column 'prompt': set prompts.column; did you mean 'promt'"),
        ("other.jsonl", b'{"text": "x"}\n', "has no column 'prompt'"),
        ("broken.jsonl", b'{"prompt": "x"}\n{"pro', "line 2 is not JSON"),
        ("broken.parquet", b"PAR1 no", "not a readable Parquet file"),
        ("bytes.txt", b"\xff\xfe\x00\x01", "is UTF-16 text: save it as UTF-8"),
        ("latin.txt", b"a chef\na caf\xe9\n", "line 2 is not UTF-8 text (byte 0xe9)"),
        ("zero.txt", b"a chef\na\0b\n", "line 2 holds NUL bytes"),
        ("numbers.jsonl", b'{"prompt": 3}\n', "line 1, column 'prompt': the cell holds a number, not text"),
        (
            "nan.jsonl",
            b'{"prompt": "x"}\n\n{"prompt": NaN}\n',
            "line 3, column 'prompt': the cell holds NaN",
        ),
        ("truth.jsonl", b'{"prompt": true}\n', "the cell holds true or false, not text"),
        ("lists.jsonl", b'{"prompt": ["x"]}\n', "the cell holds a list, not text"),
        ("list.jsonl", b'["x"]\n', "the cell holds a list, not text"),
        ("half.jsonl", b'{"prompt": "a \\ud83d"}\n', "half of a character"),
        ("twice.jsonl", b'{"prompt": "x", "prompt": "y"}\n', "line 1 is not JSON: it has two values for 'prompt'"),
        ("commas.csv", b"prompt\na chef in violet, standing in ruins\n", "line 2 has 2 cells, its header has 1"),
        ("quote.csv", b'prompt,id\n"a chef,1\na guard,2\n', "line 2 cannot be read: a quote that is not closed"),
        ("semicolons.csv", b"id;prompt\n1;x;y\n", "line 2 has 3 cells, its header has 2"),
        ("again.csv", b"id,prompt\n1,x\nid,prompt\n2,y\n", "line 3 repeats the header"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_where(
    name: str, content: bytes | None, line: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        existing.prompts(str(tmp_path / name), "prompt", 0)
    assert line in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("column", [[["a", "b"]], [{"a": 1}], [b"x"], [3], [1.5], [True], [None]])
def test_a_column_that_is_no_text_is_refused_by_its_type(column: list[object], tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": column}), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="column 'prompt' is .*, not text"):
        existing.prompts(str(tmp_path / "p.parquet"), "prompt", 0)


def test_what_is_left_out_of_a_source_is_counted(tmp_path: Path) -> None:
    lines = [{"prompt": "a cat"}, {"prompt": " "}, {"prompt": None}, {"id": 1}, {"prompt": "a  cat"}, "a dog"]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = existing.prompts(str(tmp_path / "p.jsonl"), "prompt", 0)
    assert set(found.texts) == {"a cat", "a dog"}
    assert found.drops == {"empty in the source": 3, "repeated in the source": 1}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "txt"])
def test_byte_order_marks_are_no_part_of_a_prompt(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"prompts.{suffix}"
    {"csv": csv, "tsv": tsv, "jsonl": jsonl, "txt": txt}[suffix](path)
    path.write_text("\ufeff\ufeff" + path.read_text(encoding="utf-8-sig"), encoding="utf-8")
    assert set(existing.prompts(str(path), "prompt", 0).texts) == set(TEXTS)


def test_files_that_were_joined_have_no_marks_within(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("\ufeffa cat\n\ufeffa dog\n", encoding="utf-8")
    assert set(existing.prompts(str(tmp_path / "p.txt"), "prompt", 0).texts) == {"a cat", "a dog"}


def test_a_column_of_images_is_refused_and_never_decoded(tmp_path: Path) -> None:
    import datasets

    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": [{"bytes": eps, "path": None}]}, features).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(InputError, match="column 'image' is struct.*, not text"):
        existing.prompts(str(tmp_path / "set"), "image", 0)
