"""Shards on Ray: every shard once, actors that die, drivers that are killed; one cluster for all."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_stages import RECIPE
from shard_work import always_fail, die_of_seven, environment_of, fail_first, square

from datagen import executors
from datagen import recipe as recipes
from datagen.errors import InputError, ModelError
from datagen.executors import Failure, ray

SUPPORT, ROOT = Path(__file__).parents[1] / "support", Path(__file__).parents[2]


def test_without_ray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    with pytest.raises(InputError, match=r"--executor ray needs Ray \(.*\): pip install 'datagen\[ray\]'"):
        list(ray.run(square, [1, 2]))
    assert list(ray.run(square, [])) == []
    assert executors.default_workers(recipes.load("pick-style", []).profile("embedded"), "ray") == 0


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:{port}", "nothing answers there: .*[Rr]efused"),
        ("ray://127.0.0.1:{port}", "nothing answers there: .*[Rr]efused"),
        ("[::1]:{port}", "nothing answers there: "),
        ("no-such-host.invalid:6379", "nothing answers there: "),
        (f"{'x' * 70}.invalid:6379", "nothing answers there: "),
        ("http://127.0.0.1:8265", "what is accepted is HOST:PORT, ray://HOST:PORT or auto"),
        ("127.0.0.1", "what is accepted is "),
        ("127.0.0.1:99999", "what is accepted is "),
        ("nonsense", "what is accepted is "),
        (":6379", "what is accepted is "),
    ],
)
def test_an_address_where_no_cluster_is_is_refused_before_ray_tries_for_minutes(
    address: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(port=free.getsockname()[1])
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(
        InputError, match=rf"no Ray cluster can be joined at {re.escape(address)} \({why}.*: mend RAY_"
    ):
        ray._address()


@pytest.mark.parametrize(("address", "meant"), [("", None), (" local ", None), ("auto", "auto"), (None, None)])
def test_without_an_address_a_cluster_is_started_here(
    address: str | None, meant: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    assert ray._address() == meant


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cluster of this machine, joined by its address as one of many machines would be."""
    pytest.importorskip("ray")
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))  # where Ray writes the token of a cluster
        patch.setenv("PYTHONPATH", f"{SUPPORT}{os.pathsep}{ROOT}")
        patch.setenv("SAID_SINCE", "by the driver")
        patch.delenv("RAY_ADDRESS", raising=False)
        connected = ray._connected(3)
        patch.setenv("RAY_ADDRESS", connected.get_runtime_context().gcs_address)
        yield
        connected.shutdown()


@pytest.mark.slow  # a cluster takes half a minute to start
@pytest.mark.usefixtures("cluster")
class TestOnACluster:
    def test_every_shard_is_done_once_in_actors(self) -> None:
        assert sorted(ray.run(square, [3, 1, 2])) == [(1, 1), (2, 4), (3, 9)]
        # More workers than there is room for do not hold up the others.
        assert sorted(ray.run(square, range(20), 9)) == [(index, index * index) for index in range(20)]

    def test_a_second_try_and_another_actor_mend_what_failed_once(self, tmp_path: Path) -> None:
        results = dict(ray.run(functools.partial(fail_first, tmp_path), [0, 1, 2, 3], 2))
        assert set(results) == {0, 1, 2, 3}
        assert all(isinstance(result, int) and result != os.getpid() for result in results.values()), results

    def test_two_failures_and_a_user_error_are_as_those_of_this_machine(self, tmp_path: Path) -> None:
        results: list[Any] = [result for _, result in ray.run(always_fail, [0, 1], 2)]
        assert sorted(result.reason for result in results) == ["ValueError: never 0", "ValueError: never 1"]
        with pytest.raises(ModelError, match="no such model"):
            list(ray.run(functools.partial(fail_first, tmp_path), [5, 5], 2))

    def test_a_shard_that_kills_every_worker_is_a_failure_and_the_others_are_done(self, tmp_path: Path) -> None:
        results = dict(ray.run(die_of_seven, [6, 7, 8, 9], 2))
        assert isinstance(results.pop(7), Failure) and results == {6: 6, 8: 8, 9: 9}

    def test_a_driver_that_is_killed_can_be_started_again(self, tmp_path: Path) -> None:
        recipe = tmp_path / "r.toml"
        recipe.write_text(RECIPE.replace("count = 22", "count = 10"))
        switches = tmp_path / "switches"
        switches.mkdir()
        (switches / "slow-images").touch()
        environment = {**os.environ, "FAKE_STAGES_DIR": str(switches)}
        command = [sys.executable, "-c", DRIVER, str(recipe)]
        driver = subprocess.Popen([*command, str(tmp_path / "out"), "ray"], env=environment)
        images = tmp_path / "out/tables/images"
        until(lambda: images.is_dir() and len(list(images.glob("*.parquet"))) >= 1)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        done = len(list(images.glob("*.parquet")))
        (switches / "slow-images").unlink()
        subprocess.run([*command, str(tmp_path / "out"), "ray"], env=environment, check=True)
        drawn = sum(line.startswith("images") for line in (switches / "calls").read_text().splitlines())
        assert 1 <= done < 3 and drawn <= 3 + 1  # at most the shard of its worker was lost
        subprocess.run([*command, str(tmp_path / "local"), "local"], env=environment, check=True)
        assert content(tmp_path / "out/dataset") == content(tmp_path / "local/dataset")

    def test_what_the_driver_knows_reaches_its_workers_and_its_usage_is_told_nobody(self) -> None:
        (seen,) = (json.loads(result) for _, result in ray.run(environment_of, [0]))
        assert seen["SAID_SINCE"] == "by the driver" and seen["RAY_USAGE_STATS_ENABLED"] == "0"
        assert seen["cwd"] == os.getcwd()


def until(holds: Any) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


DRIVER = """
import importlib, sys
from pathlib import Path
from datagen import recipe
from datagen.pipeline import build, plan
names = "principles,prompts,images,scores,pairs".split(",")
plan.STAGES = tuple(importlib.import_module(f"fake_stages.{name}").STAGE for name in names)
build.run(recipe.load(sys.argv[1], []), "embedded", Path(sys.argv[2]), executor=sys.argv[3], workers=1)
"""
