"""What a call ends with: numbers that need no second look at the values, in a table for any terminal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from stand_ins import Harm, Parts, Red, png, seat

from datagen.commands.judge import Summary, judge_path, report, tally
from datagen.commands.judge.rows import Slot
from datagen.commands.judge.tally import Tally

SLOTS = [
    Slot("a", "1"),
    Slot("b", "1", "x"),
    Slot("a", "1", "", 1),
    Slot("b", "1", "x", 1),
    Slot("a", "1", beats=True),
]


def tallied(values: np.ndarray, pieces: int) -> list[Tally]:
    found = tally.of(SLOTS)
    for one in found:
        for piece in np.array_split(values, pieces):
            one.measure(piece)
        for piece in np.array_split(values, pieces):
            one.bin(piece)
    return found


@settings(max_examples=60)
@given(
    values=some.lists(some.one_of(some.none(), some.floats(-1e6, 1e6)), min_size=5, max_size=200),
    pieces=some.integers(1, 7),
)
def test_numbers_in_pieces_are_those_of_the_whole(values: list[float | None], pieces: int) -> None:
    matrix = np.array(values[: len(values) // 5 * 5], dtype=float).reshape(-1, 5)
    a, b, beats = tallied(matrix, pieces)
    assert (a.columns, b.columns, beats.columns) == ([0, 2], [1, 3], [4])
    for one in (a, b, beats):
        own = matrix[:, one.columns][~np.isnan(matrix[:, one.columns])]
        assert one.count == len(own) == sum(one.bins)
        if len(own):
            assert one.mean == pytest.approx(own.mean(), rel=1e-9, abs=1e-6)
            assert one.spread == pytest.approx(own.std(), rel=1e-6, abs=1e-6)
            assert (one.low, one.high) == (own.min(), own.max())
        if len(own) and np.ptp(own) > 1e-3:
            expected, _ = np.histogram(own, tally.BINS)
            assert (
                np.abs(np.cumsum(one.bins) - np.cumsum(expected)).max() <= 2
            )  # a value on an edge may fall either way


def test_a_histogram_shows_each_bin_and_none_where_there_is_nothing() -> None:
    assert report.histogram([0, 1, 100, 50]) == " ▁█▄"
    assert report.histogram([0, 1, 100, 50], report.PLAIN) == " .@="
    assert report.histogram([7]) == "█"


def test_the_table_has_a_line_for_every_judge_and_category_and_says_who_gave_nothing() -> None:
    a, b, beats = tallied(np.array([[1.0, np.nan, 3.0, np.nan, 0.25]]), 1)
    lines = list(report.lines(Summary(2, 3, 0, tallies=[a, b, beats]), "x.parquet", "utf-8"))
    assert lines == [
        "2 images, 3 scored, 0 errors: x.parquet",
        "",
        "judge            values  mean  spread  from                        to",
        "a                     2     2       1     1  |█              █|     3",
        "b x                   0     -       -     -                         -",
        "a (shown first)       1  0.25       0  0.25  |█               |  0.25",
    ]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "unknown"])
def test_a_terminal_without_these_signs_gets_plain_ones(encoding: str) -> None:
    found = tallied(np.array([[1.0, 2, 3, 4, 0.5]]), 1)
    text = "\n".join(report.lines(Summary(2, 3, 0, tallies=found), "x", encoding))
    text.encode("ascii")
    assert "|@              @|" in text


def test_of_every_judge_the_numbers_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(40):
        (tmp_path / f"{k:02}.png").write_bytes(png(6 * k, 255 if k < 10 else 0))
        (tmp_path / f"{k:02}.txt").write_text("silent" if k == 3 else "x")
    summary = judge_path(tmp_path, seat(monkeypatch, Red(), Parts(), Harm()), tmp_path / "x.parquet")
    found = {(one.judge, one.category): (one.count, one.mean, one.low, one.high) for one in summary.tallies}
    reds = [6.0 * k for k in range(40)]
    assert found["red", ""] == (39, pytest.approx(np.mean([r for r in reds if r != 18])), 0, 234)
    assert found["parts", "red"] == (40, pytest.approx(np.mean(reds)), 0, 234)
    assert found["parts", "green"] == (40, pytest.approx(255 / 4), 0, 255)
    assert found["harm", ""] == (40, pytest.approx(0.25), 0, 1)
    assert summary.reasons == {"the judge red abstained": 1}
    assert summary.tallies[2].bins == [30, *[0] * 14, 10]
