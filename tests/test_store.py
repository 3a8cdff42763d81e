"""The run directory: atomic commits, the lock, refusals, and a disk that is full."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import pickle
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen import store
from datagen.errors import RunError
from datagen.store import files, seal

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
    run.shard("images", 7).unlink()
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


@pytest.mark.parametrize(
    "text",
    ["", "{", "{}", "[]", "null", "3", '"x"', "[" * 100_000, '{"name": "pasta", "digest": 3}', "\xff\xfe", "\0"]
    + [json.dumps(SETTINGS | wrong) for wrong in ({"digest": None}, {"recipe": []}, {"version": 1})],
)
def test_a_recipe_json_that_is_no_runs_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "recipe.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match="recipe.json is not .* of a run.*: choose another --out, or put the file back"):
        store.Run(tmp_path).settings()
    with pytest.raises(RunError, match="recipe.json is not"), store.hold(store.Run(tmp_path), SETTINGS):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]


def test_a_recipe_json_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").mkdir()
    with pytest.raises(RunError, match=r"recipe.json cannot be read \(Is a directory\)"):
        store.Run(tmp_path).settings()


def test_the_same_recipe_under_another_digest_is_of_another_version(tmp_path: Path) -> None:
    with store.hold(store.Run(tmp_path), SETTINGS):
        pass
    with pytest.raises(RunError, match="started with datagen 1, which is another version"):
        store.check(store.Run(tmp_path), SETTINGS | {"digest": "e"})


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
        assert f"process {child.pid} on " in str(store.holder(run))
        with pytest.raises(RunError, match=f"in use by process {child.pid} on"), store.hold(run, SETTINGS):
            pass
        child.kill()
    assert store.holder(run) is None
    with store.hold(run, SETTINGS):
        pass


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing"])
def test_a_damaged_shard_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    run = store.Run(tmp_path)
    run.commit("images", 0, table(), **FOOTER)
    run.shard("images", 0).write_bytes(content)
    for read in (run.footer, run.table):
        with pytest.raises(
            store.Damaged, match=r"images-00000.parquet is damaged \(it is cut off.* delete it and rerun"
        ):
            read("images", 0)


@pytest.mark.parametrize("seed", range(4))
def test_whichever_bit_is_flipped_the_shard_is_named(tmp_path: Path, seed: int) -> None:
    run, rng = store.Run(tmp_path), random.Random(seed)
    run.commit("images", 0, table(), **FOOTER)
    whole = run.shard("images", 0).read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    places = [0, footer - 1, footer, len(whole) - 1, *rng.sample(range(len(whole)), 200)]
    for place in [*places, *range(footer, len(whole), 7)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        run.shard("images", 0).write_bytes(damaged)
        with pytest.raises(store.Damaged, match="images-00000.parquet is damaged"):
            run.table("images", 0)
        if place >= footer:
            with pytest.raises(store.Damaged, match="images-00000.parquet is damaged"):
                run.footer("images", 0)
    run.shard("images", 0).write_bytes(whole)
    assert run.table("images", 0).num_rows == 3


def test_a_shard_in_the_place_of_another_is_named(tmp_path: Path) -> None:
    run = store.Run(tmp_path)
    for index in range(2):
        run.commit("images", index, table(), **FOOTER)
    shutil.copy(run.shard("images", 0), run.shard("images", 1))
    with pytest.raises(store.Damaged, match="it is the file of images-00000"):
        run.footer("images", 1)


def test_texts_that_look_like_our_digests_do_no_harm(tmp_path: Path) -> None:
    run, hostile = store.Run(tmp_path), f'"seal": "{"0" * 64}", "data": "{"f" * 64}"'
    rows = pa.table({"name": [hostile] * 3})
    made = run.commit("images", 0, rows, **FOOTER | {"drops": {hostile: 1, "seal": 2, "data": 3}})
    assert run.footer("images", 0) == made
    assert run.table("images", 0).equals(rows)


def test_a_parquet_file_of_somebody_else_is_named(tmp_path: Path) -> None:
    run = store.Run(tmp_path)
    run.shard("images", 0).parent.mkdir(parents=True)
    pq.write_table(table(), run.shard("images", 0))
    with pytest.raises(store.Damaged, match="no file of a run, or of another version"):
        run.footer("images", 0)


def test_what_a_worker_found_damaged_can_be_sent() -> None:
    sent = pickle.loads(pickle.dumps(store.Damaged(Path("a/b.parquet"), "it is cut off")))
    assert (sent.path, sent.why) == (Path("a/b.parquet"), "it is cut off")


@given(st.lists(st.integers(0, 250), max_size=330), st.integers(0, 400), st.lists(st.integers(1, 90), max_size=9))
def test_row_groups_hold_all_rows_in_order_and_are_bound_by_rows_and_bytes_however_rows_come(
    sizes: list[int], limit: int, parts: list[int]
) -> None:
    rows = pa.table(
        {
            "image": [{"bytes": b"x" * size} for size in sizes],
            "place": list(range(len(sizes))),
            "kept": [None if size % 3 else size % 2 == 0 for size in sizes],
        },
        schema=pa.schema(
            [("image", pa.struct([("bytes", pa.binary())])), ("place", pa.int64()), ("kept", pa.bool_())]
        ),
    )
    starts = [0, *itertools.accumulate(parts)]
    cut = [rows.slice(first, count) for first, count in zip(starts, parts, strict=False)] + [rows.slice(starts[-1])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "GROUP_BYTES", limit)
        groups = list(store.row_groups([rows]))
        assert [group.to_pylist() for group in store.row_groups(cut)] == [group.to_pylist() for group in groups]
        assert store.content_hash(cut) == store.content_hash(rows)
    assert pa.concat_tables(groups)["place"].to_pylist() == rows["place"].to_pylist()
    for group in groups:
        held = [len(value["bytes"]) for value in group["image"].to_pylist()]
        assert len(held) <= store.ROW_GROUP and (sum(held) <= limit or len(held) == 1)


def test_a_shard_that_comes_by_parts_is_the_same_file_and_is_read_by_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "GROUP_BYTES", 10_000)
    run, rows = store.Run(tmp_path), table(23)
    whole = run.commit("images", 0, rows, **FOOTER)
    data = run.shard("images", 0).read_bytes()
    assert run.commit("images", 0, (rows.slice(first, 3) for first in range(0, 23, 3)), **FOOTER) == whole
    assert run.shard("images", 0).read_bytes() == data
    assert [part.num_rows for part in run.tables("images", 0)] == [5, 5, 5, 5, 3]
    assert run.table("images", 0).equals(rows)


def test_small_row_groups_are_written_and_read_together(tmp_path: Path) -> None:
    run, rows = store.Run(tmp_path), pa.table({"place": range(5301)})
    run.commit("scores", 0, rows, **FOOTER)
    assert pq.read_metadata(run.shard("scores", 0)).num_row_groups == 2
    assert [part.num_rows for part in run.tables("scores", 0)] == [5000, 301]
    assert run.table("scores", 0).equals(rows) and run.table("scores", 0, ["place"]).equals(rows)


@pytest.mark.parametrize(
    ("first", "count"),
    [(0, 10), (0, 5301), (4990, 20), (4999, 1), (5000, 1), (5295, 100), (5301, 5), (9000, 5), (0, 0)],
)
def test_a_part_of_a_shard_is_what_its_table_holds_there(first: int, count: int, tmp_path: Path) -> None:
    run, rows = store.Run(tmp_path), pa.table({"place": range(5301)})
    run.commit("scores", 0, rows, **FOOTER)
    assert run.part("scores", 0, first, count).to_pylist() == rows.slice(first, count).to_pylist()


def test_a_shard_that_comes_by_parts_is_never_in_memory_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "GROUP_BYTES", 4_000_000)
    held: list[int] = []

    def parts() -> Iterator[pa.Table]:
        for _ in range(60):
            held.append(pa.total_allocated_bytes())
            yield pa.table({"image": [os.urandom(1_000_000)]})

    run = store.Run(tmp_path)
    assert run.commit("images", 0, parts(), **FOOTER).rows == 60
    assert max(held) - held[0] < 25_000_000
    first = pa.total_allocated_bytes()
    assert max(pa.total_allocated_bytes() for _ in run.tables("images", 0)) - first < 25_000_000


def test_images_lie_in_the_file_as_they_are_and_texts_compressed_in_dictionaries_with_a_page_index(
    tmp_path: Path,
) -> None:
    image, texts = os.urandom(5000), ["the same text" * 30] * 40
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = pa.table(
        [
            pa.array([{"bytes": image + bytes([k]), "path": f"{k}.webp"} for k in range(40)], picture),
            pa.array(texts),
            pa.array([[0.5] * 100] * 40, pa.list_(pa.float64())),
        ],
        names=["chosen", "prompt", "lean"],
    )
    with (tmp_path / "file").open("w+b") as file, files.parquet_writer(file, rows.schema) as writer:
        writer.write_table(rows)
    assert all(image + bytes([k]) in (tmp_path / "file").read_bytes() for k in range(40))
    group = pq.read_metadata(tmp_path / "file").row_group(0)
    columns = {(column := group.column(k)).path_in_schema: column for k in range(group.num_columns)}
    assert {name: column.compression for name, column in columns.items()} == {
        "chosen.bytes": "UNCOMPRESSED", "chosen.path": "ZSTD", "prompt": "ZSTD", "lean.list.element": "ZSTD",
    }  # fmt: skip
    assert {name for name, column in columns.items() if "RLE_DICTIONARY" in column.encodings} == {
        "chosen.path", "prompt"
    }  # fmt: skip
    assert all(column.has_offset_index for column in columns.values())
    assert [name for name, column in columns.items() if column.statistics is None] == ["chosen.bytes"]
    assert pq.read_table(tmp_path / "file").equals(rows)


def test_nothing_is_written_into_a_folder_before_it_is_known_whose_it_is(tmp_path: Path) -> None:
    for name in ("thesis.tex", ".git", ".bashrc"):
        folder = tmp_path / name.strip(".")
        folder.mkdir()
        (folder / name).touch()
        with pytest.raises(RunError, match=f"holds other files .{name}."), store.hold(store.Run(folder), SETTINGS):
            pass
        assert [path.name for path in folder.iterdir()] == [name]


def test_a_lock_that_says_a_living_process_holds_nothing_unless_it_is_locked(tmp_path: Path) -> None:
    run = store.Run(tmp_path)
    with store.hold(run, SETTINGS):
        pass
    me = {"pid": os.getpid(), "host": socket.gethostname(), "started": "today"}
    (tmp_path / ".lock").write_text(json.dumps(me))
    assert store.holder(run) is None
    for text in ("", "{", "[]", '{"pid": "x"}'):
        with store.hold(run, SETTINGS):
            (tmp_path / ".lock").write_text(text)
            assert store.holder(run) == "another process"


def test_who_only_looks_at_the_lock_does_not_stop_a_run(tmp_path: Path) -> None:
    run = store.Run(tmp_path)
    with store.hold(run, SETTINGS):
        pass
    looking = os.open(tmp_path / ".lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.02, os.close, [looking]).start()
    with store.hold(run, SETTINGS):
        pass


def test_a_shard_that_cannot_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.Run(tmp_path)
    run.commit("images", 0, table(), **FOOTER)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(seal, "facts", fail)
    for read in (run.footer, run.table):
        with pytest.raises(RunError, match=r"cannot read .*images-00000.parquet \(Input/output error\)") as refused:
            read("images", 0)
        assert not isinstance(refused.value, store.Damaged)
