"""Rows and arrays that lie in temporary files are read as they were added, however many there are."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest

from datagen.errors import RunError
from datagen.text import aside
from datagen.text.aside import Aside, Rows


@pytest.mark.parametrize("count", [0, 1, aside.TOGETHER, 2 * aside.TOGETHER + 3])
def test_rows_come_in_order_as_often_as_they_are_asked_for(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "IN_MEMORY", 1000)
    rows = Rows((place, "x" * place) for place in range(count))
    assert len(rows) == count
    assert [list(rows), list(rows)] == [[(place, "x" * place) for place in range(count)]] * 2
    assert list(zip(rows, rows, strict=True)) == [(row, row) for row in rows]  # by two readers at once
    rows.add((-1, ""))
    assert (-1, "") in rows and len(rows) == count + 1


def test_an_array_is_what_was_put_there_before_and_after_it_is_released() -> None:
    behind, between = Aside(np.uint64), Aside(np.uint64)
    for part in np.split(np.arange(30_000), 3):
        behind.add(part)
    for first in (20_000, 0, 10_000):
        between.put(first, np.arange(first, first + 10_000))
    for made in (behind, between):
        assert (made.array == np.arange(30_000)).all()
        made.release()
        assert (made.array == np.arange(30_000)).all()
    assert len(Aside(np.uint64).array) == 0


def test_no_room_for_a_file_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(RunError, match="No space left on device.*TMPDIR"):
        Aside(np.uint64)
