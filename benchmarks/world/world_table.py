"""The world's table: every method on its data with several seeds, beside plain SFT and controls, with 95 % intervals.

`python -m benchmarks world_table` takes hours on two cores; what is done is kept in the work folder, so it can be
stopped and started again. `--only "ARM" …` does some arms, `--seeds 0` one seed; `--report` prints what there is.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.support.results import Row, percent, record
from benchmarks.support.training_runs import measure
from benchmarks.support.world_arms import ARMS, BASE, DEBIAS, EVALUATION, FIGURES, GOALS, STYLE, TOXICITY, Arm, texts
from training import run
from training.settings.defaults import defaults

PILOTS, PILOT_ROUNDS = (5, 45), 3  # steps of the two trainings whose difference says how long a step takes


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks world_table", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, default=Path("out") / "benchmarks" / "world_table")
    parser.add_argument(
        "--data", type=Path, help="folder with RECIPE/dataset for each recipe; default: build them in --out"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    names = [key(arm) for arm in ARMS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="ARM", default=names, help="; ".join(names))
    parser.add_argument("--report", action="store_true", help="train nothing: print what there is")
    return parser.parse_args()


def key(arm: Arm) -> str:
    """An arm's name among all: its recipe's and its own."""
    return f"{arm.recipe}: {arm.name}"


def folder(arm: Arm, out: Path, seed: int | str) -> Path:
    """Where a training lies."""
    return out / "trained" / re.sub(r"\W+", "-", f"{arm.recipe} {arm.trained}") / str(seed)


def dataset(recipe: str, given: argparse.Namespace) -> Path:
    """The recipe's dataset; built if it is not there."""
    place: Path = (given.data or given.out / "data") / recipe
    if not (place / "dataset").is_dir():
        command = [sys.executable, "-m", "datagen", "run", recipe, "--profile", "embedded", "--out", str(place)]
        subprocess.run(command, check=True)
    return place / "dataset"


def seconds(command: list[str], place: Path) -> float:
    """CPU seconds of a step: a longer pilot's less a shorter one's, so that loading does not count."""
    taken = []
    for steps in PILOTS:
        before = time.process_time()
        with tempfile.TemporaryDirectory(dir=place) as folder:
            if run.main([*command, "--out", folder, "--steps", str(steps)]):
                raise SystemExit(1)
        taken.append(time.process_time() - before)
    return (taken[1] - taken[0]) / (PILOTS[1] - PILOTS[0])


def equal_time(arm: Arm, given: argparse.Namespace, command: list[str]) -> list[str]:
    """For DPO: so many steps that they take as long as MaPO's; the median of what pilots by turns say, kept."""
    if "dpo" not in arm.flags:
        return []
    kept = given.out / "equal_time.json"
    if not kept.is_file():
        given.out.mkdir(parents=True, exist_ok=True)
        mapo = ["--data", str(dataset(arm.recipe, given)), "--method", "mapo"]
        ratios = [seconds(mapo, given.out) / seconds(command, given.out) for _ in range(PILOT_ROUNDS)]
        kept.write_text(json.dumps({"mapo's time of a step over dpo's": statistics.median(ratios), "of": ratios}))
    ratio: float = next(iter(json.loads(kept.read_text()).values()))
    return ["--steps", str(round(ratio * defaults("mapo", "unet", "embedded")["steps"].value))]


def train(arm: Arm, given: argparse.Namespace, seed: int) -> None:
    """One training, unless it is there."""
    place = folder(arm, given.out, seed)
    if (place / "training.json").is_file():
        return
    command = ["--data", str(dataset(arm.recipe, given)), *arm.flags, "--seed", str(seed)]
    if run.main([*command, *equal_time(arm, given, command), "--out", str(place)]):
        raise SystemExit(1)


def evaluate(arm: Arm, given: argparse.Namespace, seeds: list[int]) -> dict[str, Any]:
    """The report over the seeds that are trained."""
    out = given.out / "reports" / f"seeds-{'-'.join(map(str, seeds))}"
    out.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", key(arm))
    drawn, theirs = given.out / "base" / arm.recipe, out / name / "images" / "base"
    if drawn.is_dir() and not theirs.is_dir():  # the base model's pictures are the same for every arm
        shutil.copytree(drawn, theirs)
    tokens = ("--principle", *arm.principles) if arm.principles else ()
    adapter = ("--adapter", str(folder(arm, given.out, "{seed}")), "--seeds", *map(str, seeds))
    common = ("--features", "none", "--clip", "none", "--judge", "none")
    report = measure(out, name, texts(arm.recipe), *adapter, *tokens, *EVALUATION[arm.recipe], *arm.extra, *common)
    shutil.copytree(theirs, drawn, dirs_exist_ok=True)
    return report


def show(recipe: str, reports: dict[str, tuple[int, dict[str, Any]]]) -> None:
    """The arms of a recipe, a line each; the base model's line first."""
    wanted = FIGURES[recipe]
    print(f"\n{recipe}, % [95 % interval over prompts and seeds]\n\n| arm | seeds | {' | '.join(wanted)} |")
    print("|---|---|" + "---|" * len(wanted))
    found = {name: made for name, made in reports.items() if name.startswith(f"{recipe}: ")}
    for name, (seeds, report) in found.items():
        if name == next(iter(found)):
            print(f"| base | {seeds} | {' | '.join(cell(report, figure, 'base') for figure in wanted)} |")
        line = " | ".join(cell(report, figure, "adapted") for figure in wanted)
        print(f"| {name.partition(': ')[2]} | {seeds} | {line} |")


def cell(report: dict[str, Any], figure: str, which: str) -> str:
    """A figure and its interval, in per cent."""
    value = report["figures"][figure][which]
    return f"{100 * value['value']:.1f} [{100 * value['low']:.0f}, {100 * value['high']:.0f}]"


def measured(reports: dict[str, tuple[int, dict[str, Any]]]) -> list[Row]:
    """The figures of all arms; the base model's from the first arm of each recipe."""
    rows: dict[str, Row] = {}
    for arm, (seeds, report) in reports.items():
        recipe, _, name = arm.partition(": ")
        for figure in FIGURES[recipe]:
            for who, which in ((BASE, "base"), (name, "adapted")):
                value = report["figures"][figure][which]
                spread = f"{100 * value['low']:.0f}–{100 * value['high']:.0f}"
                what = f"{recipe}, {figure}: {who}"
                row = Row(what, percent(value["value"]), "%", spread=spread, note=f"{seeds} seeds")
                rows.setdefault(what, row)
    return [dataclasses.replace(row, goal=goal(what, rows)) for what, row in rows.items()]


def goal(what: str, rows: dict[str, Row]) -> str:
    """The goal of a figure, which another arm's figure sets; nothing where that one is not there."""
    group, _, arm = what.partition(": ")
    if not (asked := GOALS.get((group, arm))) or not (other := rows.get(f"{group}: {asked.other}")):
        return ""
    return f"{asked.comparison} {asked.factor * other.figure + asked.points:.1f}"


def main() -> None:
    """Train and evaluate what is missing, then print the tables."""
    given = parse()
    reports = {}
    for arm in (arm for arm in ARMS if key(arm) in given.only):
        for seed in () if given.report else given.seeds:
            train(arm, given, seed)
        seeds = [seed for seed in given.seeds if (folder(arm, given.out, seed) / "training.json").is_file()]
        if seeds:
            reports[key(arm)] = len(seeds), evaluate(arm, given, seeds)
    for recipe in (TOXICITY, DEBIAS, STYLE):
        show(recipe, reports)
    record("world_table", measured(reports))


if __name__ == "__main__":
    main()
