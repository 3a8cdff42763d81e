"""Scores of Bradley and Terry's model with ties: they find an order, say what is even, and need few meetings."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from datagen.labels import pairing, ranking
from datagen.records import Label


def met(count: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.array(pairing.meetings(count), np.int64).reshape(-1, 2)
    return places[:, 0], places[:, 1]


@pytest.mark.parametrize(("count", "pairs"), [(0, 0), (1, 0), (2, 1), (3, 3), (8, 28), (9, 36), (10_000, 75_000)])
def test_so_many_candidates_make_so_many_meetings(count: int, pairs: int) -> None:
    assert len(pairing.meetings(count)) == pairs


@given(st.integers(2, 200))
def test_all_candidates_hang_together_and_none_meets_itself_or_one_twice(count: int) -> None:
    places = pairing.meetings(count)
    assert len(set(places)) == len(places) and all(0 <= one < other < count for one, other in places)
    reached, todo = {0}, [0]
    near = {k: [b for a, b in places if a == k] + [a for a, b in places if b == k] for k in range(count)}
    while todo:
        new = [k for k in near[todo.pop()] if k not in reached]
        reached |= set(new)
        todo += new
    assert len(reached) == count


@pytest.mark.parametrize("count", [2, 5, 8, 30, 500])
def test_the_order_that_probabilities_come_from_is_found(count: int) -> None:
    true = np.random.default_rng(count).permutation(np.linspace(-3, 3, count))
    first, second = met(count)
    found, ties = ranking.scores(first, second, special.expit(true[first] - true[second]), count)
    assert np.corrcoef(np.argsort(np.argsort(found)), np.argsort(np.argsort(true)))[0, 1] > 0.98
    assert abs(found.mean()) < 1e-3 and ties > 0


def test_even_probabilities_are_ties_and_scores_that_do_not_differ() -> None:
    first, second = met(6)
    found, ties = ranking.scores(first, second, np.full(len(first), 0.5), 6)
    assert np.abs(found).max() < 1e-6 and ties > 10
    assert ranking.scores(first[:0], second[:0], np.zeros(0), 6)[0].tolist() == [0.0] * 6


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_exchanged_sides_give_the_same_scores(p: list[float]) -> None:
    first, second = met(3)
    one, _ = ranking.scores(first, second, np.array(p), 3)
    other, _ = ranking.scores(second, first, 1 - np.array(p), 3)
    assert np.isfinite(one).all() and np.allclose(one, other, atol=1e-3)


def test_lists_are_of_all_labels_with_a_probability_prompt_by_prompt() -> None:
    labels = [Label("p", a, b, "compared", 0.9) for a, b in itertools.combinations("abcd", 2)]
    labels += [Label("q", "", "", "no image"), Label("r", "y", "x", None, 0.6), Label("r", "z", "x", None, None)]
    lists = ranking.of_labels(labels)
    assert [one.image_id for one in lists["p"]] == list("abcd") and {one.met for one in lists["p"]} == {3}
    assert [one.image_id for one in lists["r"]] == ["y", "x"] and "q" not in lists
    assert lists["r"][0].score == pytest.approx(-lists["r"][1].score)
    assert ranking.of_labels([]) == {}


@pytest.mark.parametrize("at_once", [1, 7, 20, 10_000])
def test_lists_of_many_labels_are_made_prompt_by_prompt_in_the_same_order(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chances = np.random.default_rng(0).uniform(0.5, 1, (9, 10)).tolist()
    labels = [
        Label(f"p{k}", *two, None, chance)
        for k, some in enumerate(chances)
        for two, chance in zip(itertools.combinations("abcde", 2), some, strict=True)
    ]
    whole = ranking.of_labels(labels)
    monkeypatch.setattr(ranking, "AT_ONCE", at_once)
    columns = {name: [getattr(label, name) for label in labels] for name in ranking.COLUMNS}
    parts = pa.table(columns).to_batches(max_chunksize=13)
    found = list(ranking.of_tables(pa.Table.from_batches([part]) for part in parts))
    assert [prompt for prompt, _ in found] == list(whole)
    for prompt, some in found:
        assert {one.image_id: one.met for one in some} == dict.fromkeys("abcde", 4)
        if at_once >= 20:  # enough to learn from them how often there are ties
            assert [one.image_id for one in some] == [one.image_id for one in whole[prompt]]
    assert at_once < len(labels) or dict(found) == whole
