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
    found = existing.prompts(str(path), "prompt", seed=3)
    assert sorted(found) == sorted(TEXTS)
    txt(tmp_path / "other.txt")
    assert found == existing.prompts(str(tmp_path / "other.txt"), "prompt", seed=3)


def test_a_data_set_on_disk_is_a_source_too(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(str(tmp_path / "set"))
    assert sorted(existing.prompts(str(tmp_path / "set"), "text", 0)) == sorted(TEXTS)


def test_the_order_depends_on_the_seed_and_not_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    many = [f"scene number {k}" for k in range(50)]
    path.write_text("\n".join(many))
    first = existing.prompts(str(path), "prompt", 0)
    path.write_text("\n".join(reversed(many[:40])))
    fewer = existing.prompts(str(path), "prompt", 0)
    assert fewer == [text for text in first if text in fewer]
    assert existing.prompts(str(path), "prompt", 1) != fewer


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("none.csv", None, "cannot be read: No such file or directory"),
        ("empty.txt", b"\n\n", "has no texts"),
        ("columns.csv", b"id,promt\n1,x\n", "has no column 'prompt': set prompts.column; did you mean 'promt'"),
        ("other.jsonl", b'{"text": "x"}\n', "has no column 'prompt'"),
        ("broken.jsonl", b'{"prompt": "x"}\n{"pro', "line 2 is not JSON"),
        ("broken.parquet", b"PAR1 no", "cannot be read"),
        ("bytes.txt", b"\xff\xfe\x00\x01", "cannot be read"),
        ("numbers.jsonl", b'{"prompt": 3}\n', "has no texts"),
    ],
)
def test_what_cannot_be_read_is_one_line(name: str, content: bytes | None, line: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        existing.prompts(str(tmp_path / name), "prompt", 0)
    assert line in str(caught.value) and "\n" not in str(caught.value)
