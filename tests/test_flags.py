"""No program guesses what a flag means: a prefix of one is refused, and so is a flag that nobody reads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.support.rooms import ROOMS, benchmarks

ROOT = Path(__file__).parents[1]
SOURCES = [
    path for room in ("benchmarks", "datagen", "docs", "training") for path in sorted((ROOT / room).rglob("*.py"))
]
# The record of a figure keeps its command line; names of benchmarks come before their flags; a child has one caller.
READ_THE_LINE = {"benchmarks/support/results.py", "benchmarks/__main__.py", "benchmarks/support/arms.py"}


def calls(path: Path, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name:
            yield node


def test_every_argument_parser_refuses_abbreviations() -> None:
    for path in SOURCES:
        for call in calls(path, "ArgumentParser"):
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert given.get("allow_abbrev") == "False", f"{path}:{call.lineno}"


def test_no_program_reads_its_line_past_a_parser() -> None:
    for path in SOURCES:
        name = path.relative_to(ROOT).as_posix()
        if "sys.argv[" in path.read_text(encoding="utf-8") and name not in READ_THE_LINE:
            assert name == "training/settings/command_line.py", f"{name} reads sys.argv: give it a parser"


def test_every_benchmark_has_a_parser() -> None:
    for room in ROOMS:
        for name in benchmarks(room):
            path = ROOT / "benchmarks" / room / f"{name}.py"
            # `arguments` is the parser that trainings share.
            assert [*calls(path, "ArgumentParser"), *calls(path, "arguments")], f"{name} takes any flag"


@pytest.mark.parametrize(
    "line",
    [
        ["training/run.py", "--conf", "mapo-sdxl-lora"],
        ["training/run.py", "--data", "x", "--out", "y", "--method", "dpo", "--lora", "4"],
        ["training/evaluate.py", "--conf", "x"],
        ["training/sample.py", "--adapt", "x"],
        ["training/export.py", "--adapt", "x"],
        ["-m", "datagen", "--hel"],
        ["-m", "datagen", "run", "pick-style", "--out", "x", "--prof", "sd15"],
        ["-m", "datagen", "judge", "x", "--judge", "clip", "--out", "y"],
        ["docs/generate.py", "--chec"],
        ["-m", "benchmarks", "floor", "--hel"],
        ["-m", "benchmarks.support.page", "--chec"],
    ],
    ids=" ".join,
)
def test_a_prefix_of_a_flag_is_refused(line: list[str], tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (ROOT / "docs").iterdir()}
    done = subprocess.run([sys.executable, *line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "--" in done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in (ROOT / "docs").iterdir()}
