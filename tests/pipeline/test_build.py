"""The pipeline over stages that need no model: resume, retry, failure, kill -9, and the bytes that come out."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fake_stages import NAMES, RECIPE

from datagen import store
from datagen.commands.validate import tables
from datagen.errors import EndpointError, MachineryError, ModelError, RecipeError, RunError
from datagen.pipeline import build, plan
from datagen.recipe import Recipe, load
from datagen.records import Image, Written
from datagen.stages import Context, Shard, images
from datagen.store import seal

SUPPORT = Path(__file__).parents[1] / "support"
# What a killed process runs: the same pipeline over the same stages.
CHILD = """
import importlib, sys
from pathlib import Path
from datagen import recipe
from datagen.pipeline import build, plan
if __name__ == "__main__":
    plan.STAGES = tuple(importlib.import_module(f"fake_stages.{name}").STAGE for name in sys.argv[4].split(","))
    print("ready", flush=True)
    build.run(recipe.load(sys.argv[1], []), "embedded", Path(sys.argv[2]), workers=int(sys.argv[3]))
"""


def change_prompts(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Give the stage of prompts other values."""
    stages = tuple(dataclasses.replace(s, **changes) if s.name == "prompts" else s for s in plan.STAGES)
    monkeypatch.setattr(plan, "STAGES", stages)


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "fake.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    return load(str(recipe_file), [])


def calls(switches: Path, stage: str) -> list[int]:
    """How many prompts each call of a stage was given."""
    lines = (switches / "calls").read_text().splitlines() if (switches / "calls").exists() else []
    return [int(line.split()[1]) for line in lines if line.split()[0] == stage]


