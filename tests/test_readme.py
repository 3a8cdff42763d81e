"""The README holds what it says: short, and every command and snippet of it runs, in order, in a copy of the clone.

Commands run as they are printed, with what ADDED appends: fewer prompts and steps, the small model in the place of
SDXL, and the mock in the place of OpenAI's server. `make dataset` and `make test` would set up an environment first:
what `make -n` says they would run then is run instead, in the environment of the tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.support import results

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
# Code in a line of text that is a command.
INLINE = [code for code in re.findall(r"`([^`\n]+)`", README) if re.match(r"(make|pip|python|datagen) ", code)]

SMALL = "--set profiles.embedded.steps=2 --set labels.min_match=0 --set labels.min_probability=0"
# A command that begins so gets so much more.
ADDED = {
    "make dataset": f"--limit 8 {SMALL}",
    "make test": "--collect-only -q tests/safety",
    "pip install .": "--dry-run --quiet --no-deps --no-build-isolation",
    "datagen run pick-safety": f"--profile embedded --set profiles.embedded.writer=modifier --limit 2 {SMALL}",
    "python training/run.py": "--steps 2",
    "python training/evaluate.py": "--limit 2 --steps 2 --features none --clip none --judge none",
}
PROGRAMS = {"python": "", "datagen": "-m datagen", "pip": "-m pip"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with all that a clone has, and the programs of its .venv."""
    for path in ROOT.iterdir():
        if path.name not in {"out", ".venv", ".git"}:
            (tmp_path / path.name).symlink_to(path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, module in PROGRAMS.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (programs / name).chmod(0o755)
    return tmp_path


def run(command: str, clone: Path, **variables: str) -> str:
    """What a shell command prints, on both streams; it must succeed."""
    paths = {"PATH": f"{clone / '.venv' / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    homes = {"HF_HOME": str(clone / "hub"), "DATAGEN_CACHE": str(clone / "replies"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        ["sh", "-ec", command], cwd=clone, env={**os.environ, **paths, **homes, **variables}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def runnable(line: str, clone: Path) -> str:
    """A line of the README as it is run here."""
    command = re.sub(r"\s+#.*", "", line)
    added = next((more for start, more in ADDED.items() if command.startswith(start)), "")
    if command in ("make dataset", "make test"):
        command = run(f"make -n --no-print-directory {command.removeprefix('make ')}", clone).splitlines()[-1]
        assert command.startswith(".venv/bin/")
    for option in re.findall(r"--(?!set)\S+", added):  # given once: what is added here counts
        command = re.sub(rf" {option} \S+", "", command)
    return f"{command} {added}"


def masked(line: str) -> str:
    """A line of output without what depends on the machine's speed."""
    return re.sub(r"[0-9.]+( s each|/s)|[0-9]+:[0-9]{2}", "#", line)


def test_it_is_a_page() -> None:
    assert len(README.encode()) <= 8000


def figure(name: str, what: str) -> float:
    """A figure of a benchmark, as recorded."""
    return next(row.figure for row in results.read(results.RESULTS / f"{name}.json") if row.what == what)


def test_its_figures_are_those_of_the_benchmarks() -> None:
    before, after = (
        figure("livo_toxicity", f"splatter nobody asked for, {w}") for w in ("base model", "after training")
    )
    style = [figure("mapo_style", f"target style on neutral prompts, {w}") for w in ("base model", "after training")]
    speed = [
        figure("trainer_speed", f"{case}: speed over the peer's, warm cache")
        for case in ("mapo", "livo", "dpo-lora-sd15", "dpo-lora-sdxl")
    ]
    assert f"that can be wrong | {figure('label_truth', 'pick-style: labels true'):g} % |" in README
    assert f"{before:g} → {after:g} % (−{100 * (1 - after / before):.0f} %)" in README
    assert f"{style[0]:g} → {style[1]:g} %" in README
    assert f"×{min(speed):.1f} to ×{max(speed):.1f}" in README
    kinds = ("local", "shares", "ray")
    assert f"`kill -9` at {sum(figure('kills', f'{kind}: kills at seeded moments') for kind in kinds):g} " in README
    assert not any(figure("kills", f"{kind}: runs whose dataset differs from an undisturbed one's") for kind in kinds)
    assert f"{figure('fresh_clone', 'pairs of the dataset'):g} pairs" in README
    assert f"{figure('fresh_clone', 'make dataset') / 60:.0f} minutes" in README


def test_each_block_is_of_a_kind_that_is_tested() -> None:
    kinds = [kind for kind, _ in BLOCKS]
    assert kinds.count("sh") >= 4 and kinds.count("python") >= 2 and kinds.count("console") == 1
    assert set(kinds) <= {"sh", "python", "console", ""}
    assert kinds.count("") == 1  # the map


def test_the_map_names_rooms_that_exist() -> None:
    (drawn,) = (text for kind, text in BLOCKS if kind == "")
    package = ROOT
    for line in drawn.splitlines():
        package = package if line.startswith(" ") else ROOT / line.split("/")[0]
        rooms = re.findall(r"([a-z]+)/", line.split("(")[0] if line.startswith(" ") else line.partition("/")[2])
        for room in rooms:
            assert (package / room).is_dir() or (ROOT / room).is_dir(), f"{package.name}/{room}"


def test_each_link_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"


def test_what_a_column_is_called_in_the_docs() -> None:
    from datagen.export.card import columns

    (table,) = re.findall(r"^\| columns \|.*?\n\n", (ROOT / "docs/dataset.md").read_text(), re.DOTALL | re.MULTILINE)
    named = {name for row in table.strip().splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named <= columns.COLUMNS.keys() and {"prompt", "chosen", "rejected", "probability"} <= named


@pytest.mark.parametrize("command", INLINE)
def test_a_command_within_a_line_runs(command: str, clone: Path) -> None:
    run(runnable(command, clone), clone)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_block_runs_in_order(clone: Path) -> None:
    (clone / "out").mkdir()
    printed = ""
    for kind, text in BLOCKS:
        if kind == "sh":
            lines = [runnable(line, clone) for line in text.splitlines()]
            printed = run("\n".join(lines), clone, DATAGEN_LLM_BASE_URL="mock:")
        elif kind == "python":
            (clone / "snippet.py").write_text(text, encoding="utf-8")
            run("python snippet.py", clone)
        elif kind == "console":  # what the block before it prints, but for the seconds
            output = iter(map(masked, printed.splitlines()))
            for line in map(masked, text.splitlines()[1:]):
                assert line in output, f"{line!r} does not come, or not in this order:\n{printed}"
