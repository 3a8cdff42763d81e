"""The plots of a report: figures.png, base against adapted with intervals, and bias.png, the groups in each setting.

Plotted without a display; what has no interval is a bare mark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from training.evaluation.report import is_share

INK = {"base": "#8a8a8a", "adapted": "#1f6fb4", "chance": "#c8641e"}
GROUPS = ("#6b4fa0", "#e0a030", "#3f9e8f", "#c05a70", "#7d8590", "#a9b84a")
ROW = 0.25  # inches a figure
NARROWEST = 0.04  # an axis of its own spans at least this share of its figure, so that nothing looks large that is not
Table = Mapping[str, Mapping[str, Mapping[str, Any]]]


def write(table: Table, balance: str, groups: Sequence[str], out: Path) -> None:
    """Write the plots of a report's figures into `out`."""
    by_setting = [name for name in table if name.startswith(tuple(f"{balance}.{part}." for part in ["D1", *groups]))]
    whole = {name: arms for name, arms in table.items() if name not in by_setting}
    if whole:
        overview(whole).savefig(out / "figures.png", dpi=130)
    if by_setting:
        by_group({name: table[name] for name in by_setting}, balance, groups).savefig(out / "bias.png", dpi=130)


def overview(table: Table) -> Figure:
    """One row a figure: shares in per cent on one axis at the left, the others each on its own at the right."""
    shares = {name: arms for name, arms in table.items() if is_share(name)}
    others = {name: arms for name, arms in table.items() if not is_share(name)}
    figure = Figure(figsize=(12, 1.1 + ROW * max(len(shares), 3 * len(others), 4)), layout="constrained")
    left, right = _halves(figure, 1.5) if shares and others else (figure, figure)
    if shares:
        axes = left.subplots()
        _rows(axes, shares, 100)
        axes.set_xlim(-3, 103)
        axes.set_xlabel("per cent, with 95 % intervals over prompts", fontsize=9)
        _legend(left, axes)
    for (name, arms), axes in zip(others.items(), _stack(right, len(others)), strict=True):
        _rows(axes, {name: arms}, 1)
        low, high = axes.get_xlim()
        more = max(0.0, NARROWEST * abs(low + high) / 2 - (high - low)) / 2
        axes.set_xlim(0 if name.startswith("fid") else low - more, high + more)  # a distance begins at 0
    return figure


def by_group(table: Table, balance: str, groups: Sequence[str]) -> Figure:
    """At the left D1 of each setting, at the right which share of its images shows each group, base above adapted."""
    distances = {name.removeprefix(f"{balance}.D1."): arms for name, arms in table.items() if ".D1." in name}
    figure = Figure(figsize=(12, 1.3 + 0.5 * len(distances)), layout="constrained")
    sides = _halves(figure, 1)
    left, right = (side.subplots() for side in sides)
    _rows(left, distances, 100)
    left.set_xlim(-3, 103)
    left.set_xlabel(f"D1 of {balance}, per cent: 0 is even; intervals over prompts", fontsize=9)
    _legend(sides[0], left)
    for row, setting in enumerate(distances):
        for arm, offset in (("base", -0.18), ("adapted", 0.18)):
            start = 0.0
            for k, group in enumerate(groups):
                value = table[f"{balance}.{group}.{setting}"].get(arm, {}).get("value", math.nan)
                style: dict[str, Any] = {"color": GROUPS[k % len(GROUPS)], "alpha": 0.45 if arm == "base" else 1}
                right.barh(row + offset, 100 * value, 0.3, start, label=group if arm == "adapted" else None, **style)
                start += 100 * value
    right.axvline(100 / len(groups), color="white", linewidth=1.5)
    right.set_xlabel("share of each group, per cent: base (pale) above adapted", fontsize=9)
    right.set_xlim(0, 100)
    _frame(right, list(distances))
    right.grid(False)
    _legend(sides[1], right)
    return figure


def _halves(figure: Figure, ratio: float) -> tuple[SubFigure, SubFigure]:
    """The left and the right part of a page."""
    spec = figure.add_gridspec(1, 2, width_ratios=[ratio, 1])
    return figure.add_subfigure(spec[0, 0]), figure.add_subfigure(spec[0, 1])


def _rows(axes: Axes, table: Table, factor: int) -> None:
    """One row a figure, the first at the top: a mark an arm with its interval; families of figures shaded in turn."""
    for row, arms in enumerate(table.values()):
        for arm, offset in (("base", -0.15), ("adapted", 0.15)):
            one = arms.get(arm)
            if not one or not math.isfinite(one["value"]):
                continue
            value, low, high = (factor * one.get(part, one["value"]) for part in ("value", "low", "high"))
            reach = [[max(value - low, 0)], [max(high - value, 0)]]
            axes.errorbar(value, row + offset, xerr=reach, fmt="o", ms=4, color=INK[arm], lw=1.4, label=arm)
        if "chance" in arms:
            axes.plot(factor * arms["chance"]["value"], row, "|", ms=11, mew=1.6, color=INK["chance"], label="chance")
    families = [name.partition(".")[0] for name in table]
    for row, family in enumerate(families):
        if list(dict.fromkeys(families)).index(family) % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#f5f5f5", zorder=0, linewidth=0)
    _frame(axes, list(table))


def _frame(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _stack(figure: Figure | SubFigure, count: int) -> list[Axes]:
    """`count` axes one above the other."""
    return list(figure.subplots(count, 1, squeeze=False)[:, 0]) if count else []


def _legend(figure: Figure | SubFigure, axes: Axes) -> None:
    """Each label once, above the axes; the arms before the level of chance."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    names = [*(n for n in handles if n != "chance"), *(n for n in handles if n == "chance")]
    figure.legend(
        [handles[name] for name in names],
        names,
        loc="outside upper center",
        ncols=len(names),
        frameon=False,
        fontsize=9,
    )
