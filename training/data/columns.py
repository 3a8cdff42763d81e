"""One table as pairs, read without its images: our columns, or those of any layout of pairs that others publish.

The label columns alone decide which rows are kept, so ties cost no image byte. A row that cannot be used is remembered
with the reason, and the others are read.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datagen.tables import cells, layouts, parquet
from datagen.tables.layouts import OURS, PICK_A_PIC, Layout, number
from datagen.tables.text import BOM
from training.data.image_sources import ImageSource
from training.data.tables import Table
from training.errors import TrainingError

NUMBERS = {
    "probability": (0.0, 1.0, "a number from 0 to 1"),
    "weight": (0.0, math.inf, "a number of at least 0"),
    "chosen_reward": (-math.inf, math.inf, "a number"),
    "rejected_reward": (-math.inf, math.inf, "a number"),
}
CAPTIONS = ("chosen_prompt", "rejected_prompt")
READ = {*layouts.COLUMNS, "principle", "pool", *CAPTIONS, *NUMBERS}


@dataclasses.dataclass
class Part:
    """Pairs of one source: texts, the places of their images, and the further columns that it has by name.

    Pairs of one of the `pools` may exchange their rejected images; "" is a pair that stands for itself. `bad` are the
    pairs that cannot be used, and why.
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
    bad: dict[int, str] = dataclasses.field(default_factory=dict)

    def keep(self, kept: Sequence[int]) -> Part:
        """Some of the pairs only, in order."""
        columns: dict[str, Any] = {
            name: [value[i] for i in kept] for name, value in vars(self).items() if isinstance(value, list)
        }
        numbers = {name: [value[i] for i in kept] for name, value in self.numbers.items()}
        captions = {name: [value[i] for i in kept] for name, value in self.captions.items()}
        bad = {new: self.bad[old] for new, old in enumerate(kept) if old in self.bad}
        return dataclasses.replace(self, **columns, numbers=numbers, captions=captions, bad=bad)


class Columns:
    """The columns of a table under the names that this package reads; `bad` collects the rows that cannot be used."""

    def __init__(self, table: Table, names: Mapping[str, str]) -> None:
        self.table, self.bad = table, dict[int, str]()
        self.names = {name: name for name in table.names if name in READ and name not in names.values()}
        for side in layouts.IMAGES:
            if side not in self.names and f"{side}{layouts.FILE_NAME}" in table.names:
                self.names[side] = f"{side}{layouts.FILE_NAME}"
        if unknown := [name for name in names.values() if name not in table.names]:
            raise TrainingError(
                f"{table.path.name} has no column {unknown[0]!r}, which --columns names; it has "
                f"{', '.join(table.names)}"
            )
        self.names |= names

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self.names

    def images(self, columns: Sequence[str]) -> ImageSource:
        """The images of some columns."""
        return self.table.images([self.names[name] for name in columns])

    def values(self, name: str) -> list[Any]:
        """A column's cells as they are."""
        return self.table.values(self.names[name])

    def texts(self, name: str, *, blank: bool = True) -> list[str]:
        """A column of texts, where "" stands for what is none; `blank` ones may be meant."""
        kind = self.table.types[self.names[name]]
        if kind is not None and not (parquet.is_text(kind) or pa.types.is_null(kind)):
            raise TrainingError(f"{self.table.path.name}: {name} must be a text, not {kind}")
        values = [value.removeprefix(BOM) if isinstance(value, str) else value for value in self.values(name)]
        for row, value in enumerate(values):
            if isinstance(value, str) and blank and not value.strip():
                continue
            try:
                cells.text_of(value)
            except cells.Unusable as error:
                what = cells.kind_of(value)
                if isinstance(value, str):
                    what = "half of a character" if "surrogate" in str(error) else "blank"
                self._mark(row, f"{name} must be a text, not {what}")
                values[row] = ""
        return values

    def numbers(self, name: str) -> np.ndarray:
        """A column as float64 (N,), 0 where a cell is not a number or out of its range."""
        least, most, accepted = NUMBERS.get(name, (-math.inf, math.inf, "a number"))
        kind = self.table.types[self.names[name]]
        if kind is not None and (pa.types.is_nested(kind) or parquet.is_text(kind) or parquet.is_image(kind)):
            raise TrainingError(f"{self.table.path.name}: {name} must be {accepted}, not {kind}")
        if kind is not None and pa.types.is_boolean(kind) and name in NUMBERS:  # yes and no are labels, no numbers
            raise TrainingError(f"{self.table.path.name}: {name} must be {accepted}, not {kind}")
        values = self.values(name)
        found = np.array([number(value) for value in values], dtype=np.float64)
        for row in np.flatnonzero(~((found >= least) & (found <= most) & np.isfinite(found))).tolist():
            self._mark(row, f"{name} must be {accepted}, not {values[row]}")
            found[row] = 0.0
        return found

    def _mark(self, row: int, why: str) -> None:
        self.bad.setdefault(row, f"{self.table.where(row)}: {why}")


