"""A shard is given its own rows of a table that holds those of all shards, wherever they stand in it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from datagen import store
from datagen.pipeline import inputs

FOOTER = {"errors": 0, "seconds": 0.0, "digest": "d", "version": "1", "drops": {}}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("aabbccdde", [[(0, 4)], [(4, 8)], [(8, 9)]]),
        ("ae", [[(0, 1)], [], [(1, 2)]]),  # some prompts have none
        ("", [[], [], []]),
        ("edcba", [[(3, 5)], [(1, 3)], [(0, 1)]]),  # in another order
        ("cadb", [[(1, 2), (3, 4)], [(0, 1), (2, 3)], []]),
        ("azzb", [[(0, 1), (3, 4)], [], []]),  # of prompts that are none
    ],
)
def test_each_shard_has_the_rows_of_its_prompts(labels: str, expected: list[object], tmp_path: Path) -> None:
    run = store.Run(tmp_path)
    for name, ids in (("prompts", "abcde"), ("labels", labels)):
        run.commit(name, 0, pa.table({"prompt_id": pa.array(list(ids), pa.string())}), **FOOTER)
    assert inputs._found_spans(run, "labels", "prompts", 2, 3, (0, 0)) == expected
