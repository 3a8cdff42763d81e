"""The footers of many shards, kept in one file: they say what the shards say, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from datagen import store
from datagen.store import index, seal

FOOTER: dict[str, Any] = {"errors": 0, "seconds": 1.5, "digest": "d", "version": "1", "drops": {"{[\"'": 1}}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.Run:
    """A run of nine shards where six are many."""
    monkeypatch.setattr(index, "FEW", 6)
    run = store.Run(tmp_path)
    for number in range(9):
        run.commit("images", number, pa.table({"x": list(range(number))}), **FOOTER)
    return run


def rows(run: store.Run, count: int = 10) -> list[Any]:
    """The rows that footers speak of; "damaged", or None where there is no shard."""
    found = store.footers(run, "images", count)
    return [one.rows if isinstance(one, store.Footer) else "damaged" if one else None for one in found]


def opened(run: store.Run, monkeypatch: pytest.MonkeyPatch, count: int = 10) -> int:
    """How many shards are opened to read their footers."""
    calls = []
    footer = store.Run.footer
    with monkeypatch.context() as patch:
        patch.setattr(store.Run, "footer", lambda *of: calls.append(of) or footer(*of))
        store.footers(run, "images", count)
    return len(calls)


def test_what_is_kept_is_read_once_and_is_what_each_shard_says(
    run: store.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [opened(run, monkeypatch), opened(run, monkeypatch)] == [9, 0]
    assert list(store.footers(run, "images", 9)) == [run.footer("images", number) for number in range(9)]
    assert rows(run) == [*range(9), None]


def test_whatever_happens_to_a_shard_is_seen(run: store.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    store.footers(run, "images", 9)
    run.shard("images", 0).unlink()
    data = bytearray(run.shard("images", 1).read_bytes())
    data[-20] ^= 1
    run.shard("images", 1).write_bytes(data)
    run.commit("images", 2, pa.table({"x": [0] * 70}), **FOOTER)
    os.replace(run.shard("images", 4), run.shard("images", 3))  # as it was written, in the place of another
    run.commit("images", 9, pa.table({"x": [0] * 90}), **FOOTER)
    assert rows(run) == [None, "damaged", 70, "damaged", None, 5, 6, 7, 8, 90]


@pytest.mark.parametrize("harm", ["cut", "bit", "other", "folder", "old"])
def test_a_file_that_keeps_them_and_is_not_as_it_was_written_counts_for_nothing(
    run: store.Run, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.footers(run, "images", 9)
    file = run.shard("images", 0).with_name(index.FILE)
    data = bytearray(file.read_bytes())
    if harm == "cut":
        file.write_bytes(data[:100])
    elif harm == "bit":
        data[50] ^= 1
        file.write_bytes(data)
    elif harm == "other":
        file.write_bytes(run.shard("images", 3).read_bytes())
    elif harm == "folder":
        file.unlink()
        file.mkdir()
    else:
        with file.open("w+b") as old:
            seal.write(old, [pa.table({name: ["{}"] for name in index.SCHEMA.names})], dict)
    assert rows(run) == [*range(9), None]
    assert opened(run, monkeypatch) == (9 if harm == "folder" else 0)


def test_a_few_shards_are_read_as_they_are_and_no_folder_has_none(run: store.Run, tmp_path: Path) -> None:
    for number in range(4, 9):
        run.shard("images", number).unlink()
    assert rows(run, 5) == [0, 1, 2, 3, None]
    assert not run.shard("images", 0).with_name(index.FILE).exists()
    assert list(store.footers(run, "scores", 2)) == [None, None]


def test_columns_say_what_the_footers_say(run: store.Run) -> None:
    worker = "7 on here"
    run.commit(
        "images", 4, pa.table({"x": [1, 2]}), **FOOTER | {"errors": 2, "reasons": {"black": 2}, "worker": worker}
    )
    run.commit(
        "images", 5, pa.table({"x": [1]}), **FOOTER | {"drops": {"a": 2}, "remarks": {"b": 1}, "made_from": "m"}
    )
    run.shard("images", 6).write_bytes(b"x")
    run.shard("images", 7).unlink()
    store.footers(run, "images", 9)
    found = store.footers(run, "images", 9)  # as they are kept
    each = [one for one in found if isinstance(one, store.Footer)]
    assert (found.missing(), [one.path.stem for one in found.damaged()]) == ([6, 7], ["images-00006"])
    assert [found.total(name) for name in ("rows", "errors", "seconds")] == [0 + 1 + 2 + 3 + 2 + 1 + 8, 2, 7 * 1.5]
    assert found.counts("drops") == {"{[\"'": 6, "a": 2}
    assert (found.counts("reasons"), found.counts("remarks")) == ({"black": 2}, {"b": 1})
    assert [found.column(name)[5] for name in ("made_from", "digest", "content")] == ["m", "d", each[5].content]
    found[4], found[5] = None, each[4]
    assert (list(found)[3:6], found.column("errors")[4]) == ([each[3], None, each[4]], None)
