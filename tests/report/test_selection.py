"""Which pairs a page shows: those that tell most, and a sample that no score and no order has a say in."""

from __future__ import annotations

import math
import random

from datagen.report.entries import Entry
from datagen.report.selection import FEATURED, Selection, disputed

COUNT = 300


def entry(number: int, probability: float = 0.9, margins: tuple[float, ...] = (1.0, 1.0)) -> Entry:
    return Entry(
        f"pair {number}", f"p{number}", "a chair", "calm", "style", "prefer", "a calm chair", "a wild chair", "train",
        "neutral", "sd15", "sd15", probability, 0.8, 1.0, 0.9, 1, 2, margins, 0, number,
    )  # fmt: skip


def entries() -> list[Entry]:
    values = random.Random(0)
    return [
        entry(number, 0.5 + values.random() / 2, (values.gauss(1, 1), values.gauss(1, 1))) for number in range(COUNT)
    ]


def test_the_least_and_the_most_certain_and_the_most_disputed_pairs_come_first() -> None:
    given, kept = entries(), Selection(50, (1.0, 2.0))
    for one in given:
        kept.offer(one)
    shown = kept.shown()
    by_probability = sorted(given, key=lambda one: one.probability)
    assert shown.least_certain == by_probability[:FEATURED]
    assert shown.most_certain == by_probability[::-1][:FEATURED]
    assert shown.disputed == sorted(given, key=lambda one: -disputed(one, (1.0, 2.0)))[:FEATURED]
    assert len(shown.sample) == 50


def test_the_order_of_the_shards_has_no_say() -> None:
    given, seen = entries(), []
    for seed in range(3):
        kept = Selection(40, (1.0, 1.0))
        for one in random.Random(seed).sample(given, COUNT):
            kept.offer(one)
        seen.append(kept.shown())
    assert seen[0] == seen[1] == seen[2]


def test_a_sample_is_of_all_pairs_whatever_their_probability() -> None:
    kept = Selection(100, (1.0, 1.0))
    for number in range(2000):
        kept.offer(entry(number, 0.55 if number % 4 == 0 else 0.99))
    share = sum(one.probability < 0.6 for one in kept.shown().sample) / 100
    assert 0.1 < share < 0.42  # 25 of 100, within four standard deviations


def test_a_pair_that_stands_in_several_lists_is_shown_once_and_a_small_run_whole() -> None:
    kept = Selection(50, (1.0, 1.0))
    for number in range(4):
        kept.offer(entry(number, 0.6 + number / 10, (2.0, -1.0)))
    shown = kept.shown()
    assert [one.row for one in shown.all()] == [0, 1, 2, 3]
    assert [one.row for one in shown.most_certain] == [3, 2, 1, 0]


def test_judges_disagree_by_their_own_usual_margins_and_one_that_is_silent_has_no_say() -> None:
    assert disputed(entry(0, margins=(1.0, 3.0)), (1.0, 1.0)) == 0
    assert disputed(entry(0, margins=(-1.0, -3.0)), (1.0, 1.0)) == 0
    assert disputed(entry(0, margins=(1.0, -6.0)), (1.0, 3.0)) == 3
    assert disputed(entry(0, margins=(1.0, math.nan)), (1.0, 1.0)) == 0
    assert disputed(entry(0, margins=()), ()) == 0
