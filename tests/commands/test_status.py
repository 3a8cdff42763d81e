"""`status` reads footers and says how far each stage is."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from datagen import recipe as recipes
from datagen import store
from datagen.commands import status
from datagen.errors import RecipeError, RunError
from datagen.llm import LEDGER
from datagen.llm.accounts import money
from datagen.llm.messages import Usage
from datagen.pipeline import plan
from datagen.store import sums


def shown(root: Path, width: int = 200) -> str:
    text = io.StringIO()
    status.show(root, Console(file=text, width=width))
    return text.getvalue()


def row_of(text: str, stage: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if f" {stage} " in line)
    return [cell.strip() for cell in line.split("│") if cell.strip()]


def _commit(run: store.Run, settings: dict[str, Any], stage: str, index: int, rows: int, **changes: Any) -> None:
    """As the pipeline does, whatever the rows: of what is there now."""
    digest = settings["digest"]
    (source,) = (
        p.sources[index] for p in plan.of_run(run, recipes.of_run(settings)[0], digest) if p.stage.name == stage
    )
    footer = {"errors": 0, "seconds": 1.25, "digest": digest, "version": "1", "drops": {}} | changes
    footer["stage_version"] = next(known.version for known in plan.STAGES if known.name == stage)
    run.commit(stage, index, pa.table({"x": list(range(rows))}), made_from=source, **footer)


def test_a_run_half_way(tmp_path: Path) -> None:
    run, recipe = store.Run(tmp_path), recipes.load("pick-style", ["images.shard_size=4"])
    settings = {"digest": "d1gest", "version": "1", "recipe": recipes.resolved(recipe, "embedded")}

    commit = functools.partial(_commit, run, settings)
    with store.hold(run, settings):
        assert "?" in shown(tmp_path)
        commit("principles", 0, 1)
        commit("prompts", 0, 10, parts=["a", "b", "c"])
        for index, rows in ((0, 8), (1, 6), (2, 4)):
            commit("images", index, rows, errors=3 * (index == 0))
        commit("scores", 0, 8)
        commit("pairs", 0, 2, drops={"no image": 2, "low match": 5})
        damaged = run.shard("images", 1)
        damaged.write_bytes(damaged.read_bytes()[:-20])
        text = shown(tmp_path)
    assert "pick-style on embedded, digest d1gest" in text
    assert "running: process " in text
    assert row_of(text, "images") == ["images", "2/3", "12", "3", "2.5"]
    assert row_of(text, "pairs") == ["pairs", "1/3", "2", "0", "1.2"]
    assert "dropped by pairs: 5 low match, 2 no image\n" in text
    assert f"damaged: {damaged} (it is cut off, or no Parquet file)" in text
    assert "dataset: not written yet" in text
    assert "not running" in shown(tmp_path)


@pytest.mark.parametrize("harm", ["cut", "deleted", "no digests"])
def test_a_dataset_that_is_not_as_it_was_written_is_named(tmp_path: Path, harm: str) -> None:
    run, recipe = store.Run(tmp_path), recipes.load("pick-style", [])
    with store.hold(run, {"digest": "d", "version": "1", "recipe": recipes.resolved(recipe, "embedded")}):
        pass
    file = run.dataset / "data/train-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"x": list(range(1000))}), file)
    sums.write(run.dataset, "huggingface")
    assert f"dataset: {run.dataset} (1000 train, 0 test)" in shown(tmp_path)
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:1000])
        expected = rf"{file} is of 1000 bytes, \d+ were written: the same datagen run writes it again"
    elif harm == "deleted":
        file.unlink()
        expected = f"{file} is missing: the same datagen run writes it again"
    else:
        sums.beside(run.dataset).write_text("0 files")
        expected = "dataset.sha256 is missing or damaged, .*: the same datagen run writes it again"
    assert re.search(expected, shown(tmp_path))


@pytest.mark.parametrize("recipe", [{}, {"name": "x"}, {"profile": []}, {"name": "x", "profile": {"name": 3}}])
def test_a_recipe_of_another_version_is_one_line(tmp_path: Path, recipe: dict[str, Any]) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({"digest": "d", "version": "0.1", "recipe": recipe}))
    with pytest.raises(RecipeError, match=r"does not hold a recipe of this version \(.*\): datagen 0.1 wrote it"):
        shown(tmp_path)


def test_what_the_llm_took_stands_beside_its_stage(tmp_path: Path) -> None:
    run, recipe = store.Run(tmp_path), recipes.load("pick-style", [])
    with store.hold(run, {"digest": "d", "version": "1", "recipe": recipes.resolved(recipe, "embedded")}):
        with contextlib.closing(money.Ledger(tmp_path / LEDGER)) as ledger:
            ledger.record([money.Call("prompts", f"{k:064x}", "m", Usage(1000, 200, 0.0125)) for k in range(2)])
            ledger.count_cached("prompts", 3)
        cells = row_of(shown(tmp_path), "prompts")
    assert cells[-3:] == ["2 + 3 cached", "2,000 in, 400 out", "$0.0250"]
    assert "$0.0250" in shown(tmp_path, width=80)


def test_the_share_of_replies_that_did_not_mean_what_was_asked_is_told(tmp_path: Path) -> None:
    run, recipe = store.Run(tmp_path), recipes.load("pick-style", [])
    settings = {"digest": "d", "version": "1", "recipe": recipes.resolved(recipe, "embedded")}
    drops = {"meaning: the two wordings are exchanged": 3, "near-duplicate": 1, "scene: had before": 50}
    with store.hold(run, settings):
        _commit(run, settings, "principles", 0, 1)
        _commit(run, settings, "prompts", 0, 10, errors=2, drops=drops, parts=["a"])
    said = "prompts: 25% of the replies did not mean what was asked and were dropped; take a stronger model\n"
    assert said in shown(tmp_path)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run directory"):
        shown(tmp_path)


def test_failures_stand_by_reason_and_shards_by_worker(tmp_path: Path) -> None:
    run, recipe = store.Run(tmp_path), recipes.load("pick-style", ["images.shard_size=4"])
    settings = {"digest": "d", "version": "1", "recipe": recipes.resolved(recipe, "embedded")}
    with store.hold(run, settings):
        _commit(run, settings, "principles", 0, 1)
        _commit(run, settings, "prompts", 0, 10, parts=["a", "b", "c"])
        _commit(run, settings, "images", 0, 8, errors=3, reasons={"black image": 2, "[b]x": 1}, worker="7 on a")
        _commit(run, settings, "images", 1, 8, errors=1, reasons={"black image": 1}, worker="8 on b")
    text = shown(tmp_path)
    assert "images failed: 3 × black image\nimages failed: 1 × [b]x\n" in text
    assert "images, shards by worker: 7 on a 1, 8 on b 1\n" in text


def test_groups_are_not_looked_for_in_many_shards_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "MANY", 1)
    assert list(status._groups(store.Run(tmp_path), [0, 1], full=False)) == [
        "groups that are shown: not looked for in 2 shards of scores, --full reads them"
    ]
    with pytest.raises(RunError):  # it would read them
        list(status._groups(store.Run(tmp_path), [0, 1], full=True))
