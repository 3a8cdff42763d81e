"""What the filters drop and keep: English, other languages, names, and English prompts composed from a grammar.

`python -m benchmarks filters`; no download. The lists stand in benchmarks/support/filters and were written with the
filters; the composed prompts and the safety check's list of benign ones were not.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.data.floor import CHILDREN, DOING, WHERE, listed
from benchmarks.support.results import Row, percent, record
from datagen.text import quality
from datagen.writers.taxonomy import grammar

LISTS = Path(__file__).parents[1] / "support" / "filters"


def read(name: str) -> list[str]:
    """The texts of a list, comments left out."""
    lines = (LISTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def people() -> list[str]:
    """All prompts of the grammar `people`."""
    scenes = grammar("people")
    slots = {slot: [option.text for option in scenes.options(slot)] for slot in scenes.slots}
    picks = (dict(zip(slots, pick, strict=True)) for pick in itertools.product(*slots.values()))
    return [template.format(**pick) for pick in picks for template in scenes.templates]


def row(what: str, texts: list[str], *, keep: bool, goal: float) -> Row:
    """Print how many texts are dropped and why; the per cent that are kept, or dropped if that is wanted."""
    reasons = Counter(quality.check(quality.clean(text)) for text in texts)
    dropped = len(texts) - reasons.pop(None, 0)
    why = ", ".join(f"{reason.partition(':')[0]} {count}" for reason, count in reasons.items() if reason)
    print(f"| {what} | {len(texts):,} | {dropped / len(texts):.2%} | {why} |", flush=True)
    share = 1 - dropped / len(texts) if keep else dropped / len(texts)
    note = f"{len(texts):,} texts"
    return Row(f"{what}: {'kept' if keep else 'dropped'}", percent(share), "%", f"≥ {goal:g}", note=note)


def main() -> int:
    """1 if under 99 % of the English prompts are kept, or under 97 % of the foreign ones and names are dropped."""
    argparse.ArgumentParser(prog="python -m benchmarks filters", description=__doc__, allow_abbrev=False).parse_args()
    print("| texts | number | dropped | why |\n|---|---|---|---|")
    benign = [text for heading, text in listed("must_pass") if heading != "Other languages"]
    composed = [", ".join(parts) for parts in itertools.product(CHILDREN, DOING, WHERE)]
    started = time.process_time()
    rows = [row("English, composed from scenes with children", composed, keep=True, goal=99)]
    rate = len(composed) / (time.process_time() - started)
    rows.append(row("English, grammar `people`", people(), keep=True, goal=99))
    rows.append(row("English, short art prompts", read("english"), keep=True, goal=99))
    rows.append(row("English, benign list of the safety check", benign, keep=True, goal=99))
    rows.append(row("names nobody real", read("nameless"), keep=True, goal=97))
    rows.append(row("other languages", read("foreign"), keep=False, goal=97))
    rows.append(row("names a real person", read("names"), keep=False, goal=97))
    print(f"\n{rate:,.0f} prompts a second on one core")
    record("filters", [*rows, Row("checked by one core", round(rate), "prompts a CPU second")])
    return 0 if all(row.reached for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
