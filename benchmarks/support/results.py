"""What a benchmark measured, as a file: benchmarks/results/NAME.json holds rows of one figure each.

A row says what was measured, its unit, goal and spread, and where it comes from: command, machine, date and commit. A
benchmark calls `record` with what it prints. Rows with the same `what` are replaced and the others stay, so a part of
a benchmark can be run alone. Whether a goal is reached is worked out from the figure, never written down.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import operator
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

# A test that runs a benchmark as a program names another folder: published figures come from a person's run alone.
RESULTS = Path(os.environ.get("DATAGEN_BENCHMARK_RESULTS") or Path(__file__).parents[1] / "results")
DIGITS = 5  # significant ones that are kept
GOAL = re.compile(r"([≥≤<>=]) (-?[0-9.]+(?:e-?[0-9]+)?)")
COMPARE = {"≥": operator.ge, "≤": operator.le, "<": operator.lt, ">": operator.gt, "=": operator.eq}
PROVENANCE = ("command", "machine", "date", "commit")


def _rounded(figure: float) -> float:
    return float(f"{figure:.{DIGITS}g}")


def _goal(text: str) -> str:
    if text and not GOAL.fullmatch(text):
        raise ValueError(f"{text!r} is not a goal: write a comparison and a number, such as '≥ 99.5'")
    return text


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Row:
    """One figure: its `goal` in its own unit ('≥ 99.5', or nothing), `spread` in words, provenance by `record`."""

    what: str
    figure: Annotated[float, AfterValidator(_rounded)]
    unit: str = ""
    goal: Annotated[str, AfterValidator(_goal)] = ""
    spread: str = ""
    note: str = ""
    command: str = ""
    machine: str = ""
    date: str = ""
    commit: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the figure meets its goal; None where there is no goal."""
        if not (goal := GOAL.fullmatch(self.goal)):
            return None
        return bool(COMPARE[goal[1]](self.figure, float(goal[2])))

    @property
    def provenance(self) -> tuple[str, ...]:
        """Command, machine, date and commit."""
        return tuple(getattr(self, name) for name in PROVENANCE)


ROWS = TypeAdapter(list[Row])


def percent(share: float) -> float:
    """A share from 0 to 1 in per cent, as it is printed."""
    return round(100 * share, 1)


def read(path: Path) -> list[Row]:
    """The rows of a results file; ValueError, with the file's name, for anything that `record` would not write."""
    try:
        rows = ROWS.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path.name}: {error}") from None
    for row in rows:
        if not all(row.provenance):
            raise ValueError(f"{path.name}: {row.what!r} lacks one of {', '.join(PROVENANCE)}")
        datetime.date.fromisoformat(row.date)
    _unique(path.stem, rows)
    return rows


def _unique(name: str, rows: Sequence[Row]) -> dict[str, Row]:
    """The rows by what they say; ValueError if two say the same."""
    found = {row.what: row for row in rows}
    if len(found) < len(rows):
        raise ValueError(f"{name}: two rows have the same `what`")
    return found


def write(path: Path, rows: Sequence[Row]) -> None:
    """Rows as JSON that depends on nothing but them: fields in the order of `Row`, empty ones left out."""
    made: list[dict[str, Any]] = [
        {name: value for name, value in dataclasses.asdict(row).items() if value != ""} for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def record(name: str, rows: Sequence[Row], *, variables: Sequence[str] = (), folder: Path | None = None) -> None:
    """Write what benchmark `name` measured in this process, with the command line it was started with.

    `variables` are the environment variables that change its figures; those that are set stand in the command.
    """
    path = (folder or RESULTS) / f"{name}.json"
    called = command(name, sys.argv[1:], variables)
    today, at = datetime.date.today().isoformat(), commit()
    measured = [dataclasses.replace(row, command=called, machine=machine(), date=today, commit=at) for row in rows]
    new = _unique(name, measured)
    kept = _unique(name, read(path)) if path.is_file() else {}
    write(path, list((kept | new).values()))


def command(name: str, arguments: Sequence[str], variables: Sequence[str] = ()) -> str:
    """The command line as another person would type it: folders of this machine are cut to their names."""
    given = [f"{key}={shlex.quote(os.environ[key])}" for key in variables if key in os.environ]
    own = [Path(argument).name if Path(argument).is_absolute() else argument for argument in arguments]
    return " ".join([*given, shlex.join(["python", "-m", "benchmarks", name, *own])])


def machine() -> str:
    """Processor and number of cores that this process may use."""
    cpuinfo = Path("/proc/cpuinfo")
    known = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.is_file() else None
    model = known[1] if known else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {model}"


def commit() -> str:
    """The commit that is checked out, with a `+` where other files than figures were changed since."""
    here = ["git", "-C", str(Path(__file__).parents[2])]
    head = subprocess.run([*here, "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return "no git"
    others = ["--", ".", ":!benchmarks/results", ":!docs/benchmarks.md"]
    changed = subprocess.run([*here, "status", "--porcelain", *others], capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
