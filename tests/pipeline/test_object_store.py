"""A run on an object store: the bytes of a local one, whatever goes wrong with requests, and whoever holds it."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_stages import NAMES, RECIPE
from object_store import Store, credentials, serving

from datagen import objects, store
from datagen.errors import RunError
from datagen.objects import bucket as requests
from datagen.pipeline import build, plan
from datagen.recipe import Recipe, load
from datagen.store import lease

SUPPORT = Path(__file__).parents[1] / "support"
ADDRESS = "s3://pictures/runs of ü/one"


# What a killed process runs: the same pipeline over the same stages, with requests that fail.
CHILD = """
import importlib, sys
from datagen import objects, recipe, store
from datagen.pipeline import build, plan
plan.STAGES = tuple(importlib.import_module(f"fake_stages.{name}").STAGE for name in sys.argv[3].split(","))
build.run(recipe.load(sys.argv[1], []), "embedded", store.copy_of(objects.parse(sys.argv[2])))
"""


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    (tmp_path / "buckets" / "pictures").mkdir(parents=True)
    monkeypatch.setattr(requests, "FIRST_WAIT_S", 0.002)
    monkeypatch.setattr(requests, "ATTEMPTS", 12)
    monkeypatch.setattr(lease, "BEAT_S", 0.1)
    monkeypatch.setattr(lease, "DEAD_S", 0.6)
    with serving(tmp_path / "buckets") as served, credentials(monkeypatch, served, tmp_path / "copies"):
        yield served


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "fake.toml").write_text(RECIPE)
    return load(str(tmp_path / "fake.toml"), [])


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """The folder of the run's copies on a machine of a name, on which everything from here on happens."""

    def at(name: str) -> Path:
        monkeypatch.setenv("DATAGEN_COPIES", str(tmp_path / name))
        monkeypatch.setattr(lease, "_machine", lambda: name)
        return store.copy_of(objects.parse(ADDRESS))

    return at


