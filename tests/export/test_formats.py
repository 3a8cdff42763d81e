"""The folder of formats as a registry, and an export that is there wholly or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datagen import export, store
from datagen.errors import InputError, RunError
from datagen.recipe import load

COUNTING = '''
"""Counts pairs."""

from pathlib import Path

from datagen.export import Finished


def export(finished: Finished, folder: Path) -> None:
    (folder / "count.txt").write_text(f"{finished.shards} {finished.content}")


def stamp(folder: Path) -> str | None:
    file = folder / "count.txt"
    return file.read_text().split()[1] if file.is_file() else None
'''
FAILING = COUNTING.replace("(folder /", "(folder / 'no such folder' /")


@pytest.fixture
def finished(tmp_path: Path) -> export.Finished:
    recipe = load("pick-style", [])
    return export.Finished(store.Run(tmp_path / "run"), recipe, recipe.profile("embedded"), 3, "abc", {}, {}, {})


def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> str:
    """A format that lies elsewhere, by the dotted name that asks for it."""
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "counting.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("mine", "mine.counting"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "mine.counting"


def test_a_module_from_elsewhere_is_a_format(
    finished: export.Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = outside(tmp_path, monkeypatch, COUNTING)
    assert export.write(finished, name, tmp_path / "out") and not export.write(finished, name, tmp_path / "out")
    assert (tmp_path / "out" / "count.txt").read_text() == "3 abc"


def test_an_export_that_fails_leaves_the_one_before(
    finished: export.Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = outside(tmp_path, monkeypatch, FAILING)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "count.txt").write_text("3 before")
    with pytest.raises(RunError, match="cannot write"):
        export.write(finished, name, tmp_path / "out")
    assert (tmp_path / "out" / "count.txt").read_text() == "3 before"
    assert not list(tmp_path.glob(".*"))  # what is half an export may be what fills the disk


def test_a_folder_of_something_else_is_not_overwritten(finished: export.Finished, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    with pytest.raises(RunError, match="holds something that is not a huggingface export"):
        export.write(finished, "huggingface", tmp_path / "thesis")
    assert (tmp_path / "thesis" / "thesis.tex").exists()


@pytest.mark.parametrize("name", ["hugingface", "no.such.module", "..", ""])
def test_an_unknown_format_is_one_line_with_the_nearest(name: str, finished: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no export format is called .*known: .*huggingface"):
        export.write(finished, name, tmp_path / "out")


@pytest.mark.parametrize("harm", ["cut", "deleted", "no digests", "a stranger's digests"])
def test_an_export_that_is_not_as_it_was_written_is_written_again(
    finished: export.Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    name = outside(tmp_path, monkeypatch, COUNTING)
    said, folder = list[str](), tmp_path / "out"
    file, digests = folder / "count.txt", tmp_path / "out.sha256"
    export.write(finished, name, folder)
    match harm:
        case "cut":
            file.write_text("3 ab")
        case "deleted":
            file.unlink()
        case "no digests":
            digests.unlink()
        case "a stranger's digests":
            digests.write_text("mine")
            with pytest.raises(RunError, match="out.sha256, where digests are written, is another file"):
                export.write(finished, name, folder)
            return
    assert export.write(finished, name, folder, said.append) and file.read_text() == "3 abc"
    assert [str(file) in line and "written again" in line for line in said] == [True] * (harm in ("cut", "deleted"))
    assert not export.write(finished, name, folder)


def test_an_export_does_not_take_the_place_of_one_in_another_format(
    finished: export.Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = outside(tmp_path, monkeypatch, COUNTING)
    export.write(finished, name, tmp_path / "out")
    with pytest.raises(RunError, match="holds a mine.counting export, not a huggingface export"):
        export.write(finished, "huggingface", tmp_path / "out")
    finished.run.dataset.mkdir(parents=True)
    for folder in (finished.run.dataset, tmp_path / "out" / ".." / "run" / "dataset"):
        with pytest.raises(RunError, match="holds something that is not a mine.counting export"):
            export.write(finished, name, folder)


def test_the_digests_are_of_a_kind_that_others_read(
    finished: export.Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export.write(finished, outside(tmp_path, monkeypatch, COUNTING), tmp_path / "out")
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "out.sha256"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "out/count.txt: OK\n" and done.returncode == 0
