"""The live view of a run: what is done, how fast, what failed and who works, until it is finished."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from datagen import recipe as recipes
from datagen import store
from datagen.commands import watch
from datagen.errors import RunError
from datagen.pipeline import plan
from datagen.store import sums


@pytest.fixture
def settings() -> dict[str, Any]:
    recipe = recipes.load("pick-style", ["images.shard_size=4"])
    return {"digest": "d", "version": "1", "recipe": recipes.resolved(recipe, "embedded")}


def commit(run: store.Run, settings: dict[str, Any], stage: str, index: int, rows: int, **changes: Any) -> None:
    recipe, _ = recipes.of_run(settings)
    (found,) = (found for found in plan.of_run(run, recipe, "d") if found.stage.name == stage)
    footer = {"errors": 0, "seconds": 2.0, "digest": "d", "version": "1", "drops": {}, "worker": "7 on a"} | changes
    run.commit(
        stage,
        index,
        pa.table({"x": [0] * rows}),
        made_from=found.sources[index],
        stage_version=found.stage.version,
        **footer,
    )


@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_is_shown_until_its_dataset_is_there(tmp_path: Path, settings: dict[str, Any], terminal: bool) -> None:
    run, text = store.Run(tmp_path), io.StringIO()
    with store.hold(run, settings):
        commit(run, settings, "principles", 0, 1)
        commit(run, settings, "prompts", 0, 10, parts=["a", "b", "c"])

    def steps() -> Any:
        with store.hold(run, settings):
            for index in range(3):
                commit(
                    run, settings, "images", index, 8, errors=index, reasons={"black image": index} if index else {}
                )
                yield
        for stage in plan.STAGES[3:]:
            for index in range(1 if stage.whole else 3):
                commit(run, settings, stage.name, index, 2)
        (run.dataset / "data").mkdir(parents=True)
        sums.write(run.dataset, "huggingface")
        yield

    todo = steps()
    console = Console(file=text, width=150, force_terminal=terminal)
    watch.watch(tmp_path, console, sleep=lambda _: next(todo))
    said = text.getvalue()
    assert "images failed: 3 × black image" in said
    assert "images by 7 on a: 2 shards, 2.0 s each" in said
    if terminal:
        assert f"pick-style on embedded: process {os.getpid()} on " in said and "nobody works on it" in said
    else:
        assert "images: 1/3" in said and " left\n" in said and f"finished: {run.dataset}\n" in said


def test_what_is_no_run_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run directory"):
        watch.watch(tmp_path, Console(file=io.StringIO()))
