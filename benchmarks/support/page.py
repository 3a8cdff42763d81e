"""`python -m benchmarks.support.page` makes docs/benchmarks.md of benchmarks/results/*.json; `--check` only compares.

A section a room, a table a benchmark, in the order of the files; each figure in a cell of its own. Where a benchmark's
rows were not all measured by one command, each says by its number which one it is from.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.support import results
from benchmarks.support.results import Row
from benchmarks.support.rooms import HERE, ROOMS, benchmarks

PAGE = HERE.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

<!-- Made by `python -m benchmarks.support.page` from benchmarks/results/*.json: run a benchmark, then that. -->

`python -m benchmarks NAME` runs one of these again, prints its figures and writes them to
`benchmarks/results/NAME.json`. Goals were set before anything was measured; a goal that was missed stays here, marked
as **missed**. Where nothing else is said, a figure is one run with one seed on a machine that did other work as well;
trainings and evaluations vary with the seed. A `+` after a commit means that it had uncommitted changes."""
TITLES = {
    "world": """The embedded world

Labels, and what training on them does, as the attribute reader of the embedded world sees it. The labels come from the
embedded jury, none of whose judges has a part in that truth. An embedded image does not depend on the number of
workers or threads; a dataset is byte-identical on one machine with one number of workers (scores may differ in their
last digits between two).""",
    "data": """Building a dataset""",
    "labels": """Labels

Simulated juries, each beside the Bayes rule that knows all that is true of it but the pairs themselves.""",
    "llm": """The writer and its LLM client

Against servers on loopback that misbehave on purpose.""",
    "training": """The trainer

Speed and memory are compared with the peers' steps, in their scripts' own order of operations (images decoded, VAE and
text encoders run, at each step; checkpointing on), with plain AdamW and float32 on both sides: tiny random models of
the true shapes, 128 px from 512 px files, 8 pairs, one thread, by turns in one process, CPU time.""",
}
VERDICT = {True: "reached", False: "**missed**", None: ""}


def page(folder: Path = results.RESULTS) -> str:
    """The page's text; ValueError if a file of results belongs to no benchmark."""
    parts, files = [HEAD], {path.stem: path for path in sorted(folder.glob("*.json"))}
    for room in ROOMS:
        parts.append(f"## {TITLES[room]}")
        for name, source in benchmarks(room).items():
            rows = results.read(files.pop(name)) if name in files else []
            parts.append(f"### {name}\n\n{purpose(source)}\n\n{table(rows) if rows else 'No figures yet.'}")
    if files:
        raise ValueError(f"no benchmark is called {', '.join(files)}: delete its file in {folder.name}/")
    return "\n\n".join(parts) + "\n"


def purpose(source: Path) -> str:
    """The first line of a benchmark's docstring."""
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))
    assert text, f"{source} has no docstring"
    return text.splitlines()[0]


def table(rows: Sequence[Row]) -> str:
    """The rows with one figure each, then the commands that they were measured by."""
    runs = list(dict.fromkeys(row.provenance for row in rows))
    columns = {
        "what": [row.what for row in rows],
        "figure": [figure(row) for row in rows],
        "spread": [row.spread for row in rows],
        "goal": [row.goal for row in rows],
        "": [VERDICT[row.reached] for row in rows],
        "note": [row.note for row in rows],
        "run": [str(1 + runs.index(row.provenance)) for row in rows] if len(runs) > 1 else [],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    lines = [list(shown), ["---"] * len(shown), *map(list, zip(*shown.values(), strict=True))]
    measured = [
        f"{f'{number}. ' if len(runs) > 1 else ''}`{command}`: {date}, commit {commit}, {machine}"
        for number, (command, machine, date, commit) in enumerate(runs, 1)
    ]
    drawn = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([*drawn, "", *measured])


def figure(row: Row) -> str:
    """The figure with its unit."""
    return with_unit(f"{row.figure:.{results.DIGITS}g}", row.unit)


def with_unit(number: str, unit: str) -> str:
    return f"{number}{unit}" if unit == "×" else f"{number} {unit}".rstrip()


def main() -> int:
    """Write the page; with `--check`, 1 if it is not what the results say."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.support.page", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--check", action="store_true", help="write nothing: 1 if page and results differ")
    given = parser.parse_args()
    text = page()
    if given.check:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        if not same:
            print("docs/benchmarks.md is not what benchmarks/results says: run python -m benchmarks.support.page")
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
