"""Prompts, captions and principles of an evaluation: a byte-order mark is no part of them, and text alone is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.errors import UserError
from training.evaluation import prompts
from training.evaluation.pictures import captions_of
from training.inference.principles import load_principles
from training.settings import training

BOM = "\ufeff"


def texts(source: Path, *, limit: int = 0) -> list[str]:
    return prompts.load(str(source), (), limit)[0]


@pytest.mark.parametrize("mark", ["", BOM], ids=["plain", "bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_text_file_has_a_prompt_a_line(mark: str, end: str, tmp_path: Path) -> None:
    content = mark + end.join(["a chef, at work", "", "  a smith ", "北京", ""])
    (tmp_path / "prompts.txt").write_bytes(content.encode())
    assert texts(tmp_path / "prompts.txt") == ["a chef, at work", "a smith", "北京"]


@pytest.mark.parametrize("mark", ["", BOM], ids=["plain", "bom"])
@pytest.mark.parametrize("column", ["prompt", "caption"])
def test_a_table_has_them_in_a_column(column: str, mark: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(f'{mark}id,{column}\n1,"a chef, at work"\n2,\n3,a smith\n', encoding="utf-8")
    (tmp_path / "p.tsv").write_text(f"{mark}id\t{column}\n1\ta chef, at work\n3\ta smith\n", encoding="utf-8")
    lines = [json.dumps({column: text}) for text in ("a chef, at work", "a smith")]
    (tmp_path / "p.jsonl").write_text(mark + "\n".join(lines), encoding="utf-8")
    pq.write_table(pa.table({column: [mark + "a chef, at work", None, "", "a smith"]}), tmp_path / "p.PARQUET")
    for name in ("p.csv", "p.tsv", "p.jsonl", "p.PARQUET"):
        assert texts(tmp_path / name) == ["a chef, at work", "a smith"], name


@pytest.mark.parametrize("values", [[["a"], ["b"]], [b"a", b"b"], [1.0, float("nan")], [{"a": 1}], [True]])
def test_what_is_no_text_is_refused(values: list[Any], tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": values}), tmp_path / "p.parquet")
    with pytest.raises(UserError, match=r"p.parquet row 0: prompt must be a text, not "):
        texts(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.txt", b"", "holds no prompts"),
        ("p.txt", b"\xef\xbb\xbf\n \n", "holds no prompts"),
        ("p.json", b'["a chef", "a smith"]', "is no list of prompts"),
        ("p.YAML", b"- a chef\n", "is no list of prompts"),
        ("p.txt", b"caf\xe9\n", "line 1 is not UTF-8"),
        ("p.txt", "a chef".encode("utf-16"), "is UTF-16 text"),
        ("p.csv", b"prompt\na chef, at work\n", "line 2 has 2 cells"),
        ("p.csv", b"text\na\n", "no column 'prompt' or 'caption'"),
        ("p.jsonl", b"[1]\n", "line 1 is no object"),
        ("p.parquet", b"PAR1", "not a readable Parquet file"),
        ("gone.txt", None, "no data at"),
    ],
)
def test_what_holds_no_prompts_is_one_line(name: str, content: bytes | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        texts(tmp_path / name)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_captions_may_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(f"{BOM}file_name,prompt\nc0.png,a\nc1.png,b\n", encoding="utf-8")
    assert captions_of(str(tmp_path / "c.csv")) == {"c0.png": "a", "c1.png": "b"}


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_principles_may_begin_with_a_mark(suffix: str, tmp_path: Path) -> None:
    content = '[[principle]]\nstatement = "x"\n' if suffix == ".toml" else '["x"]'
    path = tmp_path / f"p{suffix}"
    path.write_text(BOM + content, encoding="utf-8")
    assert [principle.statement for principle in load_principles(path)[0]] == ["x"]


def test_settings_may_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(f'{BOM}method = "dpo"\nlr = 2e-4\n', encoding="utf-8")
    settings = training.parse(["--config", str(tmp_path / "own.toml"), "--data", "x", "--out", "y"])
    assert (settings.run.method, settings.optimizer.lr) == ("dpo", 2e-4)
