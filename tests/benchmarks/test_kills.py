"""A few of the seeded kills that the benchmark makes many of."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.data import kills


@pytest.mark.slow  # each kill is a run of real processes that import what they need
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "count"), [("local", 3), ("shares", 4)])
def test_a_killed_run_is_finished_by_the_next_and_nothing_is_left_of_it(kind: str, count: int, tmp_path: Path) -> None:
    seen = kills.rounds(kind, count, seed=1, folder=tmp_path, cluster=None)
    assert seen.kills.total() >= count
    assert (seen.differ, seen.again, seen.half, seen.orphans, seen.refused) == (0, 0, 0, 0, 0)
