"""Pictures come in by one door: nothing else opens an image, so nothing else can start a program for its bytes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOOR = ROOT / "datagen/images/decode.py"
ROOMS = ("datagen", "training", "benchmarks", "docs")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
# Other ways to decode an image that a file of ours could take, by the last part of their names.
OTHERS = {"imread", "imopen", "read_image", "decode_image", "load_image", "load_images", "default_loader"}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """The calls of a file with the dotted names of what is called, whatever the file itself calls PIL's module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        alias.asname or alias.name: "Image" if alias.name == "Image" else f"Image.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in ("PIL", "PIL.Image")
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            yield names.get(first, first) + dot + rest, node


CALLS = [(path, name, call) for path in SOURCES for name, call in calls(path)]


def test_only_the_door_opens_images_and_the_peers_benchmark_with_a_list_of_formats() -> None:
    opened = [
        f"{path.relative_to(ROOT)}:{call.lineno} {name}"
        for path, name, call in CALLS
        if name.endswith("Image.open")
        and not (any(k.arg == "formats" for k in call.keywords) and (path == DOOR or "benchmarks" in path.parts))
    ]
    assert not opened


def test_no_other_library_s_door_is_used() -> None:
    used = [
        f"{path.relative_to(ROOT)}:{call.lineno} {name}"
        for path, name, call in CALLS
        if name.rpartition(".")[2] in OTHERS
    ]
    assert not used


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n0 0 9 9 rectfill\nshowpage\n"
PROGRAM = """
import os, subprocess, sys
def spied(*a, **k):
    print("STARTED", a); raise OSError("no")
for module, names in ((subprocess, ("Popen", "run", "call", "check_call", "check_output")), (os, ("system", "popen"))):
    for name in names:
        setattr(module, name, spied)
from datagen.images.decode import Unreadable, decode, size_of
from training.data import pictures
from training.errors import TrainingError
data = sys.stdin.buffer.read()
for look in (decode, size_of, lambda d: pictures.decode(d, "x"), lambda d: pictures.size_of(d, "x")):
    try:
        look(data)
    except (Unreadable, TrainingError) as error:
        print(error)
"""


@pytest.mark.parametrize("data", [EPS, b"\xc5\xd0\xd3\xc6" + (30).to_bytes(4, "little") + bytes(22) + EPS])
def test_bytes_that_would_start_a_program_start_none(data: bytes) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=data, capture_output=True, cwd=ROOT, check=True)
    told = done.stdout.decode().splitlines()
    assert len(told) == 4 and all("PostScript, which is not read" in line for line in told), told
