"""Is a dataset sound? Every problem of its files in one line each.

It reads what a trainer would read, image bytes included, a few rows at a time, and changes nothing. Of a run it reads
all tables as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from datagen import store
from datagen.commands.validate import card, dataset, tables
from datagen.errors import InputError
from datagen.store import sums


def problems(given: Path) -> Iterator[str]:
    """One line a problem of an OUT directory, an OUT/dataset directory or one Parquet file; nothing if it is sound.

    Raises InputError if there is no Parquet file to look at, RunError if a recipe.json is not that of a run.
    """
    run = store.Run(given)
    if run.settings() is not None:
        yield from tables.problems(run)
        root = run.dataset
    else:
        root = given
    files = dataset.files(root)
    if not files:
        why = f"{root} holds no Parquet file" if root.exists() else f"there is no {root}"
        raise InputError(f"{why}: give an --out directory that is finished, a dataset or a file")
    if root.is_dir() and (root == run.dataset or sums.format_of(root) is not None):
        yield from sums.differences(root)
    facts, wrong = card.read(root / "README.md")
    yield from wrong
    counts: dict[str, int] = {}
    yield from dataset.problems(root, files, card.splits(facts), counts)
    if root.is_dir():
        yield from card.problems(facts, root, files, counts)