def read(path: Path, root: Path | None = None, names: Mapping[str, str] | None = None) -> Part:
    """The pairs of a table in the data set at `root`; `names` are its columns where they are called otherwise.

    Raises TrainingError naming file and column of what cannot be read at all.
    """
    table = Table(path, root or path.parent)
    columns = Columns(table, names or {})
    layout = layouts.find(columns.names.keys())
    prompt = layout.prompt(columns.has) if layout else None
    if layout is not None and prompt is not None and not layout.labels:
        return _ours(columns, layout, prompt)
    labels = layout.label(columns.has) if layout else None
    if layout is not None and prompt is not None and labels is not None:
        return _labelled(columns, layout, prompt, labels)
    raise _refusal(path, columns)


def _refusal(path: Path, columns: Columns) -> TrainingError:
    """What a table lacks, held against the layout that it comes nearest to."""
    needed = [_needed(layout) for layout in layouts.LAYOUTS]
    missing = min(([name for name in names if not columns.has(name)] for names in needed), key=len)
    return TrainingError(
        f"{path.name} has columns {', '.join(columns.table.names)}; needed: {', '.join(_needed(OURS))} (and principle "
        f"for livo), or {', '.join(_needed(PICK_A_PIC))}, under these names or by --columns; the nearest lacks "
        f"{', '.join(missing)}"
    )


def _needed(layout: Layout) -> list[str]:
    return [layout.prompts[0], *layout.images, *(layout.labels[0] if layout.labels else ())]


def _ours(columns: Columns, layout: Layout, prompt: str) -> Part:
    count = len(columns.table)
    rows, empty = range(count), [""] * count
    return Part(
        source=columns.images(layout.images),
        prompts=columns.texts(prompt, blank=False),
        principles=columns.texts("principle") if columns.has("principle") else empty,
        pools=columns.texts("pool") if columns.has("pool") else empty,
        chosen=[2 * i for i in rows],
        rejected=[2 * i + 1 for i in rows],
        numbers={name: columns.numbers(name).tolist() for name in NUMBERS if columns.has(name)},
        captions={name: columns.texts(name, blank=False) for name in CAPTIONS if columns.has(name)},
        bad=columns.bad,
    )


def _labelled(columns: Columns, layout: Layout, prompt: str, names: tuple[str, str]) -> Part:
    """The winner is the side with the higher label; equal labels (0.5 and 0.5, say) are a tie and are dropped.

    So are rows that nobody compared. Labels that add up to 1 say how likely the winner is the better one, as a share
    of votes does.
    """
    given = [str(name) for name in ("probability", "weight") if columns.has(name)]
    labels = np.stack([columns.numbers(name) for name in names])
    ties = labels[0] == labels[1]
    ties[list(columns.bad)] = False  # what has no label is no tie
    if columns.has(layouts.HAS_LABEL):
        ties |= np.array([layouts.is_false(value) for value in columns.values(layouts.HAS_LABEL)], dtype=bool)
    kept = np.flatnonzero(~ties)
    sums = labels[:, kept].sum(axis=0)
    likely = np.where(np.isclose(sums, 1.0) & (labels[:, kept] >= 0).all(axis=0), labels[:, kept].max(axis=0), 1.0)
    numbers = {name: columns.numbers(name)[kept].tolist() for name in given}
    if "probability" not in given:
        numbers["votes"] = likely.tolist()
    prompts, won = columns.texts(prompt, blank=False), (labels[1] > labels[0])[kept]
    return Part(
        source=columns.images(layout.images),
        prompts=[prompts[i] for i in kept],
        principles=[""] * len(kept),
        pools=[""] * len(kept),
        chosen=(2 * kept + won).tolist(),
        rejected=(2 * kept + ~won).tolist(),
        numbers=numbers,
        dropped=len(columns.table) - len(kept),
        bad={new: columns.bad[old] for new, old in enumerate(kept.tolist()) if old in columns.bad},
    )
