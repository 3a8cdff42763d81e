"""Executors: every shard once, a second try, and user errors that end everything."""

from __future__ import annotations

import functools
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from shard_work import Prepared, always_fail, fail_first, square

from datagen import executors
from datagen import recipe as recipes
from datagen.errors import ModelError
from datagen.executors import Failure, local


@pytest.mark.parametrize("workers", [1, 2])
def test_every_shard_is_done_once(workers: int) -> None:
    assert sorted(local.run(square, [3, 1, 2], workers)) == [(1, 1), (2, 4), (3, 9)]
    assert list(local.run(square, [], workers)) == []


def test_a_second_try_mends_what_failed_once(tmp_path: Path) -> None:
    results = dict(local.run(functools.partial(fail_first, tmp_path), [0, 1, 2, 3], 2))
    assert set(results) == {0, 1, 2, 3}
    assert all(isinstance(result, int) and result != os.getpid() for result in results.values())


@pytest.mark.parametrize("workers", [1, 2])
def test_two_failures_are_yielded_with_their_reason(workers: int) -> None:
    results = dict(local.run(always_fail, [0, 1], workers))
    assert all(isinstance(result, Failure) for result in results.values())
    assert {getattr(result, "reason", "") for result in results.values()} == {
        "ValueError: never 0",
        "ValueError: never 1",
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_a_user_error_ends_everything(tmp_path: Path, workers: int) -> None:
    with pytest.raises(ModelError, match="no such model"):
        list(local.run(functools.partial(fail_first, tmp_path), [5, 5], workers))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are spawned")
def test_workers_have_their_libraries_from_the_start_and_one_that_dies_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GPUS", ())
    multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]  # one of another test's
    results = dict(local.run(Prepared(tmp_path), [0, 1, 2, 3], 2))
    assert all(isinstance(result, tuple) and result[0] for result in results.values()), results
    assert os.getpid() not in {result[1] for result in results.values() if isinstance(result, tuple)}
    monkeypatch.setattr(local, "GPUS", (str(tmp_path),))  # a GPU: nothing is imported before a worker begins
    assert [result[0] for _, result in local.run(Prepared(tmp_path), [0, 1], 2) if isinstance(result, tuple)] == [
        False, False,
    ]  # fmt: skip


ORPHANS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from datagen.executors import local
from shard_work import Prepared
if __name__ == "__main__":
    local.GPUS = ()
    list(local.run(Prepared(Path(sys.argv[2])), [9, 9], 2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are spawned")
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_workers_whose_parent_was_ended(tmp_path: Path, signal_: signal.Signals) -> None:
    (tmp_path / "orphans.py").write_text(ORPHANS)
    command = [sys.executable, str(tmp_path / "orphans.py"), str(Path(__file__).parents[1] / "support"), str(tmp_path)]
    parent = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    until(lambda: (tmp_path / "9").exists())
    os.kill(parent.pid, signal_)
    parent.wait()
    until(lambda: is_gone(parent.pid))


def until(holds: Callable[[], bool]) -> None:
    """Wait for what a loaded machine may need half a minute for."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(group: int) -> bool:
    """Whether no process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


BARS = """
import sys
sys.path.insert(0, sys.argv[1])
from datagen.executors import local
from shard_work import with_a_bar
if __name__ == "__main__":
    print(sorted(local.run(with_a_bar, [3, 4], 2)))
"""


def test_workers_that_are_ended_leave_nothing_of_their_bars_behind(tmp_path: Path) -> None:
    (tmp_path / "bars.py").write_text(BARS)
    command = [sys.executable, str(tmp_path / "bars.py"), str(Path(__file__).parents[1] / "support")]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    assert made.stdout == "[(3, 3), (4, 6)]\n" and "leaked" not in made.stderr


def test_the_embedded_model_gets_a_core_each_and_a_larger_one_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = recipes.load("pick-style", []).profiles
    for cores, workers in ((1, 1), (2, 2), (64, executors.MOST_WORKERS)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert executors.default_workers(profiles["embedded"]) == workers
        assert executors.default_workers(profiles["sdxl"]) == 1
