"""Shares are even, sum up, and follow from what is there; what is short is named with its reasons."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from datagen.records import Principle, Prompt
from datagen.writers.coverage import balance, quotas, shortages, targets

NAMES = st.dictionaries(st.text(max_size=3), st.integers(0, 50), max_size=12)


def principle(name: str, category: str) -> Principle:
    return Principle(name, "avoid", category, "statement", "{prompt}", "{prompt}", "", "", "author", "source")


def rows(name: str, category: str, count: int, error: str | None = None) -> list[Prompt]:
    blank = Prompt(
        "", name, category, "p", "c", "r", chosen_negative="", rejected_negative="", cluster="", split="train",
        author="a", error=error,
    )  # fmt: skip
    return [dataclasses.replace(blank, prompt_id=f"{name}{k}") for k in range(count)]


@given(NAMES, st.integers(0, 300))
def test_quotas_sum_up_and_are_as_even_as_the_supply_allows(supply: dict[str, int], count: int) -> None:
    given = quotas(supply, count)
    assert list(given) == list(supply)
    assert sum(given.values()) == min(count, sum(supply.values()))
    assert all(0 <= given[name] <= supply[name] for name in supply)
    most = max(given.values(), default=0)
    assert all(given[name] >= most - 1 for name in supply if given[name] < supply[name])


def test_the_remainder_goes_to_the_first_names() -> None:
    assert quotas(dict.fromkeys("abc", 99), 11) == {"a": 4, "b": 4, "c": 3}
    assert quotas({"a": 1, "b": 99, "c": 99}, 11) == {"a": 1, "b": 5, "c": 5}
    assert quotas({}, 5) == {}


def test_categories_share_evenly_however_many_principles_they_have() -> None:
    several = [principle("p1", "hate"), principle("p2", "hate"), principle("p3", "hate"), principle("q", "violence")]
    assert targets(several, 8) == {"p1": 2, "p2": 1, "p3": 1, "q": 4}


def test_balance_takes_the_first_rows_of_each_principle() -> None:
    found = balance([*rows("p1", "hate", 30), *rows("p2", "hate", 1), *rows("q", "violence", 30)], 10)
    assert [row.prompt_id for row in found] == ["p10", "p11", "p12", "p13", "p20", "q0", "q1", "q2", "q3", "q4"]


def test_a_short_principle_is_named_with_what_it_lost() -> None:
    several = [principle("p", "hate"), principle("q", "violence")]
    good = [*rows("p", "hate", 5), *rows("q", "violence", 3), *rows("q", "violence", 9, error="refused: no")]
    lines = shortages(several, good, 10, {"q": {"near-duplicate": 4, "too long": 9}})
    assert lines == ["violence: q has 3 of 5 prompts (9 too long, 4 near-duplicate)"]
    assert shortages(several, good, 6, {}) == []
