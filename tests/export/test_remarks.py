"""What is said of a run's images: counted by image, with and without guidance, and of shards that are done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datagen import records, store
from datagen.export.remarks import CUT, NEGATIVE_CUT, NEGATIVE_IDLE, lines, remarks
from datagen.records import Image


def image(number: int, guidance: float = 7.0, **changes: Any) -> Image:
    return Image(
        str(number), "p", "chosen", number, "t", "n", 0, "g", "r", "S", 20, guidance, 8, 8, b"png", **changes
    )  # fmt: skip


def test_what_did_not_count_is_counted_by_image(tmp_path: Path) -> None:
    run = store.Run(tmp_path)
    footer: dict[str, Any] = {"errors": 0, "seconds": 0.0, "digest": "d", "version": "1", "drops": {}}
    shards = {
        0: [image(0), image(1, unread=3), image(2, unread=1, negative_unread=2)],
        2: [
            image(3, guidance=1.0, negative_unread=2),
            image(4, guidance=0.0, notes="one; two"),
            image(5, notes="two"),
        ],
    }
    for index, rows in shards.items():
        run.commit("images", index, records.to_table(Image, rows), **footer)
    found = remarks(run, 4)
    assert found == {CUT: 2, "two": 2, NEGATIVE_CUT: 1, NEGATIVE_IDLE: 1, "one": 1}
    assert f"2 of 6 images: {CUT}" in lines(found, 6)
    assert remarks(run, 0) == {} and remarks(store.Run(tmp_path / "none"), 3) == {}
