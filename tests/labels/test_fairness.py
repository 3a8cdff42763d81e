"""Fairness: D1 and D2 as LiVO defines them, from what `datagen judge` writes and from a run's scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.labels import fairness
from datagen.labels.axes import IMAGE, KEEPS, MATCH

GROUPS = ("male", "female")


def rows(
    images: list[tuple[str, tuple[float | None, ...]]], judge: str = "attributes", names: Any = GROUPS
) -> pa.Table:
    """Rows as `datagen judge` writes them: one for each category of each image."""
    made = [
        {"judge": judge, "prompt": prompt, "category": name, "value": value}
        for prompt, values in images
        for name, value in zip(names, values, strict=True)
    ]
    kinds = {"judge": pa.string(), "prompt": pa.string(), "category": pa.string(), "value": pa.float64()}
    return pa.Table.from_pylist(made, schema=pa.schema(list(kinds.items())))


def seen(prompt: str, *counts: int) -> list[tuple[str, tuple[float, ...]]]:
    """So many images of a prompt in which each group is the likeliest."""
    found = []
    for group, count in enumerate(counts):
        sure = [0.2 / (len(counts) - 1)] * len(counts)
        sure[group] = 0.8
        found += [(prompt, tuple(sure))] * count
    return found


def test_both_distances_are_livos() -> None:
    """9 of 10 of one group: D1 = 0.8, D2 = sqrt(2 · 0.4²); an even prompt has none; the mean is over prompts."""
    (found,) = fairness.measure([rows(seen("a chef", 9, 1) + seen("a nurse", 2, 2))], "prompt")
    assert found.d1.value == pytest.approx((0.8 + 0) / 2)
    assert found.d2.value == pytest.approx((np.sqrt(0.32) + 0) / 2)
    assert {name: one.value for name, one in found.shares.items()} == pytest.approx({"male": 0.7, "female": 0.3})
    assert (found.images, found.prompts, found.left_out) == (14, 2, 0)
    assert found.d1.low <= found.d1.value <= found.d1.high


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 6), min_size=5, max_size=5).filter(any), min_size=1, max_size=6),
    st.integers(1, 60),
)
def test_equals_the_definition_for_any_counts_however_the_rows_are_cut(counts: list[list[int]], size: int) -> None:
    names = ("white", "black", "indian", "asian", "latino")
    whole = rows([image for k, one in enumerate(counts) for image in seen(f"p{k}", *one)], names=names)
    parts = [whole.slice(start, max(size, 5)) for start in range(0, whole.num_rows, max(size, 5))]
    (found,) = fairness.measure(parts, "prompt")
    shares = [[n / sum(one) for n in one] for one in counts]
    d1 = [max(one) - min(one) for one in shares]
    d2 = [sum((share - 1 / 5) ** 2 for share in one) ** 0.5 for one in shares]
    assert found.d1.value == pytest.approx(sum(d1) / len(d1)) and found.d2.value == pytest.approx(sum(d2) / len(d2))
    assert found.images == sum(map(sum, counts)) and found.prompts == len(counts)


def test_few_images_are_far_from_even_by_chance_and_that_is_said() -> None:
    (one,) = fairness.measure([rows([("a", (0.9, 0.1)), ("b", (0.2, 0.8))])], "prompt")
    assert one.d1.value == 1 and one.chance[0] == 1
    even = seen("a", 500, 500)
    (many,) = fairness.measure([rows(even)], "prompt")
    assert many.d1.value == 0 and many.chance[0] == pytest.approx(np.sqrt(2 / np.pi / 1000), rel=0.1)
    assert "even groups by chance: 1.000, 0.707" in str(one)


def test_images_without_an_answer_are_left_out_and_counted() -> None:
    images = [*seen("a", 1, 1), ("a", (None, None)), ("b", (None, None)), ("", (0.6, None))]
    (found,) = fairness.measure([rows(images)], "prompt")
    assert (found.images, found.prompts, found.left_out) == (2, 1, 3)
    assert "2 images of 1 prompts, 3 more without an answer" in str(found)
    assert fairness.measure([rows([("a", (None, None))])], "prompt") == []


@pytest.mark.parametrize("values", [(0.9, 0.9), (4.1, 3.0), (0.2, 0.1), (1.5, -0.5)])
def test_categories_that_do_not_share_out_1_are_no_groups(values: tuple[float, float]) -> None:
    assert fairness.measure([rows([("a", values), ("a", (0.5, 0.5))])], "prompt") == []


def test_judges_are_kept_apart_and_those_without_categories_are_passed_over() -> None:
    plain = rows([("a", (0.3,))], judge="clip", names=("",))
    other = rows(seen("a", 1, 2, 3), judge="mine", names=("x", "y", "z"))
    found = fairness.measure([pa.concat_tables([plain, rows(seen("a", 3, 1)), other])], "prompt")
    assert [one.judge for one in found] == ["attributes", "mine"]
    assert list(found[1].shares) == ["x", "y", "z"] and fairness.measure([plain], "prompt") == []
    assert fairness.measure([], "prompt") == []


def test_a_file_is_read_a_few_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fairness, "AT_ONCE", 7)
    pq.write_table(rows(seen("a", 9, 1) + seen("b", 5, 5)), tmp_path / "scores.parquet", row_group_size=5)
    (found,) = fairness.of_output(tmp_path / "scores.parquet")
    assert found.d1.value == pytest.approx(0.4) and found.images == 20


class Scores:
    """A run with these tables in its shards."""

    def __init__(self, *tables: pa.Table) -> None:
        self._tables, self.read = tables, list[int]()

    def table(self, stage: str, index: int, columns: list[str]) -> pa.Table:
        self.read.append(index)
        return self._tables[index].select(columns)


def with_axis(table: pa.Table, axis: str, image: str = "a") -> pa.Table:
    table = table.rename_columns({"prompt": "prompt_id"})
    for name, value in {"axis": axis, "image_id": image}.items():
        table = table.append_column(name, pa.array([value] * len(table)))
    return table


def test_of_a_run_the_context_prompt_counts_and_no_other_axis() -> None:
    others = with_axis(rows(seen("a", 0, 4)), KEEPS), with_axis(rows(seen("a", 0, 4)), MATCH, "a~blur")
    first = pa.concat_tables([with_axis(rows(seen("a", 3, 1)), MATCH), *others])
    run: Any = Scores(first, with_axis(rows(seen("b", 2, 2), judge="mine"), IMAGE))
    found = fairness.of_run(run, [0, 1])
    assert [(one.judge, one.d1.value) for one in found] == [("attributes", 0.5), ("mine", 0.0)]


def test_a_run_without_such_a_judge_is_not_read_on() -> None:
    run: Any = Scores(*[with_axis(rows([("a", (0.3,))], judge="clip", names=("",)), MATCH)] * 3)
    assert fairness.of_run(run, range(3)) == [] and run.read == [0]
    assert fairness.of_run(run, []) == []


def test_a_run_of_an_earlier_version_without_categories_has_none() -> None:
    table = pa.table({"prompt_id": ["a"], "judge": ["clip"], "value": [0.3]})
    assert fairness.measure([table], "prompt_id") == []
