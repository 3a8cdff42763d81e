"""`status` reads footers and says how far each stage is."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from datagen import recipe as recipes
from datagen import store
from datagen.commands import status
from datagen.errors import RunError
from datagen.llm import LEDGER
from datagen.llm.accounts import money
from datagen.llm.messages import Usage


def shown(root: Path) -> str:
    text = io.StringIO()
    status.show(root, Console(file=text, width=200))
    return text.getvalue()


def row_of(text: str, stage: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if f" {stage} " in line)
    return [cell.strip() for cell in line.split("│") if cell.strip()]


def test_a_run_half_way(tmp_path: Path) -> None:
    run, recipe = store.Run(tmp_path), recipes.load("pick-style", ["images.shard_size=4"])
    settings = {"digest": "d1gest", "version": "1", "recipe": recipes.resolved(recipe, "embedded")}

    def commit(stage: str, index: int, rows: int, **changes: Any) -> None:
        footer = {"errors": 0, "seconds": 1.25, "digest": "d", "version": "1", "drops": {}} | changes
        run.commit(stage, index, pa.table({"x": list(range(rows))}), **footer)

    with store.hold(run, settings):
        assert "?" in shown(tmp_path)
        commit("prompts", 0, 10)
        commit("images", 0, 8, errors=3)
        commit("images", 2, 4)
        commit("pairs", 0, 2, drops={"no image": 2, "low match": 5})
        text = shown(tmp_path)
    assert "pick-style on embedded, digest d1gest" in text
    assert "running: process " in text
    assert row_of(text, "images") == ["images", "2/3", "12", "3", "2.5"]
    assert row_of(text, "pairs") == ["pairs", "1/3", "2", "0", "1.2", "5 low match, 2 no image"]
    assert "dataset: not written yet" in text
    assert "not running" in shown(tmp_path)


def test_what_the_llm_took_stands_beside_its_stage(tmp_path: Path) -> None:
    run, recipe = store.Run(tmp_path), recipes.load("pick-style", [])
    with store.hold(run, {"digest": "d", "version": "1", "recipe": recipes.resolved(recipe, "embedded")}):
        with contextlib.closing(money.Ledger(tmp_path / LEDGER)) as ledger:
            ledger.record([money.Call("prompts", f"{k:064x}", "m", Usage(1000, 200, 0.0125)) for k in range(2)])
            ledger.count_cached("prompts", 3)
        cells = row_of(shown(tmp_path), "prompts")
    assert cells[-3:] == ["2 + 3 cached", "2,000 in, 400 out", "$0.0250"]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run directory"):
        shown(tmp_path)