def dataset_bytes(out: Path) -> dict[str, bytes]:
    folder = out / "dataset"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_makes_a_dataset_and_then_has_nothing_to_do(switches: Path, recipe: Recipe, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    first = build.run(recipe, "embedded", tmp_path / "out", progress=lambda *event: seen.append(event))
    assert first.rows("prompts") == 22
    assert first.rows("images") == 44
    assert first.splits == {"train": 16, "test": 6}
    assert ("images", 6, 6) in seen
    assert sorted(calls(switches, "images")) == [2, 4, 4, 4, 4, 4]
    before = dataset_bytes(tmp_path / "out")
    second = build.run(recipe, "embedded", tmp_path / "out")
    assert (second.made, second.splits) == (0, first.splits)
    assert len(calls(switches, "images")) == 6
    assert dataset_bytes(tmp_path / "out") == before


def test_two_directories_and_any_number_of_workers_give_equal_bytes(
    switches: Path, recipe: Recipe, tmp_path: Path
) -> None:
    build.run(recipe, "embedded", tmp_path / "one")
    build.run(recipe, "embedded", tmp_path / "two", workers=3)
    assert dataset_bytes(tmp_path / "one") == dataset_bytes(tmp_path / "two")


def test_failed_content_is_kept_and_tried_again_for_its_prompts_alone(
    switches: Path, recipe: Recipe, tmp_path: Path
) -> None:
    out, said = tmp_path / "out", list[str]()
    (switches / "content-images").touch()
    broken = build.run(recipe, "embedded", out)
    assert broken.plans["images"].total("errors") == 16
    assert broken.plans["pairs"].drops() == {"no image": 8}
    (switches / "calls").unlink()
    still = build.run(recipe, "embedded", out, say=said.append)
    assert still.made == 0
    assert said == ["images: retrying 16 failed rows"]
    assert sum(calls(switches, "images")) == 8
    assert calls(switches, "scores") == calls(switches, "pairs") == []
    (switches / "content-images").unlink()
    retried = build.run(recipe, "embedded", out)
    assert retried.plans["images"].total("errors") == 0
    build.run(recipe, "embedded", tmp_path / "clean")
    assert dataset_bytes(out) == dataset_bytes(tmp_path / "clean")


def test_a_stage_whose_rows_all_failed_ends_the_run_with_the_reason(
    switches: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(context: Context, shard: Shard) -> Written[Image]:
        rows = importlib.import_module("fake_stages.images").run(context, shard).rows
        errors = {"chosen": "NaN pixels", "rejected": "an all black image"}
        return Written([dataclasses.replace(row, image=None, error=errors[row.side]) for row in rows])

    whole = plan.STAGES
    stages = tuple(
        dataclasses.replace(s, run=broken, remarks=images.remarks) if s.name == "images" else s for s in whole
    )
    monkeypatch.setattr(plan, "STAGES", stages)
    why = r"none of 44 images could be made \(22 × NaN pixels; 22 × an all black image\): mend that and rerun"
    for _ in range(2):
        with pytest.raises(MachineryError, match=why) as caught:
            build.run(recipe, "embedded", tmp_path / "out")
        assert caught.value.exit_code == 1
    assert calls(switches, "scores") == [] and not (tmp_path / "out" / "dataset").exists()
    monkeypatch.setattr(plan, "STAGES", whole)
    assert build.run(recipe, "embedded", tmp_path / "out").splits == {"train": 16, "test": 6}


def test_stages_are_asked_whether_they_can_work_before_anything_is_paid_for(
    switches: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    fails = [ModelError("the model draws nothing")]

    def check(context: Context) -> None:
        asked.append(context.profile.model)
        if fails:
            raise fails.pop()

    stages = tuple(dataclasses.replace(s, check=check) if s.name == "images" else s for s in plan.STAGES)
    monkeypatch.setattr(plan, "STAGES", stages)
    build.run(recipe, "embedded", tmp_path / "offline")
    assert asked == []  # nothing is paid for
    (switches / "calls").unlink()
    paid = recipe.model_copy(update={"prompts": recipe.prompts.model_copy(update={"writer": "llm"})})
    with pytest.raises(ModelError, match="draws nothing"):
        build.run(paid, "embedded", tmp_path / "paid")
    assert asked == ["embedded"] and not (switches / "calls").exists()
    said: list[str] = []
    build.run(paid, "embedded", tmp_path / "paid", say=said.append)
    assert said == ["images: a test before anything is paid for"] and asked == ["embedded"] * 2
    (tmp_path / "paid/tables/images/images-00000.parquet").unlink()
    build.run(paid, "embedded", tmp_path / "paid")
    assert asked == ["embedded"] * 2  # the prompts are there


def test_failed_prompts_are_retried_and_only_their_shards_are_made_again(
    switches: Path, recipe: Recipe, tmp_path: Path
) -> None:
    out, said = tmp_path / "out", list[str]()
    (switches / "content-prompts").touch()
    broken = build.run(recipe, "embedded", out)
    assert (broken.plans["prompts"].total("errors"), broken.rows("images")) == (4, 36)  # 2, 7, 12 and 17 of 22
    (switches / "calls").unlink()
    (switches / "content-prompts").unlink()
    retried = build.run(recipe, "embedded", out, say=said.append)
    assert said == ["prompts: retrying 4 failed rows"]
    assert calls(switches, "retry") == [4] and calls(switches, "prompts") == []
    assert calls(switches, "images") == calls(switches, "pairs") == [4, 4, 4, 4]  # four of the six shards
    assert retried.plans["prompts"].drops() == {"near-duplicate": 4}
    assert retried.rows("pairs") == 22
    build.run(recipe, "embedded", tmp_path / "clean")
    assert dataset_bytes(out) == dataset_bytes(tmp_path / "clean")


def test_prompts_that_nobody_can_retry_now_do_not_stop_the_rest(
    switches: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def no_key(*_: object) -> None:
        raise EndpointError("set OPENAI_API_KEY")

    (switches / "content-prompts").touch()
    build.run(recipe, "embedded", tmp_path / "out")
    change_prompts(monkeypatch, retry=no_key)
    said = list[str]()
    again = build.run(recipe, "embedded", tmp_path / "out", say=said.append)
    assert again.made == 0
    assert said[-1] == "prompts: the failed rows stay as they are: set OPENAI_API_KEY"


def test_no_prompt_at_all_stops_with_what_failed(
    switches: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fake_stages.prompts

    (switches / "content-prompts").touch()
    row = fake_stages.prompts._row(2, ["p"])
    change_prompts(monkeypatch, run=lambda context, shard: Written([row] * 3))
    with pytest.raises(MachineryError, match=r"none of 3 prompts could be written \(refused: no\): rerun"):
        build.run(recipe, "embedded", tmp_path / "out")


def test_another_version_of_a_stage_derives_its_rows_anew_and_no_more_than_that(
    switches: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    out = tmp_path / "out"
    build.run(recipe, "embedded", out)
    (switches / "calls").unlink()
    change_prompts(monkeypatch, version=2)
    assert build.run(recipe, "embedded", out).made == 1
    assert (calls(switches, "prompts"), calls(switches, "images")) == ([0], [])
    change_prompts(monkeypatch, version=3)
    (switches / "reworded-prompts").touch()
    build.run(recipe, "embedded", out)
    assert calls(switches, "images") == [4]  # the shard of row 9
    assert build.run(recipe, "embedded", out).made == 0


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_failing_shard_is_tried_twice_then_listed(
    switches: Path, recipe: Recipe, tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "out"
    (switches / "raise-scores").touch()
    with pytest.raises(MachineryError, match=r"6 shards failed after 2 attempts \(scores-00000, .*ZeroDivisionError"):
        build.run(recipe, "embedded", out, workers=workers)
    assert len(calls(switches, "scores")) == 12
    assert "Traceback" in (out / "failures.txt").read_text()
    (switches / "raise-scores").unlink()
    assert build.run(recipe, "embedded", out).rows("pairs") == 22
    assert len(calls(switches, "images")) == 6
    assert not (out / "failures.txt").exists()


@pytest.mark.slow  # processes that are killed
def test_a_killed_worker_costs_one_try(switches: Path, recipe: Recipe, tmp_path: Path) -> None:
    (switches / "die-images").touch()
    (switches / "once").touch()
    summary = build.run(recipe, "embedded", tmp_path / "out", workers=2)
    assert summary.rows("pairs") == 22


def test_workers_that_keep_dying_are_listed(switches: Path, recipe_file: Path, tmp_path: Path) -> None:
    (switches / "die-images").touch()
    with pytest.raises(MachineryError, match="2 shards failed after 2 attempts .*SIGKILL"):
        build.run(load(str(recipe_file), ["prompts.count=8"]), "embedded", tmp_path / "out", workers=2)


def test_kill_at_any_moment_loses_only_shards_in_flight(
    switches: Path, recipe: Recipe, recipe_file: Path, tmp_path: Path
) -> None:
    build.run(recipe, "embedded", tmp_path / "whole")
    (switches / "calls").unlink()
    (switches / "slow-images").touch()
    out, kills, rng = tmp_path / "out", 6, random.Random(5)
    environment = {**os.environ, "PYTHONPATH": f"{SUPPORT}{os.pathsep}{Path(__file__).parents[2]}"}
    for kill in range(kills):
        workers = 1 + kill % 2
        command = [sys.executable, "-c", CHILD, str(recipe_file), str(out), str(workers), ",".join(NAMES)]
        child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(rng.uniform(0.0, 1.5))
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    (switches / "slow-images").unlink()
    build.run(recipe, "embedded", out)
    assert dataset_bytes(out) == dataset_bytes(tmp_path / "whole")
    assert len(calls(switches, "images")) <= 6 + kills // 2 * (1 + 2)  # a shard a worker and kill
    assert not list(out.rglob("*.tmp"))


def test_workers_end_when_their_parent_is_killed(switches: Path, recipe_file: Path, tmp_path: Path) -> None:
    (switches / "slow-images").touch()
    command = [sys.executable, "-c", CHILD, str(recipe_file), str(tmp_path / "out"), "2", ",".join(NAMES)]
    environment = {**os.environ, "PYTHONPATH": f"{SUPPORT}{os.pathsep}{Path(__file__).parents[2]}"}
    parent = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    while not calls(switches, "images"):
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    assert _group_ends(parent.pid)


def _group_ends(group: int) -> bool:
    """Whether all processes of a group are gone, or go within the time that a loaded machine may need."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_ctrl_c_ends_the_workers_and_keeps_what_is_done(
    switches: Path, recipe: Recipe, recipe_file: Path, tmp_path: Path
) -> None:
    (switches / "slow-images").touch()
    (switches / "stuck-scores").touch()  # so that it cannot be over before it is interrupted, however busy the machine
    out = tmp_path / "out"
    command = [sys.executable, "-c", CHILD, str(recipe_file), str(out), "2", ",".join(NAMES)]
    environment = {**os.environ, "PYTHONPATH": f"{SUPPORT}{os.pathsep}{Path(__file__).parents[2]}"}
    child = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    while not (out / "tables/images/images-00000.parquet").exists():
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGINT)
    assert child.wait(timeout=60) != 0
    assert _group_ends(child.pid)
    assert store.Run(out).footer("images", 0) is not None
    assert not list(out.rglob("*.tmp"))


def flip(path: Path, place: float) -> None:
    """Flip a bit of a file, at a share of its length."""
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("stage", "place", "workers"),
    [*itertools.product(NAMES, (0.0, 0.3, 0.95), [1]), pytest.param("images", 0.3, 2, marks=pytest.mark.slow)],
)
def test_a_flipped_bit_is_named_and_the_dataset_comes_out_equal(
    switches: Path, recipe: Recipe, tmp_path: Path, stage: str, place: float, workers: int
) -> None:
    out, said = tmp_path / "out", list[str]()
    build.run(recipe, "embedded", out)
    before = dataset_bytes(out)
    *_, shard = sorted((out / "tables" / stage).glob("*.parquet"))
    flip(shard, place)
    for later in NAMES[NAMES.index(stage) + 1 :]:
        shutil.rmtree(out / "tables" / later)
    shutil.rmtree(out / "dataset")
    build.run(recipe, "embedded", out, say=said.append, workers=workers)
    assert [line for line in said if str(shard) in line and "is damaged" in line and "made again" in line]
    assert dataset_bytes(out) == before
    assert build.run(recipe, "embedded", out).made == 0


@pytest.mark.parametrize("size", [0, 5, 700])
def test_a_shard_that_was_cut_is_named_and_made_again(
    switches: Path, recipe: Recipe, tmp_path: Path, size: int
) -> None:
    out, said = tmp_path / "out", list[str]()
    build.run(recipe, "embedded", out)
    before = dataset_bytes(out)
    shard = out / "tables/images/images-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:size])
    (switches / "calls").unlink()
    assert build.run(recipe, "embedded", out, say=said.append).made == 1
    assert (calls(switches, "images"), calls(switches, "scores")) == ([4], [])  # equal images: nothing else follows
    assert "images-00002.parquet is damaged (it is cut off" in said[0]
    assert dataset_bytes(out) == before


def test_a_finished_run_on_a_read_only_disk_has_nothing_to_do(switches: Path, recipe: Recipe, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a disk needs Linux and root")
    try:
        build.run(recipe, "embedded", disk / "out")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert build.run(recipe, "embedded", disk / "out").made == 0
        assert store.holder(store.Run(disk / "out")) is None
        with pytest.raises(RunError, match="cannot write .*: Read-only file system"):
            build.run(recipe, "embedded", disk / "new")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_full_at_any_moment_shows_nothing_by_half_and_a_rerun_completes(
    switches: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, synced, flush = 1000, 0, os.fsync

    def full(descriptor: int) -> None:
        """A disk with room for so many files; of the next one only a part is there."""
        nonlocal synced
        synced += 1
        if synced > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    build.run(recipe, "embedded", tmp_path / "whole")
    expected, out = dataset_bytes(tmp_path / "whole"), tmp_path / "out"
    for full_after in sorted(random.Random(0).sample(range(4, synced), 4)):  # the folder's own files come first
        room, synced = full_after, 0
        with pytest.raises((RunError, MachineryError), match="disk full") as caught:
            build.run(recipe, "embedded", out)
        assert "\n" not in str(caught.value)
        assert not [path for path in out.rglob("*") if path.name.endswith(".tmp")]
        for path in out.glob("tables/*/*.parquet"):
            seal.verify(path, seal.facts(path)["data"])
        room = 1000
        build.run(recipe, "embedded", out)
        assert dataset_bytes(out) == expected
        shutil.rmtree(out)


def test_shards_of_others_are_made_again(switches: Path, recipe_file: Path, tmp_path: Path) -> None:
    out, said, recipe = tmp_path / "out", list[str](), load(str(recipe_file), [])
    build.run(recipe, "embedded", out)
    build.run(load(str(recipe_file), ["seed=5"]), "embedded", tmp_path / "other")
    before = dataset_bytes(out)
    images = out / "tables/images"
    shutil.copy(images / "images-00000.parquet", images / "images-00001.parquet")
    shutil.copy(tmp_path / "other/tables/images/images-00003.parquet", images / "images-00003.parquet")
    shutil.copy(images / "images-00005.parquet", out / "tables/scores/scores-00005.parquet")
    assert build.run(recipe, "embedded", out, say=said.append).made == 3
    assert [line.partition("is damaged ")[2] for line in said] == [
        "(it is the file of images-00000): its rows are made again",
        "(it is of another recipe): its rows are made again",
        "(it is the file of images-00005): its rows are made again",
    ]
    assert dataset_bytes(out) == before


def test_what_is_derived_from_a_table_that_comes_out_otherwise_is_made_again(
    switches: Path, recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    build.run(recipe, "embedded", out)
    (out / "tables/prompts/prompts-00000.parquet").unlink()
    (switches / "calls").unlink()
    (switches / "reworded-prompts").touch()
    again = build.run(recipe, "embedded", out)
    assert calls(switches, "images") == calls(switches, "scores") == calls(switches, "pairs") == [4]  # row 9's shard
    assert again.made == 5
    build.run(recipe, "embedded", tmp_path / "clean")
    assert dataset_bytes(out) == dataset_bytes(tmp_path / "clean")


def test_a_shard_of_the_same_recipe_with_other_rows_takes_what_follows_with_it(
    switches: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """As where a language model answered otherwise in another directory."""
    out, other = tmp_path / "out", tmp_path / "other"
    build.run(recipe, "embedded", out)
    (switches / "reworded-prompts").touch()
    build.run(recipe, "embedded", other)
    shutil.copy(out / "tables/images/images-00002.parquet", other / "tables/images/images-00002.parquet")
    before = dataset_bytes(other)
    assert build.run(recipe, "embedded", other).made == 1
    assert dataset_bytes(other) == before
    shutil.copy(out / "tables/prompts/prompts-00000.parquet", other / "tables/prompts/prompts-00000.parquet")
    build.run(recipe, "embedded", other)
    assert dataset_bytes(other) == dataset_bytes(out)


def test_a_disk_that_spoils_what_is_written_ends_the_run(
    switches: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = seal.write

    def spoil(file: Any, groups: Any, facts: Any) -> None:
        write(file, groups, facts)
        if "images-00001" in file.name:
            file.seek(30)
            file.write(b"????")

    monkeypatch.setattr(seal, "write", spoil)
    with pytest.raises(MachineryError, match="images-00001.parquet was made again and is damaged again"):
        build.run(recipe, "embedded", tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["README.md", "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"]
)
@pytest.mark.parametrize("harm", ["deleted", "cut", "flipped", "emptied"])
def test_a_dataset_that_is_not_as_it_was_written_is_named_and_written_again(
    switches: Path, recipe: Recipe, tmp_path: Path, name: str, harm: str
) -> None:
    out, said = tmp_path / "out", list[str]()
    build.run(recipe, "embedded", out)
    before, file = dataset_bytes(out), out / "dataset" / name
    match harm:
        case "deleted":
            file.unlink()
        case "cut":
            file.write_bytes(file.read_bytes()[:1000])
        case "flipped":
            stat = file.stat()
            flip(file, 0.4)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a disk does
        case "emptied":
            file.write_bytes(b"")
    (switches / "calls").unlink()
    assert build.run(recipe, "embedded", out, say=said.append).made == 1
    assert not (switches / "calls").exists()
    assert any(str(file) in line and "written again" in line for line in said)
    assert dataset_bytes(out) == before
    assert build.run(recipe, "embedded", out).made == 0


def test_validate_reads_every_bit_of_every_table_and_says_what_is_missing(
    switches: Path, recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    build.run(recipe, "embedded", out)
    assert list(tables.problems(store.Run(out))) == []
    for stage in NAMES:
        shard = out / f"tables/{stage}/{stage}-00000.parquet"
        whole = shard.read_bytes()
        for place in (0.0, 0.2, 0.99):
            flip(shard, place)
            found = list(tables.problems(store.Run(out)))
            assert f"{shard} is damaged" in found[0] and "delete it and rerun" in found[0]
            shard.write_bytes(whole)
        shard.unlink()
        assert list(tables.problems(store.Run(out)))[0] == f"{shard} is missing: the same datagen run makes it again"
        shard.write_bytes(whole)
    (out / "ledger.sqlite").write_bytes(b"no database" * 100)
    (found,) = tables.problems(store.Run(out))
    assert "ledger.sqlite" in found


def test_a_finished_run_writes_nothing(switches: Path, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build.run(recipe, "embedded", out)
    (out / ".lock").unlink()
    times = {path: path.stat().st_mtime_ns for path in [out, *out.rglob("*")]}
    assert build.run(recipe, "embedded", out).made == 0
    assert {path: path.stat().st_mtime_ns for path in [out, *out.rglob("*")]} == times


def test_a_directory_of_another_recipe_is_refused(switches: Path, recipe_file: Path, tmp_path: Path) -> None:
    build.run(load(str(recipe_file), []), "embedded", tmp_path / "out")
    other = load(str(recipe_file), ["prompts.count=21", "profiles.embedded.guidance=5"])
    with pytest.raises(
        RunError, match=r"other settings \(profile.guidance 3.0 → 5.0, prompts.count 22 → 21\): choose"
    ):
        build.run(other, "embedded", tmp_path / "out")


def test_a_recipe_without_prompts_is_refused(
    switches: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    change_prompts(monkeypatch, run=lambda context, shard: Written([]))
    with pytest.raises(RecipeError, match="yield no prompt"):
        build.run(recipe, "embedded", tmp_path / "out")


def test_a_second_process_is_told_who_holds_the_run(switches: Path, recipe: Recipe, tmp_path: Path) -> None:
    def intrude(what: str, done: int, total: int) -> None:
        with pytest.raises(RunError, match=f"in use by process {os.getpid()} on .* since .*: wait for it"):
            build.run(recipe, "embedded", tmp_path / "out")

    build.run(recipe, "embedded", tmp_path / "out", progress=intrude)
    assert store.holder(store.Run(tmp_path / "out")) is None


def test_shares_make_the_bytes_of_one_run(switches: Path, recipe: Recipe, tmp_path: Path) -> None:
    out, said = tmp_path / "out", list[tuple[str, int, int]]()
    build.run(recipe, "embedded", tmp_path / "whole")
    with pytest.raises(RunError, match="are not written yet: datagen write … --out .*/out comes before shares"):
        build.run_share(recipe, "embedded", out, store.Share("images", 0, 3))
    assert not out.exists()
    build.run(recipe, "embedded", out, draws=False)
    with pytest.raises(MachineryError, match=r"2 of 2 shards wait for an earlier stage \(scores-00001, scores-00004"):
        build.run_share(recipe, "embedded", out, store.Share("scores", 1, 3))
    (switches / "calls").unlink()
    for stage in ("images", "scores"):
        for number in (2, 0, 1):
            done = build.run_share(
                recipe, "embedded", out, store.Share(stage, number, 3), progress=lambda *event: said.append(event)
            )
            assert (done.shards, done.made) == (2, 2)
    assert done.line() == "share 1/3 of scores: 2 of 2 shards made, 16 rows"
    assert said[2] == ("images", 2, 2)
    again = build.run_share(recipe, "embedded", out, store.Share("scores", 1, 3))
    assert again.line() == "share 1/3 of scores: nothing to do, 2 shards, 16 rows"
    assert (
        build.run_share(recipe, "embedded", out, store.Share("images", 8, 9))
        .line()
        .endswith("fewer shards than shares")
    )
    assert len(calls(switches, "images")) == len(calls(switches, "scores")) == 6
    build.run(recipe, "embedded", out)
    assert len(calls(switches, "images")) == len(calls(switches, "scores")) == 6
    assert dataset_bytes(out) == dataset_bytes(tmp_path / "whole")


def test_a_share_retries_mends_and_lists_its_own_alone(switches: Path, recipe: Recipe, tmp_path: Path) -> None:
    out, said, mine = tmp_path / "out", list[str](), store.Share("images", 1, 2)
    build.run(recipe, "embedded", tmp_path / "whole")
    build.run(recipe, "embedded", out, draws=False)
    (switches / "content-images").touch()
    for number in (0, 1):
        failed = build.run_share(recipe, "embedded", out, store.Share("images", number, 2))
        assert failed.errors > 0 and f"{failed.errors} failed rows, which the same command retries" in failed.line()
    for index in (0, 1):
        flip(store.Run(out).shard("images", index), 0.95)
    (switches / "content-images").unlink()
    mended = build.run_share(recipe, "embedded", out, mine, say=said.append)
    assert mended.errors == 0 and ["00001.parquet is damaged" in line for line in said] == [True, False]
    assert said[1].startswith("images: retrying ")
    (switches / "raise-scores").touch()
    with pytest.raises(MachineryError, match=r"3 shards failed .*Tracebacks: .*/out/scores-1-of-2-failures.txt"):
        build.run_share(recipe, "embedded", out, store.Share("scores", 1, 2))
    (switches / "raise-scores").unlink()
    build.run(recipe, "embedded", out)
    assert dataset_bytes(out) == dataset_bytes(tmp_path / "whole")


@pytest.mark.parametrize(
    ("stage", "why"),
    [
        ("prompts", "prompts is done as a whole, by datagen run; "),
        ("image", "no stage is called 'image'; did you mean"),
    ],
)
def test_a_stage_that_is_not_shared_out_is_refused(
    switches: Path, recipe: Recipe, tmp_path: Path, stage: str, why: str
) -> None:
    with pytest.raises(RecipeError, match=f"{why}.*known: images, pairs, scores"):
        build.run_share(recipe, "embedded", tmp_path / "out", store.Share(stage, 0, 2))


def test_another_recipe_has_no_share(switches: Path, recipe: Recipe, recipe_file: Path, tmp_path: Path) -> None:
    build.run(recipe, "embedded", tmp_path / "out", draws=False)
    with pytest.raises(RunError, match=r"other settings \(prompts.count 22 → 21\)"):
        build.run_share(
            load(str(recipe_file), ["prompts.count=21"]), "embedded", tmp_path / "out", store.Share("images", 0, 2)
        )


def test_a_stage_is_given_the_columns_that_it_reads_and_no_others(
    recipe: Recipe, switches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def run(context: Context, shard: Shard) -> Written[Any]:
        seen.append(shard.table(Image).column_names)
        return Written([])

    *stages, last = plan.STAGES
    monkeypatch.setattr(
        plan, "STAGES", (*stages, dataclasses.replace(last, run=run, reads={Image: ("seed", "image_id")}))
    )
    build.run(recipe, "embedded", tmp_path / "out")
    assert len(seen) == 6 and all(names == ["image_id", "seed", "error"] for names in seen)
