"""The order of samples: functions of seed and step, also where every batch is of one bucket."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from training.loop.order import BLOCK, Order, batch_rows

BUCKETS = ["wide"] * 10 + ["tall"] * 5 + ["square"] * 25 + ["odd"] * 2


def test_without_buckets_or_with_one_it_is_the_plain_order() -> None:
    for buckets in ([None] * 10, ["square"] * 10):
        order = Order(buckets, 4, seed=7)
        for step in (0, 3, 1000):
            assert torch.equal(order.rows(step), batch_rows(10, 4, 7, step))
        assert order.small() == order.unseen(0) == 0


@pytest.mark.parametrize("size", [1, 4, 64])
def test_every_batch_is_whole_and_of_one_bucket(size: int) -> None:
    order = Order(BUCKETS, size, seed=0)
    for step in range(200):
        rows = order.rows(step).tolist()
        assert len(rows) == size and len({BUCKETS[row] for row in rows}) == 1


@pytest.mark.parametrize("step", [0, 5, BLOCK - 1, BLOCK, BLOCK + 7, 3 * BLOCK])
def test_a_step_is_the_same_whatever_was_asked_before(step: int) -> None:
    fresh, used = Order(BUCKETS, 4, seed=3), Order(BUCKETS, 4, seed=3)
    for other in (step + 1, 0, 2 * BLOCK, step // 2):
        used.rows(other)
    assert torch.equal(fresh.rows(step), used.rows(step))
    assert any(not torch.equal(fresh.rows(s), Order(BUCKETS, 4, seed=4).rows(s)) for s in range(5))


def test_no_sample_is_left_out_and_all_are_seen_about_equally_often() -> None:
    order = Order(BUCKETS, 4, seed=1)
    seen = Counter(row for step in range(4200) for row in order.rows(step).tolist())
    assert sorted(seen) == list(range(len(BUCKETS)))
    assert all(300 < count < 500 for count in seen.values())  # 400 on average
    for bucket in set(BUCKETS):  # within a bucket, pass by pass
        counts = [seen[row] for row, own in enumerate(BUCKETS) if own == bucket]
        assert max(counts) - min(counts) <= 1


def test_what_fills_no_batch_and_what_is_never_seen_is_counted() -> None:
    order = Order(BUCKETS, 4, seed=1)
    assert order.small() == 2  # of "odd"
    for steps in (0, 1, 5, 60, BLOCK + 3):
        seen = {row for step in range(steps) for row in order.rows(step).tolist()}
        assert order.unseen(steps) == len(BUCKETS) - len(seen)
