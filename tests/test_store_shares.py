"""Who holds a run: many shares of one stage, or one process; dead holders of this machine and of others."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen import store
from datagen.errors import RunError
from datagen.store import Share, lease, lock

SETTINGS = {"digest": "d", "version": "1", "recipe": {"name": "x", "prompts": {"count": 3}}}


@pytest.fixture
def run(tmp_path: Path) -> store.Run:
    """A run that was started, and that nobody holds."""
    with store.hold(store.Run(tmp_path), SETTINGS):
        pass
    return store.Run(tmp_path)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life every few hundredths of a second."""
    monkeypatch.setattr(lease, "BEAT_S", 0.05)
    monkeypatch.setattr(lease, "DEAD_S", 0.4)


def share(text: str) -> Share:
    stage, number, count = text.split()
    return Share(stage, int(number), int(count))


def written(path: Path, **changes: Any) -> lease.Holder:
    """Write somebody else into a file, as he does it himself."""
    who = lease.Holder(41, "there", "2026-01-02 03:04:05", "another machine", 7, "share 0/4 of images")
    who = dataclasses.replace(who, **changes)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(who)))
    return who


@contextlib.contextmanager
def child(run: store.Run, share: str | None) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds a run, or a share of it, until it is killed."""
    held = f"store.hold(run, {SETTINGS!r})" if share is None else f"store.hold_share(run, {SETTINGS!r}, store.{share})"
    code = (
        "import time; from pathlib import Path; from datagen import store\n"
        f"run = store.Run(Path({str(run.root)!r}))\n"
        f"with {held}:\n    print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 11), st.integers(0, 11))
def test_shares_overlap_if_and_only_if_they_have_a_shard_in_common(n: int, m: int, i: int, j: int) -> None:
    one, other = Share("images", i % n, n), Share("images", j % m, m)
    common = any(one.has(index) and other.has(index) for index in range(n * m))
    assert one.overlaps(other) == common
    assert not one.overlaps(dataclasses.replace(other, stage="scores"))


def test_shares_of_one_run_are_held_together_and_named(run: store.Run) -> None:
    with contextlib.ExitStack() as stack:
        for text in ("images 0 4", "images 1 4", "images 1 2", "scores 0 4", "images 6 8"):
            if text == "images 1 2":
                with pytest.raises(RunError, match=r"in use by process .* \(share 1/4 of images\): wait for it"):
                    stack.enter_context(store.hold_share(run, SETTINGS, share(text)))
                continue
            stack.enter_context(store.hold_share(run, SETTINGS, share(text)))
        assert [part.rpartition("(")[2] for part in (store.holder(run) or "").split("; ")] == [
            "share 0/4 of images)", "share 1/4 of images)", "share 6/8 of images)", "share 0/4 of scores)",
        ]  # fmt: skip
        with pytest.raises(RunError, match=r"in use by process .*share 0/4 of images\).*0/4 of scores\): wait"):
            stack.enter_context(store.hold(run, SETTINGS))
    assert store.holder(run) is None
    with store.hold(run, SETTINGS):
        assert not (run.root / ".shares").exists()
        with pytest.raises(RunError, match=rf"in use by process {os.getpid()} on"), held(run, "images 0 4"):
            pass


def held(run: store.Run, text: str) -> contextlib.AbstractContextManager[lease.Lease]:
    return store.hold_share(run, SETTINGS, share(text))


def test_a_share_of_what_was_never_started_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run directory"), held(store.Run(tmp_path), "images 0 2"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", [None, 'Share("images", 0, 4)'])
def test_who_is_killed_lets_go_of_a_run_and_of_a_share(run: store.Run, what: str | None) -> None:
    with child(run, what) as process:
        with pytest.raises(RunError, match=f"in use by process {process.pid} on .* since"), held(run, "images 0 4"):
            pass
        process.kill()
        process.wait()
        with held(run, "images 0 4"):
            assert f"process {os.getpid()} on" in str(store.holder(run))
            with pytest.raises(RunError, match=f"in use by process {os.getpid()} on"), store.hold(run, SETTINGS):
                pass
    with store.hold(run, SETTINGS):
        pass


def test_the_number_of_a_scheduler_stands_with_the_holder(run: store.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "80")
    with store.hold(run, SETTINGS):
        assert str(store.holder(run)).endswith("(Slurm job 80)")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "77")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    with held(run, "images 3 9"):
        assert str(store.holder(run)).endswith("(share 3/9 of images, Slurm job 77_3)")


def test_leftovers_of_a_share_are_cleared_and_those_of_others_left(run: store.Run) -> None:
    folder = run.root / "tables/images"
    folder.mkdir(parents=True)
    for index in range(6):
        (folder / f".images-{index:05d}.parquet.77-aa.tmp").touch()
    with held(run, "images 1 3"):
        assert [path.name[8:13] for path in sorted(folder.iterdir())] == ["00000", "00002", "00003", "00005"]


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("name", [".lock", ".shares/images-0-of-4"])
def test_a_holder_on_another_machine_counts_as_long_as_it_gives_signs_of_life(run: store.Run, name: str) -> None:
    path = run.root / name
    written(path)
    ended = threading.Event()
    signs = threading.Thread(target=lambda: [os.utime(path) for _ in iter(lambda: ended.wait(0.03), True)])
    signs.start()
    try:
        assert "process 41 on there since 2026-01-02 03:04:05" in str(store.holder(run))
        for block in (store.hold(run, SETTINGS), held(run, "images 0 2")):
            with pytest.raises(RunError, match="in use by process 41 on there since 2026"), block:
                pass
    finally:
        ended.set()
        signs.join()
    with held(run, "images 0 2"):  # none for long enough: dead
        pass
    with store.hold(run, SETTINGS):
        pass


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("name", [".lock", ".shares/images-0-of-4"])
def test_who_waits_for_another_machine_says_for_whom_and_until_when(run: store.Run, name: str) -> None:
    said: list[str] = []
    for block in (
        store.hold_share(run, SETTINGS, share("images 0 2"), say=said.append),
        store.hold(run, SETTINGS, said.append),
    ):
        written(run.root / name)
        os.utime(run.root / name, (0, time.time() - 300))
        with block:
            pass
        first, last = said
        assert first.startswith(
            "waiting for process 41 on there since 2026-01-02 03:04:05 (share 0/4 of images), whose"
        )
        assert re.search(
            r"is 30\d s old by .*: if it gives none until \d\d:\d\d:\d\d, which is 0 s, it is taken", first
        )
        assert last.startswith("taken over from process 41 on there since 2026-01-02 03:04:05")
        said.clear()
    with store.hold(run, SETTINGS, said.append):
        pass
    assert said == []  # of nobody there is nothing to say


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("name", [".lock", ".shares/images-0-of-4"])
def test_only_the_first_share_waits_for_one_that_is_dead(run: store.Run, name: str) -> None:
    written(run.root / name)
    for number, lines in ((0, 2), (0, 0), (1, 0)):
        said: list[str] = []
        with store.hold_share(run, SETTINGS, Share("images", number, 2), say=said.append):
            assert len(said) == lines


def test_one_that_was_taken_for_dead_by_a_share_sees_it(run: store.Run, soon: None) -> None:
    with store.hold(run, SETTINGS) as lease_, (run.root / ".lock").open("r+b") as file:
        lease.forget(run.root / ".lock", file.fileno())
        time.sleep(0.3)
        with pytest.raises(RunError, match="was taken over by another process"):
            lease_.check()


def test_nobody_waits_for_a_sign_of_one_that_is_long_dead(run: store.Run) -> None:
    written(run.root / ".lock")
    os.utime(run.root / ".lock", (0, time.time() - 7200))
    assert store.holder(run) is None
    with store.hold(run, SETTINGS):
        pass


@pytest.mark.parametrize("alive", [True, False])
def test_where_there_are_no_locks_a_process_of_this_machine_counts_while_it_runs(
    run: store.Run, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lease.fcntl, "flock", no_locks)
    parent = os.getppid()
    begun = lease._ticks(parent)
    assert begun is not None or sys.platform != "linux"
    written(
        run.root / ".lock", pid=parent, machine=lease._machine(), ticks=(begun or 0) + (0 if alive else 1), job=""
    )  # the same number a tick later is another process
    if alive and begun is not None:
        with pytest.raises(RunError, match=f"in use by process {parent} on"), store.hold(run, SETTINGS):
            pass
    else:
        with store.hold(run, SETTINGS):
            pass


@pytest.mark.usefixtures("soon")
def test_a_process_that_was_taken_for_dead_is_told_who_goes_on(run: store.Run) -> None:
    with store.hold(run, SETTINGS) as own:
        own.check()
        written(run.root / ".lock", job="")
        until = time.monotonic() + 10
        while time.monotonic() < until and not own._taken:
            time.sleep(0.02)
        with pytest.raises(RunError, match="was taken over by process 41 on there .*what is finished is kept"):
            own.check()
    assert lease.read(run.root / ".lock") is not None  # the other's


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"pid": 1}', '{"pid": "x", "machine": 3}', "\0", "[" * 100_000])
def test_what_nobody_of_ours_wrote_holds_nothing(run: store.Run, text: str) -> None:
    (run.root / ".shares").mkdir()
    for name in (".lock", ".shares/images-0-of-4", ".shares/other", ".shares/images-0-of-0"):
        (run.root / name).write_text(text)
    assert store.holder(run) is None
    with held(run, "images 0 2"):
        pass
    with store.hold(run, SETTINGS):
        assert not (run.root / lock.SHARES).exists()


def test_what_is_paid_for_is_done_on_one_machine(run: store.Run) -> None:
    written(run.root / ".shares/scores-1-of-2", job="share 1/2 of scores")
    with held(run, "scores 0 2"):
        pass
    with (
        pytest.raises(RunError, match=r"41 on there .* is at work .*: do all shares of this stage there, or in one"),
        store.hold_share(run, SETTINGS, Share("scores", 0, 2), one_machine=True),
    ):
        pass
    written(run.root / ".shares/scores-1-of-2", machine=lease._machine(), pid=os.getppid())
    with store.hold_share(run, SETTINGS, Share("scores", 0, 2), one_machine=True):
        pass
