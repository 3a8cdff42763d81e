"""The pairs of a run as a Hugging Face dataset: Parquet files by split and a card, readable with no code of ours.

Files hold no times and no paths: equal runs give equal bytes. They carry the hash of the pairs they were made from, so
the dataset is made anew when those change and only then.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen import store
from datagen.export import Finished
from datagen.export.card import facts, page
from datagen.export.card.columns import schema
from datagen.export.card.facts import SPLITS
from datagen.export.parts import pairs, pictured, readme

ABOUT = readme.About(
    __name__,
    "`datasets`, the hub's viewer, `training/run.py`, `datagen replay`, `datagen validate`",
    "Parquet files by split with all columns of a pair, and the card; what a run itself writes",
    'datasets.load_dataset("FOLDER", split="train")',
)
FILE_BYTES = 500_000_000  # what the hub recommends a file


def export(finished: Finished, folder: Path) -> None:
    """Write the dataset into an empty folder. Raises RunError if the disk refuses."""
    found = facts.gather(finished.run, finished.shards, finished.progress)
    for split in found.written():
        _write_split(finished, split, folder / "data", found.unmarked)
        found.sizes[split] = sum(path.stat().st_size for path in folder.glob(f"data/{split}-*"))
    card = page.render(finished, found)
    store.write_file(folder / "README.md", lambda file: file.write(card.encode()))


def stamp(dataset: Path) -> str | None:
    """The hash of the pairs that a dataset was written from; None if there is none, or not a whole one."""
    try:
        first = min(dataset.glob("data/train-*.parquet"))
        made_from: str = json.loads(pq.read_metadata(first).metadata[b"datagen"])["pairs"]
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    return made_from if (dataset / "README.md").exists() else None


def splits(dataset: Path) -> dict[str, int]:
    """Rows by split of a written dataset, from its footers."""
    return {
        split: sum(pq.read_metadata(path).num_rows for path in dataset.glob(f"data/{split}-*.parquet"))
        for split in SPLITS
    }


def _write_split(finished: Finished, split: str, folder: Path, unmarked: collections.Counter[str]) -> None:
    """Write one split's files, whole row groups of up to FILE_BYTES; two of them are in memory."""
    made_from = {"pairs": finished.content, **({"control": finished.control} if finished.control else {})}
    metadata = {**schema().metadata, b"datagen": json.dumps(made_from).encode()}
    target = schema().with_metadata(metadata)
    groups = _Ahead(store.row_groups(_tables(finished, split, target, unmarked)))
    name = f"{split}-control-{finished.control}" if finished.control else split

    def fill(file: Any) -> None:
        with store.parquet_writer(file, target) as writer:
            writer.write_table(groups.take())
            for _ in range(store.FILE_GROUPS - 1):
                if groups.next is None or file.tell() + groups.next.nbytes > FILE_BYTES:
                    break
                writer.write_table(groups.take())

    written: list[Path] = []
    while groups.next is not None:
        written.append(folder / f"{name}-{len(written):05d}.parquet")
        store.write_file(written[-1], fill)
    for path in written:  # how many they are is known now
        path.rename(path.with_name(f"{path.stem}-of-{len(written):05d}.parquet"))


class _Ahead:
    """Tables of which the next can be looked at; None when there are no more."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self.next: pa.Table | None = next(tables, None)

    def take(self) -> pa.Table:
        table, self.next = self.next, next(self._tables, None)
        return table


def _tables(
    finished: Finished, split: str, target: pa.Schema, unmarked: collections.Counter[str]
) -> Iterator[pa.Table]:
    """The rows of one split in order, in tables of at most a row group; one without rows first."""
    yield target.empty_table()
    for index in range(finished.shards):
        finished.progress(f"export {split}", index, finished.shards)
        for table in pictured.of_split(finished.run, index, target.names, split):
            yield pairs.marked(table, finished, unmarked).cast(target)
    finished.progress(f"export {split}", finished.shards, finished.shards)
