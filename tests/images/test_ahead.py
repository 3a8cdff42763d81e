"""Work done ahead by threads keeps its order, its bounds and its errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.images.ahead import prefetch, threads


@given(st.lists(st.integers(), max_size=30), st.integers(1, 9))
def test_results_come_in_order_for_any_number_of_items_and_any_depth(items: list[int], depth: int) -> None:
    assert list(prefetch(lambda item: item * 2, items, depth)) == [item * 2 for item in items]


def test_slow_items_do_not_change_the_order() -> None:
    assert list(prefetch(lambda item: time.sleep(0.02 * (item == 0)) or item, range(10), 4)) == list(range(10))


def test_an_error_comes_in_its_place_and_ends_the_threads() -> None:
    before = threading.active_count()
    found = prefetch(lambda item: 1 // item, [1, 1, 0, 1], 3)
    assert [next(found), next(found)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert threading.active_count() == before


def test_items_are_read_no_further_ahead_than_asked_for_and_threads_end_when_nobody_waits() -> None:
    before, read = threading.active_count(), list[int]()
    items = (read.append(item) or item for item in range(1000))  # type: ignore[func-returns-value]
    found = prefetch(str, items, 4)
    assert [next(found) for _ in range(3)] == ["0", "1", "2"]
    assert len(read) <= 8
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before and len(read) <= 8


def test_an_interrupt_ends_the_threads_and_reaches_who_asked() -> None:
    def items() -> Iterator[int]:
        yield from range(6)
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        list(prefetch(str, items(), 4))
    assert threading.active_count() == before


def test_there_is_at_least_one_thread() -> None:
    assert 1 <= threads() <= 16
