"""Work done ahead by threads keeps its order, its bounds and its errors."""

from __future__ import annotations

import threading
import time

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


def test_there_is_at_least_one_thread() -> None:
    assert 1 <= threads() <= 16
