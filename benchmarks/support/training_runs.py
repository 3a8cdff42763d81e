"""What the training benchmarks share: a dataset from a recipe, held-out prompts, one training, one evaluation.

Everything lands in a work folder and is reused if it is there, so a benchmark can be run again at the cost of nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.support.results import Row, percent
from datagen.world.captions import caption
from datagen.world.grammar import sample_scene
from training import evaluate, run

# How a change of a figure is said.
WORDS = {"less": "fell by", "lost": "fell by", "gained": "rose by", "moved": "moved by"}
SCENE = ("occupation", "thing", "colour", "count", "place")


def arguments(name: str, recipe: str) -> argparse.Namespace:
    """`--out` (work folder) and `--data` (a dataset of the recipe; built when not given)."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path("out") / "benchmarks" / name)
    parser.add_argument("--data", type=Path, help=f"dataset of the recipe {recipe}; default: build it")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.data is None:
        build = [
            sys.executable,
            "-m",
            "datagen",
            "run",
            recipe,
            "--profile",
            "embedded",
            "--out",
            str(chosen.out / "run"),
        ]
        subprocess.run(build, check=True)
        chosen.data = chosen.out / "run" / "dataset"
    return chosen


def prompts(count: int, seed: str, stated: Mapping[str, object], *more: str) -> list[str]:
    """Captions of fresh scenes that state occupation, thing, colour, count, place, and `more`; `stated` is fixed."""
    rng = random.Random(seed)
    return [caption(sample_scene(rng, stated), {*SCENE, *more}, rng) for _ in range(count)]


def train(out: Path, data: Path, *more: str) -> float:
    """Train into out/trained with the defaults of run.py and `more`; the seconds it took."""
    started = time.monotonic()
    if run.main(["--data", str(data), "--out", str(out / "trained"), *more]):
        raise SystemExit(1)
    return time.monotonic() - started


def measure(out: Path, name: str, texts: Iterable[str], *more: str) -> dict[str, Any]:
    """The report of evaluate.py on these prompts, from out/<name>/report.json."""
    path = out / f"{name}.txt"
    path.write_text("\n".join(dict.fromkeys(texts)) + "\n")
    report = out / name / "report.json"
    if not report.is_file() and evaluate.main(["--prompts", str(path), "--out", str(out / name), *more]):
        raise SystemExit(1)
    loaded: dict[str, Any] = json.loads(report.read_text())
    return loaded


def figure(report: Mapping[str, Any], name: str) -> tuple[float, float]:
    """A figure of both arms: (base, adapted)."""
    arms = report["figures"][name]
    return arms["base"]["value"], arms["adapted"]["value"]


def row(what: str, before: float, after: float, **goals: str) -> list[Row]:
    """Print one line of a result table, in per cent; its figures as rows.

    A goal is of the figure of the `base` model or the `trained` one, or of a change: by how many per cent it is
    `less`, how many points are `lost` or `gained`, or by how many it `moved`.
    """
    changes = {"less": 1 - after / before if before else 0.0, "lost": before - after, "gained": after - before}
    changes["moved"] = abs(after - before)
    rows = [
        Row(f"{what}, base model", percent(before), "%", goals.get("base", "")),
        Row(f"{what}, after training", percent(after), "%", goals.get("trained", "")),
    ]
    for name in (name for name in changes if name in goals):
        unit = "%" if name == "less" else "points"
        rows.append(Row(f"{what}: {WORDS[name]}", percent(changes[name]), unit, goals[name]))
    goal = ", ".join(f"{name} {text}" for name, text in goals.items())
    missed = any(row.reached is False for row in rows)
    print(f"| {what} | {100 * before:.1f} | {100 * after:.1f} | {goal} | {'NO' if missed else 'yes'} |")
    return rows


def head(title: str, seconds: float) -> None:
    """Title and header of a result table."""
    print(
        f"\n{title} (training {seconds:.0f} s)\n\n| what, % | base | after | goal | reached |\n|---|---|---|---|---|"
    )
