"""What people said of pairs, for calibration: a table with the columns pair_id and label, checked row by row.

A run keeps all of it in one file, `FILE`, whoever said it: a page where a person labels, another program's export.
"""

from __future__ import annotations

import collections
import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from datagen import store
from datagen.errors import InputError
from datagen.tables import rows
from datagen.tables.rows import Row

PAIR, LABEL, BY, WEIGHT = "pair_id", "label", "by", "weight"
FILE = "people.csv"
CHOSEN, REJECTED, TIE, BAD = "chosen", "rejected", "tie", "both bad"
WORDS = {
    CHOSEN: CHOSEN, "1": CHOSEN, "1.0": CHOSEN, REJECTED: REJECTED, "0": REJECTED, "0.0": REJECTED,
    TIE: TIE, "0.5": TIE, BAD: BAD,
}  # fmt: skip
MEANS = {CHOSEN: 1.0, REJECTED: 0.0}
UNUSED = ((TIE, "are ties"), (BAD, "find both images bad"))


def read(path: Path) -> tuple[dict[str, float], list[str]]:
    """Pair id → 1 (chosen is better) or 0 (rejected is), and what was left out, in words.

    Labels are chosen or 1, rejected or 0, tie or 0.5, both bad. The latter two calibrate nothing. Where people say the
    contrary of each other, the side of more weight counts; if neither has more, nothing of that pair is used. Raises
    InputError for another label, and for a file that is no such table.
    """
    answers: dict[str, list[tuple[str, float | None]]] = collections.defaultdict(list)
    unweighed = 0
    for name, label, row in _said(path):
        given = row.values.get(WEIGHT)
        answers[name].append((label, weight := _number(given)))
        unweighed += weight is None and given is not None and str(given).strip() != ""
    said = {name: _added(of) for name, of in answers.items()}
    sides = {name: {MEANS[label]: by[label] for label in by if label in MEANS} for name, by in said.items()}
    known = {name: max(of, key=lambda side: of[side]) for name, of in sides.items() if of and not _even(of)}
    even = sum(map(_even, sides.values()))
    settled = sum(len(of) > 1 for of in sides.values()) - even
    counted = [(even, f"of {even} pairs contradict each other: not used")]
    counted.append((settled, f"of {settled} pairs contradict each other: the side of more weight counts"))
    for word, what in UNUSED:
        count = sum(word in said[name] and not of for name, of in sides.items())
        counted.append((count, f"of {count} pairs {what}: not used"))
    counted.append((unweighed, f"with {unweighed} weights that are no numbers above 0: taken for none"))
    return known, [f"labels of people {text}" for count, text in counted if count]


def _added(answers: Sequence[tuple[str, float | None]]) -> dict[str, float]:
    """Label → the weight of the answers that give it; one without counts as those of its pair that have one."""
    given = [weight for _, weight in answers if weight is not None]
    usual = math.fsum(given) / len(given) if given else 1.0
    found: dict[str, float] = collections.defaultdict(float)
    for label, weight in answers:
        found[label] += usual if weight is None else weight
    return found


def _even(sides: Mapping[float, float]) -> bool:
    """Whether as much was said for one side as for the other."""
    return len(sides) > 1 and math.isclose(sides[0.0], sides[1.0])


def of(known: Mapping[str, float], pair: str, turned: str) -> float:
    """What is known of a pair, whichever of its images people were told is chosen: labels may have turned since."""
    if (said := known.get(pair)) is not None:
        return said
    said = known.get(turned)
    return math.nan if said is None else 1 - said


def weights(path: Path) -> dict[str, float]:
    """Pair id → how many pairs of the run its label stands for, as far as that is said."""
    return {name: weight for name, _, row in _said(path) if (weight := _number(row.values.get(WEIGHT))) is not None}


def join(root: Path, by: str, said: Iterable[Sequence[object]], before: str = "") -> Path:
    """Put what one person, or one program, said into the run's own file, which is returned.

    `said` are rows of pair id, label and how many pairs of the run it stands for, None where that is not known. What
    the same one said before is replaced, what others said is kept; and so is what stands in another file, `before`,
    that the run was given. Raises InputError if either cannot be read.
    """
    path = root / FILE
    kept = _others(path, by) if path.is_file() else []
    if before and Path(before).absolute() != path.absolute():
        here = {(row[0], row[2]) for row in kept}
        kept += [row for row in _others(Path(before), by) if (row[0], row[2]) not in here]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow((PAIR, LABEL, BY, WEIGHT))
    lines.writerows([*kept, *((name, label, by, "" if weight is None else weight) for name, label, weight in said)])
    store.write_file(path, lambda file: file.write(text.getvalue().encode()))
    return path


def _others(path: Path, by: str) -> list[tuple[str, str, str, object]]:
    """The rows of a table that were said by others; who is not named is called as the file."""
    found = [
        (name, label, str(row.values.get(BY) or path.stem), row.values.get(WEIGHT) or "")
        for name, label, row in _said(path)
    ]
    return [row for row in found if row[2] != by]


def _said(path: Path) -> Iterable[tuple[str, str, Row]]:
    """Pair, label in our words, and the whole row."""
    if not path.is_file():
        raise InputError(
            f"labels.known names {path}, which is no file: give a table with the columns {PAIR} and {LABEL}"
        )
    table = rows.read(path)
    for column in (PAIR, LABEL):
        table.check(column)
    for row in table.rows():
        name, label = str(row.values[PAIR] or "").strip(), str(row.values[LABEL]).strip().lower()
        if not name or label not in WORDS:
            raise InputError(
                f"{path}, {row.place}: {name or 'no pair'} is labelled {label!r}: "
                f"give a {PAIR} and chosen, rejected or tie"
            )
        yield name, WORDS[label], row


def _number(value: object) -> float | None:
    """A weight that can be used; None for anything else, also for what no pair can stand for."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None
