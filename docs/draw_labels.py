"""Draws the figures of docs/labels.md from what the benchmarks measured: `python docs/draw_labels.py`.

labels-juries.svg: simulated juries, how far labels are behind the rule that knows all of them, and their calibration
error. labels-world.svg: real draws of the embedded world, what was promised against what was right, and the
calibration error. Equal results give equal files.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks.support.results import RESULTS, Row, read  # noqa: E402  # as a file, this is not on the import path

SITUATIONS = {  # of the benchmark `juries`, by what they are called on the axis
    "design right in 95 %": "design right in 95 %",
    "design right in 85 %": "in 85 %",
    "design right in 70 %": "in 70 %",
    "300 pairs, design right in 85 %": "300 pairs, in 85 %",
    "votes, design right in 85 %": "votes alone, in 85 %",
    "leak .3 in half, controls": "half see the wording, in 85 %",
    "planted and null pairs": "planted and null pairs",
    "margins alone": "nothing but margins",
}
RULES = {"": "this project", "added ": "log-odds added", "dawid_skene ": "Dawid–Skene", "majority ": "majority"}
INK = {"": "#1f6fb4", "added ": "#8a8a8a", "dawid_skene ": "#c8641e", "majority ": "#3f9e8f"}
BEST = "best judge"
WAYS = {"all evidence": "", "sum of log-odds": "added ", "Dawid-Skene": "dawid_skene ", "majority": "majority "}
SHARES = ("15%", "30%")
BAR = 0.2
Rows = Mapping[str, Row]


def rows(name: str) -> Rows:
    """A benchmark's rows by what they say."""
    return {row.what: row for row in read(RESULTS / f"{name}.json")}


def juries(found: Rows) -> Figure:
    """Points of accuracy behind the Bayes rule, judges alone, and calibration error of all evidence."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _bars(left, found, "gap", "points of accuracy behind the Bayes rule, judges alone")
    _bars(right, found, "ece", "calibration error of all evidence; |: of the Bayes rule")
    for place, name in enumerate(SITUATIONS):
        own = found[f"{name}: bayes ece"].figure
        right.plot([own, own], [place - 2 * BAR, place + 2 * BAR], color="black", linewidth=1)
    left.set_yticks(range(len(SITUATIONS)), list(SITUATIONS.values()))
    left.invert_yaxis()
    _legend(figure, left)
    return figure


def _bars(axes: Axes, found: Rows, what: str, label: str) -> None:
    for place, (rule, name) in enumerate(RULES.items()):
        values = [found[f"{situation}: {rule}{what}"] for situation in SITUATIONS]
        at = [row + (place - 1.5) * BAR for row in range(len(values))]
        spans = [_span(row) for row in values]
        axes.barh(at, [row.figure for row in values], BAR, color=INK[rule], label=name)
        for y, (low, high) in zip(at, spans, strict=True):
            axes.plot([low, high], [y, y], color="black", linewidth=0.5, alpha=0.5)
    axes.set_xlabel(label, fontsize=8)
    _quiet(axes)


def _span(row: Row) -> tuple[float, float]:
    low, _, high = row.spread.partition(" to ")
    return float(low), float(high)


def world(found: Rows) -> Figure:
    """What was promised against what was right, in bins of probability; and the calibration error of each way."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.2))
    for one, share in zip(axes, SHARES, strict=False):
        _reliability(one, found, share)
    _errors(axes[2], found)
    return figure


def _reliability(axes: Axes, found: Rows, share: str) -> None:
    axes.plot([0.5, 1], [0.5, 1], color="black", linewidth=0.5)
    for way, rule in WAYS.items():
        said = [
            row for what, row in found.items() if what.startswith(f"{share} exchanged, {way}: right of those from ")
        ]
        promised = [_promised(row) for row in said]
        axes.plot(promised, [row.figure / 100 for row in said], "o-", color=INK[rule], markersize=4, label=RULES[rule])
    axes.set_xlabel("promised", fontsize=8)
    axes.set_ylabel("right", fontsize=8)
    axes.set_title(f"wordings of {share.replace('%', ' %')} of the prompts exchanged", fontsize=9)
    _quiet(axes)


def _promised(row: Row) -> float:
    said = re.search(r"promised ([0-9.]+) %", row.note)
    assert said, f"{row.what} does not say what was promised"
    return float(said[1]) / 100


def _errors(axes: Axes, found: Rows) -> None:
    names = [*WAYS, next(what.split(", ")[1].split(":")[0] for what in found if f", {BEST}" in what)]
    for place, share in enumerate(SHARES):
        values = [found[f"{share} exchanged, {name}: ECE"].figure for name in names]
        colours = [*(INK[rule] for rule in WAYS.values()), "#b8b8b8"]
        at = [row + (place - 0.5) * 0.4 for row in range(len(names))]
        axes.barh(at, values, 0.38, color=colours, alpha=(1.0, 0.6)[place])
        for y, value in zip(at, values, strict=True):
            axes.text(value, y, f" {value:.3f} ({share.replace('%', ' %')})", fontsize=7, va="center")
    axes.set_yticks(range(len(names)), [RULES.get(WAYS.get(name, "-"), name) for name in names], fontsize=8)
    axes.set_xlim(0, 1.35 * axes.get_xlim()[1])
    axes.set_xlabel("calibration error", fontsize=8)
    axes.invert_yaxis()
    _quiet(axes)


def _quiet(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9, frameon=False)


def save(figure: Figure, path: Path) -> None:
    """An SVG that depends on nothing but what is drawn."""
    with matplotlib.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(path, metadata={"Date": None})


def main() -> int:
    """Write both figures beside this file, or into `--out`."""
    parser = argparse.ArgumentParser(prog="python docs/draw_labels.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=HERE)
    out = parser.parse_args().out
    save(juries(rows("juries")), out / "labels-juries.svg")
    save(world(rows("world_labels")), out / "labels-world.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
