"""The audit as a short table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print the figures, then what is to be said of them."""

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    say(f"{found['meetings']} pairs of images of {found['prompts']} prompts were judged, {found['pairs']} published")
    console.print(_judges(found["judges"]))
    for line in _agreement(found["agreement"]):
        say(line)
    if found["shortcuts"]:
        console.print(_shortcuts(found["shortcuts"]))
        for row in found["shortcuts"]:
            if row["note"]:
                say(f"note: {row['name']}: {row['note']}")
    for line in _shared(found):
        say(line)
    for note in found["notes"]:
        say(f"note: {note}")
    for what in found["not_audited"]:
        say(f"not audited: {what}")
    for warning in found["warnings"]:
        say(f"warning: {warning}")
    if not found["warnings"]:
        say("no warnings")


def _table(*names: str) -> Table:
    return Table(*(Column(name, no_wrap=True) for name in names), box=SIMPLE_HEAD, pad_edge=False)


def _judges(rows: list[dict[str, Any]]) -> Table:
    """Shares by judge; the columns of judges that compare where there is one."""
    compares = any(row["consistent"] for row in rows)
    names = {"coverage": "coverage", "ties": "ties"}
    names |= {"consistent": "same in both orders", "first": "first place"} if compares else {}
    table = _table("judge", *names.values())
    for row in rows:
        built = " (built)" if row["built"] else ""
        table.add_row(f"{row['name']}{built}", *(_in_words(row[name]) for name in names))
    return table


def _agreement(found: Mapping[str, Any]) -> Iterator[str]:
    named = {"fleiss": "Fleiss's kappa", "alpha_nominal": "Krippendorff's alpha", "alpha_interval": "of margins"}
    yield "agreement: " + ", ".join(f"{name} {_in_words(found[key])}" for key, name in named.items())
    known = [row for row in found["pairs"] if row["cohen"]]
    if known:
        least = min(known, key=lambda row: row["cohen"]["value"])
        most = max(known, key=lambda row: row["cohen"]["value"])
        yield (
            f"Cohen's kappa of two judges: from {_in_words(least['cohen'])} ({' and '.join(least['judges'])}) to "
            f"{_in_words(most['cohen'])} ({' and '.join(most['judges'])})"
        )


def _shortcuts(rows: list[dict[str, Any]]) -> Table:
    table = _table("predicts the winner alone", "AUC", "pairs that differ")
    for row in rows:
        mark = "  warning" if row["warned"] else ""
        table.add_row(row["name"], _in_words({**row, "value": row["auc"]}) + mark, str(row["pairs"]))
    return table


def _shared(found: Mapping[str, Any]) -> Iterator[str]:
    if leaks := found["leaks"]:
        kinds = ("prompts", "clusters", "images", "near_duplicate_images")
        counts = [f"{leaks[kind]} {kind.replace('_', ' ')}" for kind in kinds if leaks[kind] is not None]
        if counts:
            yield f"in more than one split: {', '.join(counts)}"
    if twins := found["near_duplicates"]:
        yield (
            f"near-duplicates among {twins['images']} images: {twins['pairs_of_one_look']} pairs of two that look the "
            f"same, {twins['prompts_with_near_duplicates']} prompts with some, "
            f"{twins['groups_across_prompts']} groups across prompts"
        )


def _in_words(found: Mapping[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "-"
    if found["low"] is None:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
