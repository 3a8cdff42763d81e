"""Which pairs a person is asked, and how many pairs of the run each answer stands for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.review import sample
from datagen.review.journal import SKIP


def labels(probabilities: list[float | None]) -> pa.Table:
    names = [str(k) for k in range(len(probabilities))]
    return pa.table(
        {
            "prompt_id": names,
            "chosen_id": [f"c{name}" for name in names],
            "rejected_id": [f"r{name}" for name in names],
            "reason": ["low" if (p or 0) < 0.9 else None for p in probabilities],
            "probability": pa.array(probabilities, pa.float64()),
        }
    )


def test_half_are_the_least_certain_quarter_and_sides_are_exchanged_in_half() -> None:
    values = np.random.default_rng(0).uniform(0.5, 1, 1000)
    found, sizes = sample.draw(labels(values.tolist()), 200, 7)
    assert sizes == {sample.UNCERTAIN: 250, sample.REST: 750}
    uncertain = [values[int(pair.prompt_id)] for pair in found if pair.stratum == sample.UNCERTAIN]
    others = [values[int(pair.prompt_id)] for pair in found if pair.stratum == sample.REST]
    assert len(uncertain) == len(others) == 100 and max(uncertain) <= min(others)
    assert 70 <= sum(pair.turned for pair in found) <= 130
    assert len({pair.pair_id for pair in found}) == 200


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=40), st.integers(1, 50), st.integers(0, 5))
def test_each_pair_is_asked_once_and_only_those_with_a_probability(
    values: list[float | None], count: int, seed: int
) -> None:
    first, sizes = sample.draw(labels(values), count, seed)
    there = sum(value is not None for value in values)
    assert sum(sizes.values()) == there and len(first) == min(count, there)
    more, _ = sample.draw(labels(values), 50, seed + 1, first)
    assert len({pair.prompt_id for pair in (*first, *more)}) == there
    assert sample.draw(labels(values), count, seed) == (first, sizes)


def test_a_pair_that_turned_since_is_not_asked_again() -> None:
    first, _ = sample.draw(labels([0.6] * 8), 8, 0)
    table = labels([0.6] * 8)
    turned = table.rename_columns(["prompt_id", "rejected_id", "chosen_id", "reason", "probability"])
    assert sample.draw(turned, 8, 0, first)[0] == []


@pytest.mark.parametrize("answered", [1, 7, 20, 40])
def test_weights_of_any_beginning_add_up_to_the_run(answered: int) -> None:
    found, sizes = sample.draw(labels(np.linspace(0.5, 1, 100).tolist()), 40, 3)
    answers = {pair.pair_id: "tie" for pair in found[:answered]} | {found[-1].pair_id: SKIP}
    weights = sample.weights(found, answers, sizes)
    strata = {pair.stratum for pair in found[: answered if answered < 40 else 39]}
    assert sum(weights.values()) == pytest.approx(sum(sizes[name] for name in strata))
    assert found[-1].pair_id not in weights
