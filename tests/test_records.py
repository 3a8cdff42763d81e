import dataclasses
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen import records
from datagen.records import Verdict

numbers = st.lists(st.floats(allow_infinity=False, width=64), max_size=4)


@st.composite
def verdicts(draw: st.DrawFn) -> list[Verdict]:
    return [
        Verdict(str(k), "p", "chosen", k, draw(st.sampled_from([None, "no judge"])), draw(numbers), [], [0.5], [],
                math.nan, draw(numbers), ["a"], [draw(st.text(max_size=3))])
        for k in range(draw(st.integers(0, 5)))
    ]  # fmt: skip


@given(verdicts(), st.integers(0, 5))
def test_rows_are_the_same_after_a_table_however_it_is_cut(rows: list[Verdict], cut: int) -> None:
    table = records.to_table(Verdict, rows)
    parts = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    for found in (records.from_table(Verdict, table), records.from_table(Verdict, parts)):
        np.testing.assert_equal(
            [dataclasses.astuple(row) for row in found], [dataclasses.astuple(row) for row in rows]
        )


def test_columns_in_another_order_are_read_by_name_and_those_of_another_record_refused() -> None:
    row = Verdict("i", "p", "chosen", 3, None, [1.0], [2.0], [3.0], [4.0], 0.5)
    table = records.to_table(Verdict, [row])
    assert records.from_table(Verdict, table.select(table.column_names[::-1])) == [row]
    assert records.from_table(Verdict, table.drop_columns(["judges", "scores"])) == [row]
    with pytest.raises(TypeError):
        records.from_table(Verdict, table.select(["image_id", "prompt_id"]))
    with pytest.raises(TypeError):
        records.from_table(records.Label, table)


def test_an_id_is_of_the_parts_and_a_pair_turned_round_is_another() -> None:
    assert records.content_id("p", "a", "b") == records.pair_id("p", "a", "b") == "2ec91f196666a2b4"
    assert records.content_id("é", 1, None, {"b": 1, "a": 2}) == records.content_id("é", 1, None, {"a": 2, "b": 1})
    assert records.pair_id("p", "b", "a") != records.pair_id("p", "a", "b")