def published(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def bucket(there: Store) -> Path:
    return there.folder / "pictures" / "runs of ü" / "one"


def test_the_dataset_is_that_of_a_local_run_whatever_requests_come_to(
    switches: Path, there: Store, recipe: Recipe, tmp_path: Path, machine: Callable[[str], Path]
) -> None:
    local = build.run(recipe, "embedded", tmp_path / "local")
    for seed in (1, 2):
        shutil.rmtree(bucket(there), ignore_errors=True)
        there.rng.seed(seed)
        there.rate = 0.25
        away = build.run(recipe, "embedded", machine(f"faults-{seed}"))
        there.rate = 0.0
        assert published(bucket(there) / "dataset") == published(local.dataset)
        assert (bucket(there) / "dataset.sha256").read_bytes() == (tmp_path / "local" / "dataset.sha256").read_bytes()
        assert away.splits == local.splits
    assert set(there.faults) == {"busy", "away", "reset", "lost reply", "slow"}


def test_another_machine_goes_on_and_makes_nothing_twice(
    switches: Path, there: Store, recipe: Recipe, machine: Callable[[str], Path]
) -> None:
    first = machine("first")
    build.run(recipe, "embedded", first, draws=False)
    for number in (1, 0):
        share = store.Share("images", number, 2)
        assert build.run_share(recipe, "embedded", machine(f"share-{number}"), share).made == 3
    log = (switches / "calls").read_text()
    done = build.run(recipe, "embedded", machine("second"))
    assert done.made and (switches / "calls").read_text().removeprefix(log).count("images") == 0
    log = (switches / "calls").read_text()
    again = build.run(recipe, "embedded", machine("third"))
    assert again.made == 0 and again.splits == done.splits and (switches / "calls").read_text() == log
    assert again.place == f"{ADDRESS}/dataset"


def test_copies_may_be_deleted_and_damaged_ones_are_fetched_again(
    switches: Path, there: Store, recipe: Recipe, machine: Callable[[str], Path]
) -> None:
    root = machine("one")
    build.run(recipe, "embedded", root)
    before = published(bucket(there))
    shutil.rmtree(root)
    shard = store.Run(machine("one")).shard("images", 0)
    assert build.run(recipe, "embedded", machine("one")).made == 0
    shard.parent.mkdir(parents=True, exist_ok=True)
    data = bytearray((bucket(there) / "tables/images/images-00000.parquet").read_bytes())
    data[len(data) // 3] ^= 8
    shard.write_bytes(data)
    run = store.Run(root)
    assert run.table("images", 0).num_rows
    assert shard.read_bytes() == before["tables/images/images-00000.parquet"]
    assert {name: data for name, data in published(bucket(there)).items() if not name.startswith(".lock")} == {
        name: data for name, data in before.items() if not name.startswith(".lock")
    }


@pytest.mark.parametrize("how", ["flipped", "truncated", "footer", "another's", "deleted"])
def test_an_object_that_is_damaged_is_named_and_made_again(
    switches: Path, there: Store, recipe: Recipe, machine: Callable[[str], Path], how: str
) -> None:
    build.run(recipe, "embedded", machine("one"))
    whole = published(bucket(there) / "dataset")
    path = bucket(there) / "tables/images/images-00002.parquet"
    data = bytearray(path.read_bytes())
    if how == "deleted":
        path.unlink()
    elif how == "another's":
        path.write_bytes(path.with_name("images-00001.parquet").read_bytes())
    elif how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 3 if how == "flipped" else -20] ^= 1
        path.write_bytes(data)
    (bucket(there) / "tables/scores/scores-00002.parquet").unlink()  # so that the images are read
    lines: list[str] = []
    build.run(recipe, "embedded", machine("two"), say=lines.append)
    assert published(bucket(there) / "dataset") == whole
    told = [line for line in lines if line.startswith(f"{ADDRESS}/tables/images/images-00002.parquet is damaged")]
    assert len(told) == (how != "deleted")


def test_a_shard_is_one_new_object_and_what_is_there_is_replaced_only_by_other_rows(
    switches: Path, there: Store, recipe: Recipe, machine: Callable[[str], Path]
) -> None:
    build.run(recipe, "embedded", machine("one"))
    run, path = store.Run(machine("one")), bucket(there) / "tables/images/images-00001.parquet"
    table, footer = run.table("images", 1), run.footer("images", 1)
    assert footer is not None
    given = {key: value for key, value in dataclasses.asdict(footer).items() if key not in ("rows", "content")}
    mine, before = store.Run(machine("two")), path.read_bytes()
    there.requests.clear()
    mine.commit("images", 1, table, **{**given, "worker": "another", "seconds": 9.0})
    assert path.read_bytes() == before  # equal rows: whoever came first keeps the place
    assert there.requests["PUT"] == 1
    assert mine.table("images", 1).equals(table)
    mine.commit("images", 1, table.slice(1), **given)
    assert (
        mine.table("images", 1).num_rows
        == table.num_rows - 1
        == store.Run(machine("three")).table("images", 1).num_rows
    )
    there.requests.clear()
    mine.commit("images", 9, table, **given)
    assert there.requests == {"PUT": 1}


def test_two_jobs_on_one_prefix_and_who_takes_over(
    switches: Path, there: Store, recipe: Recipe, machine: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"digest": "d", "version": "1", "recipe": {"name": "x"}}
    first = store.Run(machine("first"))
    with store.hold(first, settings) as held:
        second = store.Run(machine("second"))
        with pytest.raises(RunError, match=f"^{ADDRESS} is in use by process .* wait for it or choose another --out$"):
            store.hold(second, settings).__enter__()
        assert "process" in str(store.holder(second))
        # The first is stopped: it gives no more signs of life.
        held._ended.set()  # type: ignore[union-attr]
        held._signs.join()
        with store.hold(second, settings) as other:
            other.check()
    assert store.holder(second) is None
    with store.hold(first, settings) as held:
        held.check()
        # Somebody has taken the next number meanwhile, as if this process had been stopped for minutes.
        who = json.dumps(dataclasses.asdict(lease.me("other")))
        name = max((bucket(there) / ".lock").iterdir()).name
        (bucket(there) / ".lock" / f"{int(name) + 1:08d}").write_text(who)
        held._signs.join(3)  # type: ignore[union-attr]
        with pytest.raises(RunError, match="was taken over by process"):
            held.check()


def test_only_the_first_share_waits_for_a_machine_that_is_dead(
    switches: Path, there: Store, machine: Callable[[str], Path]
) -> None:
    settings = {"digest": "d", "version": "1", "recipe": {"name": "x"}}
    with store.hold(store.Run(machine("first")), settings) as held:
        held._ended.set()  # type: ignore[union-attr]  # it dies
        held._signs.join()
        for number, lines in ((0, 1), (1, 0), (0, 0)):
            said: list[str] = []
            share = store.Share("images", number, 2)
            with store.hold_share(store.Run(machine(f"at {number}")), settings, share, say=said.append):
                assert len(said) == lines


def test_shares_go_side_by_side_unless_they_have_shards_in_common(
    switches: Path, there: Store, recipe: Recipe, machine: Callable[[str], Path]
) -> None:
    build.run(recipe, "embedded", machine("first"), draws=False)
    settings = store.Run(machine("first")).started()
    with store.hold_share(store.Run(machine("a")), settings, store.Share("images", 0, 2)):
        with store.hold_share(store.Run(machine("b")), settings, store.Share("images", 1, 2)):
            for other in (store.Share("images", 2, 4), store.Share("images", 0, 1)):
                with pytest.raises(RunError, match="is in use by process .*share ./2 of images"):
                    store.hold_share(store.Run(machine("c")), settings, other).__enter__()
        with pytest.raises(RunError, match="is in use by process .*share 0/2 of images"):
            store.hold(store.Run(machine("d")), settings).__enter__()
    with store.hold(store.Run(machine("d")), settings), pytest.raises(RunError, match="is in use by process"):
        store.hold_share(store.Run(machine("a")), settings, store.Share("images", 0, 2)).__enter__()


def test_another_recipe_and_other_files_are_refused(
    switches: Path, there: Store, recipe: Recipe, machine: Callable[[str], Path], tmp_path: Path
) -> None:
    (bucket(there) / "photos").mkdir(parents=True)
    (bucket(there) / "photos" / "a.png").write_bytes(b"x")
    with pytest.raises(RunError, match=f"^{ADDRESS} holds other files .photos.: give a new or an empty directory$"):
        build.run(recipe, "embedded", machine("one"))
    shutil.rmtree(bucket(there))
    build.run(recipe, "embedded", machine("one"), draws=False)
    with pytest.raises(RunError, match=f"^{ADDRESS} was started with other settings .*prompts.count"):
        build.run(load(str(tmp_path / "fake.toml"), ["prompts.count=3"]), "embedded", machine("two"))


def test_what_is_paid_for_is_not_made_on_a_store(
    switches: Path, there: Store, recipe: Recipe, machine: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = {"images": {"one_machine": lambda profile: True}}
    stages = tuple(dataclasses.replace(stage, **paid.get(stage.name, {})) for stage in plan.STAGES)
    monkeypatch.setattr(plan, "STAGES", stages)
    with pytest.raises(RunError, match="^images are paid for, .* and s3://pictures/runs of ü/one is an object store"):
        build.run(recipe, "embedded", machine("one"))


@pytest.mark.slow  # four processes, of which each imports what a run needs
def test_a_run_that_is_killed_at_any_moment_goes_on_from_what_is_there(
    switches: Path, there: Store, recipe: Recipe, tmp_path: Path
) -> None:
    local = build.run(recipe, "embedded", tmp_path / "local")
    command = [sys.executable, "-c", CHILD, str(tmp_path / "fake.toml"), ADDRESS, ",".join(NAMES)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    there.rate = 0.1
    there.only = "lost reply"
    rng = random.Random(7)
    seen: dict[str, int] = {}
    for _ in range(3):
        child = subprocess.Popen(command, env=environment, start_new_session=True)
        before = there.requests.total()
        moment = before + rng.randrange(20, 60)
        while child.poll() is None and there.requests.total() < moment:
            time.sleep(0.005)
        child.kill()
        child.wait()
        shards = {path.name: path.stat().st_mtime_ns for path in bucket(there).glob("tables/*/*.parquet")}
        assert {name: shards[name] for name in seen} == seen  # what is finished is not made again
        seen = shards
    there.rate = 0.0
    done = build.run(recipe, "embedded", store.copy_of(objects.parse(ADDRESS)))
    assert done.splits == local.splits
    assert published(bucket(there) / "dataset") == published(local.dataset)
