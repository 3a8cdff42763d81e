"""What a model is made to be is what is recovered of it, and a server says the same as the function that it runs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.data import stub_vlm
from benchmarks.support.vlm_server import Taste, first_wins


def test_over_http_the_model_says_what_the_function_says() -> None:
    ahead, behind, rate = stub_vlm.over_http(40)
    for said, expected in zip((ahead, behind), stub_vlm.by_function(stub_vlm.SEED, 40), strict=True):
        np.testing.assert_allclose(said, expected)
    assert rate > 0


@pytest.mark.parametrize(("accuracy", "bias"), [(0.7, 0.3), (0.9, 0.0), (0.6, 0.6), (1.0, 0.2)])
def test_accuracy_and_bias_are_recovered_whatever_they_are(
    accuracy: float, bias: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stub_vlm, "TASTE", Taste(accuracy, bias))
    found = np.mean([stub_vlm.recovered(*stub_vlm.by_function(seed, 1_000))[:2] for seed in range(6)], axis=0)
    assert found == pytest.approx([accuracy, bias], abs=0.035)


def test_a_label_of_both_orders_does_not_hang_on_who_stands_first_and_one_of_one_order_does() -> None:
    ahead, behind = stub_vlm.by_function(3, 1_000)
    np.testing.assert_allclose(stub_vlm.labels(ahead, behind) + stub_vlm.labels(behind, ahead), 1, atol=1e-12)
    _, _, single, both = stub_vlm.recovered(ahead, behind)
    assert single > 0.05 and abs(both) < single / 3


def test_an_answer_hangs_on_seed_pair_and_order_alone() -> None:
    said = {
        (seed, pair, first): first_wins(Taste(), seed, pair, first, 0)
        for seed in (0, 1)
        for pair in range(50)
        for first in (0, 1)
    }
    assert len(set(said.values())) == len(said)
    assert said == {key: first_wins(Taste(), *key, 0) for key in reversed(said)}
