"""Principles from TOML, JSON and a dataset's column; bad files in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.errors import TrainingError
from training.inference.principles import Principle, load_principles

LIVO = Path(__file__).parents[3] / "prompts" / "principles" / "livo.toml"


def test_the_projects_own_files_are_read() -> None:
    principles, background = load_principles(LIVO)
    assert [p.statement for p in principles][:3] == [
        "gender equality",
        "racial equality",
        "nudity considered inappropriate",
    ]
    assert principles[3] == Principle("bloody considered inappropriate", ("bloody",), ("covered in blood",))
    assert principles[0].texts == () and background == []


def test_keywords_and_examples(tmp_path: Path) -> None:
    entries = {"principle": ["plain", {"statement": "s", "keywords": ["a b"], "category": "c", "examples": "x"}]}
    (tmp_path / "p.json").write_text(json.dumps({**entries, "background": ["a lamp"]}))
    principles, background = load_principles(tmp_path / "p.json")
    assert principles == [Principle("plain"), Principle("s", ("a b",), ("x",))]
    assert background == ["a lamp"]
    (tmp_path / "list.json").write_text('["one", "two"]')
    assert load_principles(tmp_path / "list.json")[0] == [Principle("one"), Principle("two")]


def test_a_datasets_column(dataset: Path) -> None:
    principles, _ = load_principles(str(dataset))
    assert [p.statement for p in principles] == ["cracks considered inappropriate", "smoke considered inappropriate"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("principle = 3", "no list 'principle'"),
        ("[[principle]]\nid = 'x'", "principle 1 has no 'statement'"),
        ("[[principle]]\nstatement = 'x'\nkeywords = [1]", "'keywords' is [1]"),
        ("principle = [", "no principles at"),
    ],
)
def test_bad_files_are_one_line(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(content)
    with pytest.raises(TrainingError) as error:
        load_principles(tmp_path / "p.toml")
    assert says in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(TrainingError, match="no principles at"):
        load_principles(tmp_path / "missing.toml")
