"""The run directory: atomic commits, the lock, refusals, and a disk that is full."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from datagen import store
from datagen.errors import RunError

SETTINGS = {"digest": "d", "version": "1", "recipe": {"name": "x", "prompts": {"count": 3}}}
FOOTER: dict[str, Any] = {"errors": 0, "seconds": 1.5, "digest": "d", "version": "1", "drops": {}}


def table(rows: int = 3) -> pa.Table:
    return pa.table({"name": [f"row {i}" for i in range(rows)], "image": [os.urandom(2000) for _ in range(rows)]})


def test_a_committed_shard_reads_back_with_its_footer(tmp_path: Path) -> None:
    run, rows = store.Run(tmp_path), table()
    assert run.footer("images", 7) is None
    made = run.commit("images", 7, rows, **FOOTER)
    assert run.shard("images", 7) == tmp_path / "tables/images/images-00007.parquet"
    assert run.footer("images", 7) == made
    assert (made.rows, made.seconds) == (3, 1.5)
    assert run.table("images", 7).equals(rows)
    run.discard("images", 7)
    assert run.footer("images", 7) is None


def test_equal_rows_have_equal_hashes_however_they_are_chunked(tmp_path: Path) -> None:
    rows = table(5)
    chunked = pa.concat_tables([rows.slice(0, 2), rows.slice(2)])
    assert store.content_hash(rows) == store.content_hash(chunked)
    assert store.content_hash(rows) != store.content_hash(rows.slice(1))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fill(file: Any) -> None:
        file.write(b"new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_file(path, fill)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("number", "line"), [(errno.ENOSPC, "disk full while writing"), (errno.EROFS, "cannot write")]
)
def test_a_disk_that_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, line: str
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RunError, match=line):
        store.Run(tmp_path).commit("images", 0, table(), **FOOTER)
    assert not list(tmp_path.rglob("*.tmp"))
    assert not list(tmp_path.rglob("*.parquet"))


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 64 KiB at `folder`; skips where mounting is not allowed."""
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(options, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs Linux and root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_what_was_finished(tmp_path: Path) -> None:
    run = store.Run(tmp_path / "disk")
    with small_disk(run.root):
        with store.hold(run, SETTINGS):
            run.commit("images", 0, table(2), **FOOTER)
            with pytest.raises(RunError, match="disk full while writing .*images-00001.parquet: free some space"):
                run.commit("images", 1, table(100), **FOOTER)
            assert run.footer("images", 0) is not None
            assert run.footer("images", 1) is None
        assert not list(run.root.rglob("*.tmp"))


@pytest.mark.parametrize("place", ["/proc/nowhere/out", "file/out"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write"), store.hold(store.Run(tmp_path / place), SETTINGS):
        pass


def test_a_directory_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="holds other files .thesis.tex."), store.hold(store.Run(tmp_path), SETTINGS):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "precious"
    assert not (tmp_path / "recipe.json").exists()


def test_another_recipe_is_refused_by_its_keys(tmp_path: Path) -> None:
    with store.hold(store.Run(tmp_path), SETTINGS):
        pass
    other = {"digest": "e", "version": "1", "recipe": {"name": "x", "prompts": {"count": 4}, "seed": 1}}
    with (
        pytest.raises(RunError, match=r"other settings \(prompts.count 3 → 4, seed None → 1\): choose another --out"),
        store.hold(store.Run(tmp_path), other),
    ):
        pass


def test_a_damaged_settings_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(RunError, match="recipe.json cannot be read"):
        store.Run(tmp_path).settings()


def test_leftovers_of_a_killed_process_are_cleared(tmp_path: Path) -> None:
    run = store.Run(tmp_path)
    with store.hold(run, SETTINGS):
        pass
    leftover = tmp_path / "tables/images/.images-00000.parquet.77.tmp"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    (tmp_path / ".dataset.tmp").mkdir()
    with store.hold(run, SETTINGS):
        assert not leftover.exists()
        assert not (tmp_path / ".dataset.tmp").exists()


def test_the_lock_names_its_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from datagen import store\n"
        f"with store.hold(store.Run(Path({str(tmp_path)!r})), {SETTINGS!r}):\n"
        "    print('held', flush=True); time.sleep(600)"
    )
    run = store.Run(tmp_path)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert f"process {child.pid} on " in str(run.holder())
        with pytest.raises(RunError, match=f"in use by process {child.pid} on"), store.hold(run, SETTINGS):
            pass
        child.kill()
    assert run.holder() is None
    with store.hold(run, SETTINGS):
        pass


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing"])
def test_a_damaged_shard_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    run = store.Run(tmp_path)
    run.commit("images", 0, table(), **FOOTER)
    run.shard("images", 0).write_bytes(content)
    for read in (run.footer, run.table):
        with pytest.raises(RunError, match=r"images-00000.parquet is not a complete shard .* delete it and rerun"):
            read("images", 0)
