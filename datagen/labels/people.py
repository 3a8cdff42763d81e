"""What people said of pairs, for calibration: a table with the columns pair_id and label, checked row by row."""

from __future__ import annotations

import collections
from pathlib import Path

from datagen.errors import InputError
from datagen.tables import rows

PAIR, LABEL = "pair_id", "label"
MEANS = {"chosen": 1.0, "1": 1.0, "1.0": 1.0, "rejected": 0.0, "0": 0.0, "0.0": 0.0, "tie": 0.5, "0.5": 0.5}


def read(path: Path) -> tuple[dict[str, float], list[str]]:
    """Pair id → 1 (chosen is better) or 0 (rejected is), and what was left out, in words.

    Labels are chosen or 1, rejected or 0, tie or 0.5. Ties calibrate nothing, and of a pair of which people say the
    contrary of each other nothing is used. Raises InputError for another label, and for a file that is no such table.
    """
    if not path.is_file():
        raise InputError(
            f"labels.known names {path}, which is no file: give a table with the columns {PAIR} and {LABEL}"
        )
    table = rows.read(path)
    for column in (PAIR, LABEL):
        table.check(column)
    said: dict[str, set[float]] = collections.defaultdict(set)
    for row in table.rows():
        name, label = str(row.values[PAIR] or "").strip(), str(row.values[LABEL]).strip().lower()
        if not name or label not in MEANS:
            raise InputError(
                f"{path}, {row.place}: {name or 'no pair'} is labelled {label!r}: "
                f"give a {PAIR} and chosen, rejected or tie"
            )
        said[name].add(MEANS[label])
    contrary = sum({0.0, 1.0} <= labels for labels in said.values())
    ties = sum(labels == {0.5} for labels in said.values())
    known = {name: 1.0 if 1.0 in labels else 0.0 for name, labels in said.items() if len(labels & {0.0, 1.0}) == 1}
    counted = ((contrary, "contradict each other"), (ties, "are ties"))
    return known, [f"labels of people of {count} pairs {what}: not used" for count, what in counted if count]
