"""Ranked lists from pairs: by rewards where there are some, else by comparisons won."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from training import data


def tournament(dataset: Path) -> data.Pairs:
    """Three images of one prompt and two of another: 0 beats 1 and 2, 1 beats 2; 3 beats 4."""
    pairs = data.load(str(dataset), limit=4)
    chosen, rejected = [0, 0, 1, 3], [1, 2, 2, 4]
    return dataclasses.replace(pairs, prompts=["a", "a", "a", "b"], chosen=chosen, rejected=rejected)


def test_relevance_is_the_share_of_comparisons_won(dataset: Path) -> None:
    lists = data.as_lists(tournament(dataset))
    assert lists.prompts == ["a", "b"] and lists.rows == [[0, 1, 2], [3, 4]]
    assert lists.relevance == [[1.0, 0.5, 0.0], [1.0, 0.0]]


def test_an_uncertain_comparison_counts_in_part(dataset: Path) -> None:
    pairs = dataclasses.replace(tournament(dataset), probabilities=[0.9, 0.7, 0.6, 0.5])
    (first, second) = data.as_lists(pairs).relevance
    assert first == pytest.approx([0.8, (0.1 + 0.6) / 2, (0.3 + 0.4) / 2]) and second == [0.5, 0.5]


def test_rewards_decide_where_there_are_some(dataset: Path) -> None:
    rewards = {"chosen_rewards": [0.9, 0.9, 0.4, 0.3], "rejected_rewards": [0.4, 0.1, 0.1, 0.2]}
    pairs = dataclasses.replace(tournament(dataset), **rewards)
    assert data.as_lists(pairs).relevance == [[0.9, 0.4, 0.1], [0.3, 0.2]]
    wide = {name: [20 + 10 * value for value in values] for name, values in rewards.items()}
    lists = data.as_lists(dataclasses.replace(pairs, **wide))
    assert lists.relevance[0] == pytest.approx([1.0, 0.375, 0.0]) and lists.relevance[1] == pytest.approx(
        [0.25, 0.125]
    )
