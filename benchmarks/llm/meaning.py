"""What holding replies against what was asked catches, and what it costs: bad rows caught, good ones lost.

`python -m benchmarks meaning`; no server, no download. Good rows are wordings by hand, spoiled in each way in which
replies go wrong: the set `made`, which the rules were made with, and `held out`, written before them by the same hand
(benchmarks/support/meaning). What the first reading of `held out` missed was seen when two rules were mended. `fresh`
is by another hand that had read the rules' code but not prompts/words.toml; what it missed at first is told beside
its figures, and some words and one rule were mended for it since. What whole runs publish: `meaning_runs`.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.support.results import Row, percent, record
from datagen.records import Principle, Prompt
from datagen.writers import meaning, taxonomy
from datagen.writers.briefs import Brief, taxonomy_id

LISTS = Path(__file__).parents[1] / "support" / "meaning"

# What `fresh` showed before anything was mended for it, where that was another figure.
FIRST = {
    "fresh: good rows lost": 4.5,
    "fresh: wordings exchanged: caught": 95.5,
    "fresh: wordings and negatives exchanged: caught": 100,
    "fresh: unrelated as chosen_negative: caught": 8.3,
    "fresh: an echo as chosen_negative: caught": 91.7,
    "fresh: an echo added to a wording: caught": 91.7,
}

Case = tuple[Brief, Prompt]


def rows(name: str) -> list[Case]:
    """The good rows of a set."""
    blocks = (LISTS / f"{name}.txt").read_text(encoding="utf-8").split("\n\n")
    return [_row(number, block.strip().splitlines()) for number, block in enumerate(blocks) if "scene:" in block]


def _row(number: int, lines: list[str]) -> Case:
    head, *rest = lines
    fields = dict(line.split(": ", 1) for line in rest)
    if head.startswith("new: "):
        principle, role = _new(head.removeprefix("new: ")), fields["role"]
    else:
        (file, name), role = head.split()[0].split("/"), head.split()[1]
        principle = next(row for row in taxonomy.taxonomy(file) if taxonomy_id(row) == name)
    brief = Brief(number, principle, role, scene=fields["scene"])
    texts = [_side(fields["text"], side, role == "control") for side in range(3)]
    out = [part.strip() for part in fields["out"].split("/")]
    return brief, brief.row([*texts, *out], author="a person")


def _new(line: str) -> Principle:
    """A principle as an LLM adds it to a taxonomy."""
    kind, statement, *phrases = line.split(" | ")
    aligned, violating = (f"{{prompt}}, {phrase}" for phrase in phrases)
    return Principle("new-0", kind, statement.split()[0], statement, aligned, violating, "", "", "an LLM", "")


def _side(text: str, side: int, control: bool) -> str:
    """One of the three texts: the alternatives in brackets are prompt, chosen and rejected; of a control two."""

    def pick(found: re.Match[str]) -> str:
        options = found[1].split("|")
        options = [options[0], *options] if control and len(options) == 2 else [*options, *[""] * (3 - len(options))]
        return options[side]

    return " ".join(re.sub(r"\[([^\]]*)\]", pick, text).split()).replace(" ,", ",").replace(" .", ".")


def bad_texts(name: str) -> dict[str, list[str]]:
    """What stands in the place of a wording, by kind."""
    found: dict[str, list[str]] = {}
    for line in (LISTS / f"{name}_bad.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            kind = found.setdefault(line.removeprefix("## "), [])
        elif line and not line.startswith("#"):
            kind.append(line)
    return found


def exchanged(case: Case, negatives: bool) -> Case:
    """The row with its wordings exchanged, the negative prompts with them or not."""
    brief, row = case
    change: dict[str, Any] = {"chosen_prompt": row.rejected_prompt, "rejected_prompt": row.chosen_prompt}
    if brief.role == "control":
        change["prompt"] = row.rejected_prompt
    if negatives:
        change |= {"chosen_negative": row.rejected_negative, "rejected_negative": row.chosen_negative}
    return brief, dataclasses.replace(row, **change)


def put(case: Case, field: str, text: str) -> Case:
    """The row with another text in one field; what a control rejects is the only wording that it has."""
    brief, row = case
    change: dict[str, Any] = {field: text}
    if brief.role == "control" and field in ("prompt", "chosen_prompt"):
        change = {"prompt": text, "chosen_prompt": text}
    return brief, dataclasses.replace(row, **change)


def spoiled(name: str, cases: list[Case]) -> Iterator[tuple[str, list[Case]]]:
    """Every way to spoil the rows of a set, and the spoiled rows."""
    rng = random.Random(0)
    yield "wordings exchanged", [exchanged(case, False) for case in cases]
    yield "wordings and negatives exchanged", [exchanged(case, True) for case in cases]
    for kind, texts in bad_texts(name).items():
        for field in ("prompt", "chosen_prompt", "rejected_prompt", "chosen_negative"):
            yield f"{kind} as {field}", [put(rng.choice(cases), field, text) for text in texts]
        yield (
            f"{kind} added to a wording",
            [
                put(case, "rejected_prompt", f"{case[1].prompt} {text}")
                for text in texts
                for case in [rng.choice(cases)]
            ],
        )
        yield (
            f"{kind} after a good wording",
            [
                put(case, field, f"{getattr(case[1], field).rstrip(' .')}. {text}")
                for text in texts
                if len(text.split()) > 2  # a dash after a sentence spoils nothing
                for field in ("chosen_prompt", "rejected_prompt")
                for case in [rng.choice(cases)]
            ],
        )
    others = cases[1:] + cases[:1]
    yield (
        "another row's prompt after a good wording",
        [
            put(case, field, f"{getattr(case[1], field).rstrip(' .')}. {other[1].prompt}")
            for case, other in zip(cases, others, strict=True)
            for field in ("chosen_prompt", "rejected_prompt")
        ],
    )
    for field in ("prompt", "chosen_prompt", "rejected_prompt"):
        yield (
            f"another row's {field}",
            [put(case, field, getattr(other[1], field)) for case, other in zip(cases, others, strict=True)],
        )
    yield (
        "both wordings are the prompt",
        [put(put(case, "rejected_prompt", case[1].prompt), "chosen_prompt", case[1].prompt) for case in cases],
    )


def judge(case: Case) -> str | None:
    """Why a row is dropped, or None."""
    return meaning.of_row(*case, {}, worded=True)


def measure(name: str, show: Callable[[str, Case], None] = lambda what, case: None) -> list[Row]:
    """The shares of one set."""
    cases, label = rows(name), name.replace("_", " ")
    lost = collections.Counter(filter(None, map(judge, cases)))
    for case in cases:
        if judge(case):
            show(f"lost: {judge(case)}", case)
    figures = [
        Row(f"{label}: good rows lost", percent(lost.total() / len(cases)), "%", "≤ 4", note=f"{len(cases)} rows")
    ]
    for what, bad in spoiled(name, cases):
        caught = sum(judge(case) is not None for case in bad)
        for case in bad:
            if judge(case) is None:
                show(f"missed: {what}", case)
        figures.append(Row(f"{label}: {what}: caught", percent(caught / len(bad)), "%", note=f"{len(bad)} rows"))
    return figures


def _told(row: Row) -> Row:
    first = FIRST.get(row.what)
    return row if first is None else dataclasses.replace(row, note=f"{row.note}; {first} at first reading")


def main() -> int:
    """1 if more good rows are lost than may be."""
    argparse.ArgumentParser(
        prog="python -m benchmarks meaning", description=__doc__.splitlines()[0], allow_abbrev=False
    ).parse_args()
    figures = [_told(row) for name in ("made", "held_out", "fresh") for row in measure(name)]
    print("| rows | share |\n|---|---|")
    for row in figures:
        print(f"| {row.what} | {row.figure} % of {row.note} |")
    record("meaning", figures)
    return 0 if all(row.reached is not False for row in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
