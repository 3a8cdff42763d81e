"""docs/benchmarks.md is what benchmarks/results says, with one figure a cell, and every benchmark records its own."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from benchmarks.support import page, results
from benchmarks.support.results import Row
from benchmarks.support.rooms import HERE, ROOMS, benchmarks

FROM = {"machine": "2 cores", "date": "2026-01-31", "commit": "abc1234"}


def test_the_page_is_what_the_results_say() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "run python -m benchmarks.support.page"


def test_check_tells_a_page_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["page", "--check"])
    assert page.main() == 0
    monkeypatch.setattr(page, "PAGE", tmp_path / "benchmarks.md")
    assert page.main() == 1
    page.PAGE.write_text(page.page() + "\nfaster still\n")
    assert page.main() == 1
    assert "python -m benchmarks.support.page" in capsys.readouterr().out


def test_a_missed_goal_stays_and_is_marked() -> None:
    rows = [
        Row("speed", 2.16, "×", "≥ 2.3", "1.93–2.58", command="a", **FROM),
        Row("memory", 81, "%", "≤ 100", command="a", **FROM),
    ]
    assert page.table(rows).splitlines() == [
        "| what | figure | spread | goal |  |",
        "| --- | --- | --- | --- | --- |",
        "| speed | 2.16× | 1.93–2.58 | ≥ 2.3 | **missed** |",
        "| memory | 81 % |  | ≤ 100 | reached |",
        "",
        "`a`: 2026-01-31, commit abc1234, 2 cores",
    ]


def test_rows_of_two_commands_say_which_one_they_are_from() -> None:
    lines = page.table([Row("it", 1, command="a", **FROM), Row("that", 2, command="b", **FROM)]).splitlines()
    assert lines[2:4] == ["| it | 1 | 1 |", "| that | 2 | 2 |"]
    assert lines[-2:] == [f"{n}. `{c}`: 2026-01-31, commit abc1234, 2 cores" for n, c in ((1, "a"), (2, "b"))]


def test_results_of_no_benchmark_are_refused(tmp_path: Path) -> None:
    results.write(tmp_path / "gone.json", [Row("it", 1, command="a", **FROM)])
    with pytest.raises(ValueError, match="no benchmark is called gone"):
        page.page(tmp_path)


@pytest.mark.parametrize("name", [name for room in ROOMS for name in benchmarks(room)])
def test_a_benchmark_records_what_it_prints_under_its_own_name(name: str) -> None:
    (source,) = HERE.glob(f"*/{name}.py")
    calls = [
        node.args[0]
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "record"
    ]
    assert [call.value for call in calls if isinstance(call, ast.Constant)] == [name]


def test_a_figure_is_one_number() -> None:
    for path in sorted(results.RESULTS.glob("*.json")):
        for row in results.read(path):
            assert len(re.findall(r"[0-9][0-9.]*(?:e[+-]?[0-9]+)?", page.figure(row))) == 1, f"{path.name}: {row.what}"
