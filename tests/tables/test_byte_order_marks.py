"""A byte-order mark is no part of anything that is read: not of a first prompt, and no error in a TOML file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from datagen import models, recipe
from datagen.writers import taxonomy, templates
from training.settings import reading
from training.settings.training import PROGRAM

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for room in ("datagen", "training") for path in (ROOT / room).rglob("*.py"))


def encodings_of_reads(path: Path) -> Iterator[tuple[int, object]]:
    """Line and encoding (None: the system's) of each call that reads a text file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8-sig"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        encoding = ast.literal_eval(given["encoding"]) if "encoding" in given else None
        modes = [a.value for a in [*node.args, *given.values()] if isinstance(a, ast.Constant)]
        writes = any(isinstance(mode, str) and mode in ("w", "a", "x", "wt", "at", "xt") for mode in modes)
        if name == "read_text" or (name == "open" and encoding is not None and not writes):
            yield node.lineno, encoding


def test_every_text_file_is_read_without_its_byte_order_mark() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} reads as {encoding}"
        for path in SOURCES
        for line, encoding in encodings_of_reads(path)
        if encoding not in ("utf-8-sig", "ascii")
    ]
    assert not wrong


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """What a researcher edits, each file saved by an editor that writes the mark."""
    for source in [*(ROOT / "prompts").rglob("*.toml"), *(ROOT / "prompts").rglob("*.md")]:
        copy = tmp_path / "prompts" / source.relative_to(ROOT / "prompts")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("\ufeff" + source.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path / "prompts"


def test_what_a_researcher_edits_is_the_same_with_a_mark(marked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def everything() -> list[object]:
        return [
            recipe.load(str(recipe.PROMPTS / "recipes/pick-style.toml"), []),
            taxonomy.taxonomy("styles"),
            taxonomy.grammar("world-styles"),
            templates.load(["context", "neutral-avoid"]),
            models.read_table(recipe.PROMPTS / "models.toml"),
        ]

    before = everything()
    for module in (recipe, taxonomy, templates):
        monkeypatch.setattr(module, "PROMPTS", marked)
    assert everything() == before


def test_a_config_of_training_is_the_same_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('\ufeffmethod = "mapo"\nsteps = 7\n', encoding="utf-8")
    found = reading.from_file(str(tmp_path / "a.toml"), PROGRAM.options)
    assert {key: given.value for key, given in found.items()} == {"run.method": "mapo", "optimizer.steps": 7}
