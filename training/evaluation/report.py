"""The report of an evaluation: a table in the terminal and report.json, with every figure in its own unit.

Shares and distances are kept as numbers from 0 to 1 and shown in per cent; CLIPScore, judges' scores, FID, Inception
Score and Vendi score are numbers of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PLAIN = ("clipscore", "fid", "inception_score", "score", "vendi")  # families that are not shares
COLUMNS = ("base", "adapted", "change", "chance")


def is_share(name: str) -> bool:
    """Whether a figure is shown in per cent."""
    return name.partition(".")[0] not in PLAIN


def write(report: Mapping[str, Any], out: Path) -> None:
    """report.json; what is not a finite number is null there, as JSON has no other word for it."""
    (out / "report.json").write_text(json.dumps(_plain(report), indent=2, default=str, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(report: Mapping[str, Any]) -> None:
    """The figures as a table on stdout, with their 95 % intervals, and what else is to be said."""
    table = Table("figure", *COLUMNS, "n")
    probes = report["settings"]["probes"]
    balance, groups = probes["balance"], probes["groups"]
    for name, arms in report["figures"].items():
        if name.startswith(tuple(f"{balance}.{group}." for group in groups)):
            continue  # a group's share of a setting: in the JSON and in bias.png
        cells = [_cell(arms.get(column), 100 if is_share(name) else 1) for column in COLUMNS]
        unit = " %" if is_share(name) else ""
        table.add_row(name + unit, *cells, str(int(next(iter(arms.values())).get("images", 0))))
    Console(width=130).print(table)
    for note in report.get("notes", ()):
        print(f"note: {note}")
    print("95 % intervals over prompts" + (" and seeds" if report["seeds"] > 1 else "") + "; chance: nothing to find")
    if "identical_without_token" in report:
        print(f"without a token, images identical to the base model's: {report['identical_without_token']}")
    if isinstance(report.get("use_probability"), dict):
        for setting, value in report["use_probability"].items():
            print(f"token used for {setting}: {value:.2f}")


def _cell(figure: Mapping[str, Any] | None, factor: int) -> str:
    if not figure or not math.isfinite(figure["value"]):
        return "–"
    digits = 1 if factor == 100 or abs(figure["value"]) >= 10 else 2
    text = f"{factor * figure['value']:.{digits}f}"
    if math.isfinite(figure.get("low", math.nan)):
        text += f" [{factor * figure['low']:.{digits}f}, {factor * figure['high']:.{digits}f}]"
    return text
