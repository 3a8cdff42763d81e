"""One Parquet file as pairs, read without its images: our columns or Pick-a-Pic's.

The label columns alone decide which rows are kept, so ties cost no image byte.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from training.data.files import column_names, read_table
from training.data.image_sources import ImageSource, ParquetSource
from training.errors import TrainingError

OURS = ("prompt", "chosen", "rejected")
PICK_A_PIC = ("caption", "jpg_0", "jpg_1", "label_0", "label_1")
NUMBERS = {
    "probability": (0.0, 1.0, "a number from 0 to 1"),
    "weight": (0.0, math.inf, "a number of at least 0"),
    "chosen_reward": (-math.inf, math.inf, "a number"),
    "rejected_reward": (-math.inf, math.inf, "a number"),
}
CAPTIONS = ("chosen_prompt", "rejected_prompt")


@dataclasses.dataclass
class Part:
    """Pairs of one source: texts, the places of their images, and the further columns that it has by name.

    Pairs of one of the `pools` may exchange their rejected images; "" is a pair that stands for itself.
    """

    source: ImageSource
    prompts: list[str]
    principles: list[str]
    pools: list[str]
    chosen: list[int]
    rejected: list[int]
    numbers: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    captions: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    dropped: int = 0

    def first(self, count: int) -> Part:
        """The first pairs only."""
        columns: dict[str, Any] = {n: value[:count] for n, value in vars(self).items() if isinstance(value, list)}
        numbers = {name: value[:count] for name, value in self.numbers.items()}
        captions = {name: value[:count] for name, value in self.captions.items()}
        return dataclasses.replace(self, **columns, numbers=numbers, captions=captions)


def read(path: Path) -> Part:
    """The pairs of a Parquet file. Raises TrainingError naming file, row and column of whatever is unusable."""
    names = column_names(path)
    if set(OURS) <= set(names):
        return _ours(path, names)
    if set(PICK_A_PIC) <= set(names):
        return _pick_a_pic(path, names)
    wanted = min((OURS, PICK_A_PIC), key=lambda schema: len(set(schema) - set(names)))
    missing = ", ".join(name for name in wanted if name not in names)
    raise TrainingError(
        f"{path.name} has columns {', '.join(names)}; needed: {', '.join(OURS)} (and principle for livo), or "
        f"{', '.join(PICK_A_PIC)}; the nearest lacks {missing}"
    )


def _ours(path: Path, names: list[str]) -> Part:
    texts = [n for n in ("prompt", "principle", "pool", *CAPTIONS) if n in names]
    table = read_table(path, [*texts, *(n for n in NUMBERS if n in names)])
    rows, empty = range(table.num_rows), [""] * table.num_rows
    return Part(
        source=ParquetSource(path, ("chosen", "rejected")),
        prompts=_texts(table, "prompt", path),
        principles=_texts(table, "principle", path) if "principle" in names else empty,
        pools=_texts(table, "pool", path) if "pool" in names else empty,
        chosen=[2 * i for i in rows],
        rejected=[2 * i + 1 for i in rows],
        numbers={name: _numbers(table, name, path).tolist() for name in NUMBERS if name in names},
        captions={name: _texts(table, name, path) for name in CAPTIONS if name in names},
    )


def _pick_a_pic(path: Path, names: list[str]) -> Part:
    """The winner is the side with the higher label; equal labels (0.5 and 0.5, say) are a tie and are dropped.

    Labels that add up to 1 say how likely the winner is the better one, as a share of votes does.
    """
    given = [str(name) for name in ("probability", "weight") if name in names]
    table = read_table(path, ["caption", "label_0", "label_1", *given])
    labels = np.stack([_numbers(table, name, path) for name in ("label_0", "label_1")])
    kept = np.flatnonzero(labels[0] != labels[1])
    sums = labels[:, kept].sum(axis=0)
    likely = np.where(np.isclose(sums, 1.0) & (labels[:, kept] >= 0).all(axis=0), labels[:, kept].max(axis=0), 1.0)
    numbers = {name: _numbers(table, name, path)[kept].tolist() for name in given}
    if "probability" not in given:
        numbers["votes"] = likely.tolist()
    prompts, won = _texts(table, "caption", path), (labels[1] > labels[0])[kept]
    return Part(
        source=ParquetSource(path, ("jpg_0", "jpg_1")),
        prompts=[prompts[i] for i in kept],
        principles=[""] * len(kept),
        pools=[""] * len(kept),
        chosen=(2 * kept + won).tolist(),
        rejected=(2 * kept + ~won).tolist(),
        numbers=numbers,
        dropped=table.num_rows - len(kept),
    )


def _numbers(table: pa.Table, name: str, path: Path) -> np.ndarray:
    """A column as float64 (N,). Raises TrainingError for what is not a number or out of its range."""
    least, most, accepted = NUMBERS.get(name, (-math.inf, math.inf, "a number"))
    column = table[name]
    try:
        values = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise TrainingError(f"{path.name}: {name} must be {accepted}, not {column.type}") from error
    bad = np.flatnonzero(~((values >= least) & (values <= most) & np.isfinite(values)))
    if len(bad):
        value = column[int(bad[0])].as_py()
        raise TrainingError(f"{path.name} row {bad[0]}: {name} must be {accepted}, not {value}")
    return np.asarray(values)


def _texts(table: pa.Table, name: str, path: Path) -> list[str]:
    values: list[str] = table[name].to_pylist()
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise TrainingError(f"{path.name} row {i}: {name} must be a text, not {type(value).__name__}")
    return values
