"""A results file is read strictly, written the same way each time, and says whether a goal is reached by itself."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support import results
from benchmarks.support.results import Row

FROM = {"command": "python -m benchmarks speed", "machine": "2 cores", "date": "2026-01-31", "commit": "abc1234"}


@pytest.mark.parametrize(
    ("figure", "goal", "reached"),
    [
        (99.5, "≥ 99.5", True),
        (99.4, "≥ 99.5", False),
        (3.0, "≤ 2.5", False),
        (4.0, "< 5", True),
        (5.0, "< 5", False),
        (5.1, "> 5", True),
        (0.0, "= 0", True),
        (1.2e-5, "≤ 1e-05", False),
        (7.0, "", None),
    ],
)
def test_the_figure_itself_says_whether_its_goal_is_reached(figure: float, goal: str, reached: bool | None) -> None:
    assert Row("it", figure, goal=goal).reached is reached


@pytest.mark.parametrize("goal", ["about 5", "≥", "5", "≥ 5 %"])
def test_a_goal_is_a_comparison_and_a_number(goal: str) -> None:
    with pytest.raises(ValueError, match="is not a goal"):
        Row("it", 1.0, goal=goal)


def test_what_is_written_is_what_is_read_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    rows = [Row("calls", 2399, "calls/s", "≥ 3", "6.1–6.5", "a note", **FROM), Row("ärger", 1 / 3, **FROM)]
    results.write(tmp_path / "a.json", rows)
    results.write(tmp_path / "b.json", results.read(tmp_path / "a.json"))
    assert results.read(tmp_path / "a.json") == rows
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "colour"),
        ({"figure": "99 %"}, "figure"),
        ({"what": None}, "what"),
        ({"commit": ""}, "lacks one of command, machine, date, commit"),
        ({"date": "yesterday"}, "yesterday"),
        ({"goal": "much"}, "is not a goal"),
    ],
)
def test_a_file_that_record_would_not_write_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "speed.json").write_text(json.dumps([{"what": "it", "figure": 1.0, **FROM, **change}]))
    with pytest.raises(ValueError, match=message):
        results.read(tmp_path / "speed.json")


def test_two_rows_that_say_the_same_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same `what`"):
        results.record("speed", [Row("it", 1.0), Row("it", 2.0)], folder=tmp_path)


def test_a_second_run_replaces_its_rows_and_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["speed.py"])
    results.record("speed", [Row("mapo", 1.0), Row("livo", 2.0)], folder=tmp_path)
    monkeypatch.setattr("sys.argv", ["speed.py", "livo"])
    results.record("speed", [Row("livo", 3.0), Row("dpo", 4.0)], folder=tmp_path)
    rows = results.read(tmp_path / "speed.json")
    assert [(row.what, row.figure) for row in rows] == [("mapo", 1.0), ("livo", 3.0), ("dpo", 4.0)]
    assert [row.command.removeprefix("python -m benchmarks speed") for row in rows] == ["", " livo", " livo"]
    assert {row.date for row in rows} == {datetime.date.today().isoformat()}


def test_the_command_holds_no_folder_of_this_machine_and_the_variables_that_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAMPLES", "300")
    monkeypatch.delenv("OTHER", raising=False)
    found = results.command("speed", ["--out", str(tmp_path / "place"), "--data", "out/x"], ("SAMPLES", "OTHER"))
    assert found == "SAMPLES=300 python -m benchmarks speed --out place --data out/x"
