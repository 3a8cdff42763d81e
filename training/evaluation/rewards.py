"""Rewards that somebody else has computed: one table an arm, a row an image, matched by file name.

As `datagen judge` writes it: columns path and value (or score, reward), and judge where there are several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from training.errors import TrainingError
from training.evaluation.pictures import FILE_COLUMNS, read_rows

VALUE_COLUMNS = ("value", "score", "reward")


def scores(source: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Judge ("reward" where no column names one) → (N,) values in the order of `names`; NaN where a value is empty.

    Raises TrainingError for an image without a row, two rows of one image, or a value that is not a number.
    """
    rows = read_rows(source)
    columns = list(rows[0]) if rows else []
    file, value = (next((c for c in accepted if c in columns), None) for accepted in (FILE_COLUMNS, VALUE_COLUMNS))
    if file is None or value is None:
        raise TrainingError(f"{source} has columns {', '.join(columns) or 'none'}; needed: path, value")
    found: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows):
        own = found.setdefault(str(row.get("judge") or "reward"), {})
        name = PurePath(str(row[file])).name
        if name in own:
            raise TrainingError(f"{source} row {number}: {name} stands there twice")
        own[name] = _number(row[value], f"{source} row {number}")
    wanted = [PurePath(name).name for name in names]
    for judge, own in found.items():
        if missing := [name for name in wanted if name not in own]:
            raise TrainingError(f"{source} has no {judge} for {len(missing)} images ({', '.join(missing[:3])})")
    return {judge: np.array([own[name] for name in wanted]) for judge, own in found.items()}


def _number(value: object, where: str) -> float:
    """A finite number, or NaN for an empty cell: the judge abstained."""
    if value is None or value == "":
        return math.nan
    try:
        number = float(str(value))
    except ValueError:
        number = math.inf
    if math.isinf(number):
        raise TrainingError(f"{where}: {value!r} is not a number")
    return number
