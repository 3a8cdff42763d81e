"""Disks that fail or are slow, and shards that have changed: one line or a remade shard, no wrong row."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_stages import RECIPE

from benchmarks.support import disk_faults
from datagen.errors import DatagenError
from datagen.pipeline import build
from datagen.recipe import Recipe, load


@pytest.fixture
def recipe(tmp_path: Path, switches: Path) -> Recipe:
    (tmp_path / "fake.toml").write_text(RECIPE)
    return load(str(tmp_path / "fake.toml"), [])


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("fault", disk_faults.CALLS)
def test_a_disk_that_fails_stops_the_run_with_one_line_and_a_rerun_goes_on(
    recipe: Recipe, tmp_path: Path, fault: str
) -> None:
    whole = files(build.run(recipe, "embedded", tmp_path / "whole").dataset)
    call, code = disk_faults.CALLS[fault]
    for number in (1, 4, 13):
        out = tmp_path / str(number)
        message = ""
        with disk_faults.failing(call, code, number) as met:
            try:
                build.run(recipe, "embedded", out)
            except DatagenError as error:
                message = str(error)
        assert met
        assert bool(message) == bool(code)
        assert "\n" not in message and "Traceback" not in message
        if code:
            assert any(word in message for word in (str(out), "cannot write", "cannot read", "disk full"))
            assert not (out / "dataset").exists()
        assert not list(out.rglob("*.tmp"))
        assert files(build.run(recipe, "embedded", out).dataset) == whole


@pytest.mark.parametrize("damage", disk_faults.DAMAGES)
def test_a_shard_that_is_damaged_is_named_and_made_again(recipe: Recipe, tmp_path: Path, damage: str) -> None:
    out = tmp_path / "out"
    whole = files(build.run(recipe, "embedded", out).dataset)
    for stage in ("prompts", "images", "pairs"):
        path = out / "tables" / stage / f"{stage}-{0 if stage == 'prompts' else 3:05d}.parquet"
        if stage == "prompts" and damage == "another shard's file":
            continue
        disk_faults.DAMAGES[damage](path)
        shutil.rmtree(out / "dataset")  # so that its rows are read
        if stage == "images":
            (out / "tables" / "scores" / "scores-00003.parquet").unlink()
        if stage == "prompts":
            shutil.rmtree(out / "tables" / "pairs")
            shutil.rmtree(out / "tables" / "images")
        lines: list[str] = []
        build.run(recipe, "embedded", out, say=lines.append)
        assert files(out / "dataset") == whole
        assert [line for line in lines if line.startswith(f"{path} is damaged")]
