"""What the answers of a review tell of the labels of a whole run, before and after."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from datagen.review import outcome
from datagen.review.journal import Planned
from datagen.review.outcome import Labels

PAIRS = [Planned(f"p{k}", f"a{k}", f"b{k}", "rest", k % 2 == 1) for k in range(4)]
IDS = [pair.pair_id for pair in PAIRS]


def labels(*probability: float, **reliability: float) -> Labels:
    return Labels(dict(zip(IDS, probability, strict=True)), reliability, ["as before"])


def compared(answers: list[str], weights: list[float], before: Labels, after: Labels) -> outcome.Outcome:
    margins = {IDS[0]: [1.0, math.nan], IDS[1]: [-1.0, 0.0], IDS[2]: [2.0, 3.0], IDS[3]: [1.0, -1.0]}
    return outcome.compare(
        PAIRS, dict(zip(IDS, answers, strict=True)), dict(zip(IDS, weights, strict=True)), margins, ["clip", "vlm"],
        (before, after), (40, 31),
    )  # fmt: skip


def test_an_answer_counts_as_the_pairs_it_stands_for() -> None:
    told = compared(
        ["chosen", "rejected", "tie", "chosen"], [1, 8, 5, 1], labels(0.9, 0.9, 0.9, 0.9), labels(0.9, 0.2, 0.9, 0.9)
    )
    assert told.agree[0] == pytest.approx(0.2) and told.agree[1] < 0.2 < told.agree[2]
    assert told.before.promised == pytest.approx(0.9) and told.before.right == pytest.approx(0.2)
    assert told.before.calibration == pytest.approx(0.7)
    assert told.after.right == pytest.approx(1.0) and told.after.calibration == pytest.approx((8 * 0.2 + 2 * 0.1) / 10)
    assert told.before.brier == pytest.approx((2 * 0.01 + 8 * 0.81) / 10)
    assert told.counts == {"chosen": 2, "rejected": 1, "tie": 1} and told.pairs == (40, 31)


def test_judges_are_held_against_decided_pairs_in_which_they_speak() -> None:
    told = compared(
        ["chosen", "rejected", "both bad", "chosen"],
        [1] * 4,
        labels(0.9, 0.9, 0.9, 0.9, clip=0.8),
        labels(0.9, 0.9, 0.9, 0.9, clip=0.7, vlm=0.6),
    )
    clip, vlm = told.judges
    assert (clip.agree, clip.count, clip.before, clip.after) == (1.0, 3, 0.8, 0.7)
    assert (vlm.agree, vlm.count, vlm.before, vlm.after) == (0.0, 1, None, 0.6)
    assert told.left == pytest.approx(2 / 3)  # p0 chosen is left, p1 turned: rejected is left, p3 turned: right
    assert any(line.startswith("vlm: people agree in 0 % of 1") for line in told.lines())


def test_labels_that_turned_are_read_from_the_side_that_people_were_asked() -> None:
    table = pa.table(
        {
            "prompt_id": ["p0", "p1", "p2"],
            "chosen_id": ["a0", "b1", "a2"],
            "rejected_id": ["b0", "a1", "b2"],
            "probability": [0.9, 0.8, None],
        }
    )
    found = outcome.labels(table, {"judges": [{"name": "clip", "reliability": 0.9}], "notes": []}, PAIRS)
    assert found.probability == {IDS[0]: 0.9, IDS[1]: pytest.approx(0.2)} and found.reliability == {"clip": 0.9}


def test_what_people_said_goes_on_without_what_was_skipped() -> None:
    rows = outcome.people_rows(PAIRS, {IDS[0]: "chosen", IDS[1]: "skip", IDS[3]: "both bad"}, {IDS[0]: 2.0})
    assert rows == [(IDS[0], "chosen", 2.0), (IDS[3], "both bad", None)]
