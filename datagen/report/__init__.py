"""A finished run as one HTML page that opens offline: what was labelled, how far to trust it, the pairs themselves.

The run is only read, shard by shard; equal runs give equal pages.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from datagen import store
from datagen.errors import RunError
from datagen.progress import Progress
from datagen.report import entries, figures, page, selection, thumbnails, truth
from datagen.report.entries import Entry
from datagen.report.figures import Bin
from datagen.report.page import Card, Told

INLINE_BYTES = 20_000_000  # that the texts of a page, and the thumbnails in it, may take
MOST_INLINE = 3_000  # pairs that such a page may show
FEW = 128  # pairs of such a page whose pictures are made at once, to see how much room they take
MOST_BESIDE = 20_000  # pairs of a page with its pictures beside it
READ = 200  # pairs of the sample that are held against the truth
PAGE = "index.html"


@dataclasses.dataclass(frozen=True)
class Report:
    """A page that was written: how many pairs it is of, and how many of them it shows."""

    path: Path
    pairs: int
    shown: int


def write(
    told: Told, out: Path, *, folder: bool = False, progress: Progress = lambda what, done, total: None
) -> Report:
    """Write the page of a run to the file `out`; with `folder`, as index.html with its pictures in the folder `out`.

    RunError if the run has no pair, or if the folder holds something else.
    """
    if folder:
        _refuse_others(out)
    tally, shown = _looked_through(told, MOST_BESIDE if folder else MOST_INLINE, progress)
    if not tally.pairs:
        raise RunError(f"{told.run.root} published no pair: datagen status says why, and there is nothing to report")
    with store.writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        building = out.with_name(f".{out.name}{store.TEMPORARY}") if folder else None
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)
            (building / thumbnails.FOLDER).mkdir(parents=True)
        cards = _cards(told, shown, building, progress)
        text = page.render(told, tally, shown, cards, _true(cards, shown.sample), beside=folder)
        where = out if building is None else building / PAGE
        store.write_file(where, lambda file: file.write(text.encode("utf-8", "backslashreplace")))
        if building is not None:
            shutil.rmtree(out, ignore_errors=True)
            building.rename(out)
    return Report(out / PAGE if folder else out, tally.pairs, len(cards))


def _refuse_others(folder: Path) -> None:
    """RunError if a folder to be filled holds anything but an earlier page of ours."""
    ours = (folder / PAGE).is_file() and (folder / thumbnails.FOLDER).is_dir()
    if folder.exists() and not (folder.is_dir() and (ours or not any(folder.iterdir()))):
        raise RunError(f"{folder} holds something that is not a report: give another folder, or remove it")


def _looked_through(told: Told, most: int, progress: Progress) -> tuple[figures.Tally, selection.Shown]:
    """All pairs, counted, and those that the page may show."""
    scales, shards = figures.scales(told.learnt), told.finished.shards
    tally, kept = figures.Tally(told.judges, scales), selection.Selection(most, scales)
    for shard in range(shards):
        own = list(entries.of_shard(told.finished, shard, told.judges))
        tally.add(own)
        for entry in own:
            kept.offer(entry)
        progress("pairs", shard + 1, shards)
    return tally, kept.shown()


def _cards(told: Told, shown: selection.Shown, folder: Path | None, progress: Progress) -> dict[str, Card]:
    """The pairs with their pictures, by id in the order of `shown`, so many as fit into a page."""
    wanted = _fitting(shown.all(), page.text_bytes)
    read = {entry.pair_id for entry in shown.sample[:READ] if truth.is_known((entry.generator, _other(entry)))}
    found: dict[str, Card] = {}
    while len(found) < len(wanted) and (more := len(wanted) if folder else _room(found)):
        few = wanted[len(found) : len(found) + more]
        total = len(found) + len(few)
        for card in _made(told, few, folder, read):
            found[card.entry.pair_id] = card
            progress("pictures", len(found), total)
    if folder is None:
        wanted = _fitting(wanted[: len(found)], lambda entry: _bytes(found[entry.pair_id]))
    return {entry.pair_id: found[entry.pair_id] for entry in wanted}


def _room(found: dict[str, Card]) -> int:
    """How many more pairs to make pictures of, so that few are made in vain; 0 if the page is full."""
    if not found:
        return FEW
    taken = sum(map(_bytes, found.values()))
    return 0 if taken > INLINE_BYTES else max(FEW, len(found) * (INLINE_BYTES - taken) // taken)


def _bytes(card: Card) -> int:
    return page.text_bytes(card.entry) + card.pictures.bytes()


def _made(told: Told, wanted: Sequence[Entry], folder: Path | None, read: set[str]) -> Iterator[Card]:
    """Some pairs with their pictures, in the order of the run's shards."""
    for files, chosen, rejected in thumbnails.made(thumbnails.files(told.finished, wanted)):
        entry = files.entry
        pictures = (
            thumbnails.inline(chosen, rejected)
            if folder is None
            else thumbnails.beside(folder, entry, chosen, rejected)
        )
        texts = entry.chosen_prompt, entry.rejected_prompt
        true = truth.is_true(files.chosen, files.rejected, *texts) if entry.pair_id in read else None
        yield Card(entry, pictures, true)


def _fitting(entries: Sequence[Entry], size: Callable[[Entry], int]) -> list[Entry]:
    """So many of the first ones as a page may hold."""
    total = itertools.accumulate(map(size, entries))
    return [entry for entry, taken in zip(entries, total, strict=True) if taken <= INLINE_BYTES]


def _other(entry: Entry) -> str:
    return entry.rejected_generator or entry.generator


def _true(cards: dict[str, Card], sample: list[Entry]) -> list[Bin]:
    """What was promised of the sample against what its pictures show; nothing where that is not known."""
    told = [cards[entry.pair_id] for entry in sample if entry.pair_id in cards]
    told = [card for card in told if card.true is not None]
    promised = np.array([card.entry.probability for card in told])
    prompts = np.array([card.entry.prompt_id for card in told], dtype=object)
    return figures.bins(promised, np.array([card.true for card in told], dtype=bool), prompts)
