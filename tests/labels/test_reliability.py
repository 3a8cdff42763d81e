"""What is known of a judge from pairs with known labels: closed forms, and judges whose faults are planted."""

from __future__ import annotations

import numpy as np
import pytest

from datagen.labels import reliability

NAN = float("nan")


def test_accuracy_is_of_decided_pairs_with_known_labels() -> None:
    margins = np.array([1.0, -2.0, 3.0, 0.0, NAN, 5.0])
    labels = np.array([1.0, 0.0, 0.2, 1.0, 1.0, 0.5])
    found = reliability.of_scores(margins, labels, np.arange(6))
    assert (found.accuracy.value, found.accuracy.count) == (pytest.approx(2 / 3), 3)
    assert (found.ties.value, found.ties.count, found.coverage) == (0.25, 4, 0.8)
    assert found.first is None and found.unbiased is None


def test_nothing_known_is_no_number() -> None:
    found = reliability.of_scores(np.array([1.0]), np.array([NAN]), np.array(["a"]))
    assert np.isnan(found.accuracy.value) and np.isnan(found.coverage) and str(found.accuracy) == "-"


def test_intervals_hold_the_truth_about_as_often_as_they_say_and_grow_where_prompts_repeat() -> None:
    random, held = np.random.default_rng(1), 0
    for _ in range(100):
        values = random.random(150) < 0.8
        found = reliability.share(values, np.ones(150, bool), np.arange(150))
        held += found.low <= 0.8 <= found.high
    assert 88 <= held <= 99
    once = reliability.share(values, np.ones(150, bool), np.arange(150))
    ten = reliability.share(np.repeat(values[:15], 10), np.ones(150, bool), np.repeat(np.arange(15), 10))
    assert ten.high - ten.low > 1.5 * (once.high - once.low)
    always = reliability.share(np.ones(20), np.ones(20, bool), np.arange(20))
    assert always.value == 1.0 and 0.8 < always.low < 0.9 and always.high == 1.0


@pytest.mark.parametrize(("accuracy", "bias"), [(0.7, 0.3), (0.9, 0.0), (0.6, -0.5)])
def test_the_accuracy_and_the_liking_for_a_place_of_a_judge_are_both_found(accuracy: float, bias: float) -> None:
    random, count = np.random.default_rng(0), 20_000
    truth = random.random(count) < 0.5  # the first image is better

    def answers(first_is_better: np.ndarray) -> np.ndarray:
        by_place = random.random(count) < abs(bias)
        right = np.where(random.random(count) < accuracy, first_is_better, ~first_is_better)
        return np.where(by_place, bias > 0, right).astype(float)

    found = reliability.of_orders(answers(truth), answers(~truth), truth.astype(float), np.arange(count))
    assert found.first is not None and found.first.value == pytest.approx(0.5 + bias / 2, abs=0.01)
    assert found.unbiased == pytest.approx(accuracy, abs=0.01)
    assert found.consistent is not None
    right_both = (abs(bias) / 2 + (1 - abs(bias)) * accuracy) ** 2
    assert found.consistent.value < 2 * right_both  # the place's answers contradict each other
    assert found.accuracy.value > accuracy - 0.01  # contradictions are ties


def test_agreement_and_errors_of_two_judges() -> None:
    margins = np.array([[1.0, 1.0, -1.0], [1.0, -1.0, NAN], [-1.0, -1.0, 0.0], [1.0, 1.0, 1.0]])
    found = reliability.agreement(margins)
    np.testing.assert_allclose(found, [[1, 0.75, 0.5], [0.75, 1, 0.5], [0.5, 0.5, 1]])
    labels = np.array([1.0, 1.0, 1.0, 0.0])
    wrong = np.array([[0, 0], [0, 1], [1, 1], [1, 1]])
    expected = np.corrcoef(wrong[:, 0], wrong[:, 1])[0, 1]
    assert reliability.error_correlation(margins, labels)[0, 1] == pytest.approx(expected)
    assert np.isnan(reliability.agreement(np.full((2, 2), NAN))).all()
    assert np.isnan(reliability.error_correlation(np.ones((3, 1)), np.ones(3))).all()
