"""What a reader should know of how a run's images were drawn: what was asked for and did not count, by image.

From the tables alone, without their pictures: for the card, for `status` and for whoever started the run.
"""

from __future__ import annotations

import collections

from datagen import store

COLUMNS = ["unread", "negative_unread", "guidance", "notes"]
CUT = "wording longer than the model reads"
NEGATIVE_CUT = "negative prompt longer than the model reads"
NEGATIVE_IDLE = "negative prompt without effect, as guidance is not above 1"


def remarks(run: store.Run, shards: int) -> dict[str, int]:
    """Remark → images it is true of, the most frequent first; of the shards that are done."""
    counts = collections.Counter[str]()
    for index in range(shards):
        if run.shard("images", index).exists():
            for row in run.table("images", index, COLUMNS).to_pylist():
                counts.update(_of_row(**row))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _of_row(unread: int = 0, negative_unread: int = 0, guidance: float = 0.0, notes: str = "") -> list[str]:
    found = [note for note in notes.split("; ") if note]
    if unread:
        found.append(CUT)
    if negative_unread:
        found.append(NEGATIVE_CUT if guidance > 1 else NEGATIVE_IDLE)
    return found


def lines(counts: dict[str, int], images: int) -> list[str]:
    """The remarks for people, one a line."""
    return [f"{count:,} of {images:,} images: {remark}" for remark, count in counts.items()]
