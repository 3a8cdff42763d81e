"""The curves of a run are TensorBoard's own files, and a disk that is full is an error of whoever wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from training.loop.board import Board


def events(folder: Path) -> list[Any]:
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    (file,) = folder.iterdir()
    return [Event.FromString(record) for record in RawEventFileLoader(str(file)).Load()]


def test_tensorboard_reads_every_point(tmp_path: Path) -> None:
    board = Board(tmp_path, purge_step=21)
    board.add_scalar("loss", 0.5, 30)
    board.add_scalar("margin/t0-199", -2.0, 40)
    board.close()
    version, start, *points = events(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (21, 1)
    assert [(e.step, e.summary.value[0].tag, e.summary.value[0].simple_value) for e in points] == [
        (30, "loss", 0.5),
        (40, "margin/t0-199", -2.0),
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_is_seen_where_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(tmp_path, purge_step=1)
    board.records._writer = open("/dev/full", "wb")
    board.add_scalar("loss", 0.5, 1)
    with pytest.raises(OSError, match="No space left"):
        board.flush()
