"""What is counted of all pairs: certainty, margins and how often what was promised came true."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from datagen.records import content_id
from datagen.report import charts, figures
from datagen.report.look import clean, data
from datagen.report.page import _percent
from tests.report.test_selection import entry


def test_pairs_are_counted_by_certainty_and_their_mean_is_what_is_to_be_expected() -> None:
    tally = figures.Tally(("a", "b"), (1.0, 1.0))
    tally.add([entry(0, 0.5), entry(1, 0.85), entry(2, 0.95)])
    tally.add([])
    tally.add([entry(3, 0.999), entry(4, 1.0)])
    assert [count for _, _, count in tally.sure()] == [1, 1, 0, 1, 2]
    assert tally.expected() == pytest.approx((0.5 + 0.85 + 0.95 + 0.999 + 1) / 5)
    assert tally.by["split"] == {"train": 5}
    assert math.isnan(figures.Tally(("a",), (1.0,)).expected())


def test_each_judges_margins_lie_in_its_own_measure_and_silence_is_no_margin() -> None:
    tally = figures.Tally(("a", "b"), (2.0, 1.0))
    tally.add([entry(0, margins=(2.0, math.nan)), entry(1, margins=(-2.0, 100.0)), entry(2, margins=(4.1, -100.0))])
    one, other = tally.margins()
    middle = figures.BARS // 2
    assert (sum(one.bars), one.silent, one.agrees) == (3, 0, pytest.approx(2 / 3))
    assert one.bars[middle + 3] == one.bars[middle - 3] == one.bars[middle + 6] == 1
    assert (other.bars[0], other.bars[-1], other.silent, other.agrees) == (1, 1, 1, 0.5)


def test_bins_hold_the_share_that_came_true_with_its_interval() -> None:
    promised = np.array([0.9] * 100 + [1.0] * 50)
    right = np.array([True] * 90 + [False] * 10 + [True] * 50)
    first, last = figures.bins(promised, right, np.arange(150))
    assert (first.low, first.promised, first.right.value, first.right.count) == (0.9, pytest.approx(0.9), 0.9, 100)
    assert first.right.low < 0.9 < first.right.high
    assert (last.low, last.right.value) == (0.99, 1.0) and last.right.low < 1
    assert figures.bins(np.array([]), np.array([], bool), np.array([])) == []


def test_judges_that_are_sure_of_the_contrary_are_sure() -> None:
    labels = pa.table({"prompt_id": ["a", "b", "c"], "judges_only": [0.97, 0.03, None]})
    (found,) = figures.sided(labels)
    assert (found.low, found.right.count, found.right.value) == (0.95, 2, 0.5)


def test_labels_are_held_against_the_word_of_people_whichever_image_they_were_told_is_chosen() -> None:
    labels = pa.table(
        {
            "prompt_id": ["a", "b", "c", "d", "e"],
            "chosen_id": ["x"] * 5,
            "rejected_id": ["y"] * 5,
            "probability": [0.97, 0.96, 0.04, None, 0.98],
        }
    )
    known = {content_id("a", "x", "y"): 1.0, content_id("b", "y", "x"): 1.0, content_id("c", "x", "y"): 0.0, "z": 1.0}
    (found,) = figures.by_people(labels, known)
    assert (found.low, found.right.count, found.right.value) == (0.95, 3, pytest.approx(2 / 3))
    assert found.promised == pytest.approx((0.97 + 0.96 + 0.96) / 3)
    assert figures.by_people(labels, {}) == figures.by_people(labels, {"stranger": 1.0}) == []


def test_drawings_stay_within_their_frame_and_name_what_they_show() -> None:
    drawing = charts.reliability(figures.bins(np.array([0.6] * 9), np.array([False] * 9), np.arange(9)), "a <b>")
    assert 'aria-label="a &lt;b&gt;"' in drawing
    assert ">0<" in drawing  # the axis reaches down to what came out


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100.0 %"), (0.99999, "99.9 %"), (0.29, "29.0 %"), (0.0, "0.0 %"), (math.nan, "–")]
)
def test_a_share_that_is_not_all_is_never_said_to_be(share: float, text: str) -> None:
    assert _percent(share) == text


def test_texts_of_rows_lose_what_would_turn_or_break_the_page() -> None:
    assert clean("a\u202ereversed\u202c\x00b\x1bc\nd\ud800") == "areversed�b�c\nd?"
    assert len(clean("x" * 20_000)) == 10_001
    assert "</script" not in data([{"prompt": "</script><b>&"}]) and "<" not in data([{"a": "<!--"}])
