"""What keeps the memory of an export flat, however many rows and files it has."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen import store
from datagen.errors import RunError
from datagen.export.parts import on_disk, tables
from datagen.store import files, sums

ODD = ["a", "B", "a.txt", "é", "line\nbreak", "quote\"'", "雪", " ", "-x", ".dot"]


@pytest.mark.parametrize("at_once", [1, 3, 5, 1_000])
def test_names_come_in_order_however_many_are_sorted_at_once(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "NAMES", at_once)
    wanted = sorted([*ODD, *(f"{k:03d}" for k in range(40))])
    for name in wanted:
        (tmp_path / name).touch()
    assert list(store.names(tmp_path)) == wanted


def test_a_folder_is_removed_with_all_in_it_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "stay").mkdir()
    (tmp_path / "stay" / "file").touch()
    (tmp_path / "go" / "deep" / "er").mkdir(parents=True)
    for k in range(300):
        (tmp_path / "go" / "deep" / f"{k}").touch()
    (tmp_path / "go" / "link").symlink_to(tmp_path / "stay")
    (tmp_path / "other").symlink_to(tmp_path / "stay")
    for name in ("go", "other", "never there"):
        store.remove(tmp_path / name)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["stay", "stay/file"]


def test_a_table_that_was_added_is_found_beside_many_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "x.txt").touch()
    sums.write(folder, "kohya")
    (folder / "data" / "more.parquet").touch()
    assert list(sums.differences(folder)) == [f"{folder / 'data' / 'more.parquet'} was added since"]


@pytest.mark.parametrize(("files", "wanted"), [(9, []), (25, [(10, 25), (20, 25), (25, 25)])])
def test_digests_and_their_check_show_how_far_they_are_where_there_are_many_files(
    files: int, wanted: list[tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "SHOWN_EVERY", 10)
    (tmp_path / "out").mkdir()
    for k in range(files):
        (tmp_path / "out" / str(k)).write_bytes(b"x")
    told: list[tuple[str, int, int]] = []
    sums.write(tmp_path / "out", "kohya", lambda *what: told.append(what))
    assert not list(sums.differences(tmp_path / "out", progress=lambda *what: told.append(what)))
    assert told == [(what, *one) for what in ("digests", "check") for one in wanted]


def test_each_large_file_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "LARGE", 99)
    (tmp_path / "out").mkdir()
    for k in range(3):
        (tmp_path / "out" / str(k)).write_bytes(b"x" * 100)
    told: list[int] = []
    sums.write(tmp_path / "out", "kohya", lambda what, done, total: told.append(done))
    assert told == [1, 2, 3, 3]


def test_a_file_ends_after_so_many_row_groups_and_no_row_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FILE_GROUPS", 2)
    monkeypatch.setattr(store, "ROW_GROUP", 3)
    with tables.Tables(tmp_path, tables.schema({"n": pa.int64()})) as out:
        for k in range(20):
            out.add("test" if k % 10 == 9 else "train", {"n": k}, 0)
    found = {path.name: pq.read_table(path)["n"].to_pylist() for path in sorted(tmp_path.iterdir())}
    assert list(found) == ["test-00000-of-00001.parquet", *(f"train-{k:05d}-of-00003.parquet" for k in range(3))]
    assert sorted(sum(found.values(), [])) == list(range(20)) and len(found["train-00000-of-00003.parquet"]) == 6


def test_values_come_back_from_the_disk_by_name() -> None:
    values = {name: [name, k / 3, None] for k, name in enumerate([*ODD, ""])}
    with on_disk.OnDisk(values.items()) as kept:
        assert {name: kept.get(name) for name in values} == values
        assert kept.get("none of them") is None and len(kept) == len(values)


def test_a_disk_without_room_for_them_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    full = sqlite3.connect("")
    full.execute("PRAGMA max_page_count = 2")
    monkeypatch.setattr(on_disk.sqlite3, "connect", lambda path: full)
    with pytest.raises(RunError, match="no room for a temporary file .*free some space"):
        on_disk.OnDisk((str(k), "x" * 1_000) for k in range(100))
    full.close()
