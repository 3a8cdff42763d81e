"""A run's curves for TensorBoard, written at once: a full disk is an error here, not in a thread of a library's."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any


class Board:
    """An event file in `folder`; of earlier files TensorBoard then shows what came before `purge_step`."""

    def __init__(self, folder: Path, purge_step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.event, self.summary = event_pb2.Event, summary_pb2.Summary
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self.records = RecordWriter(open(folder / name, "wb"))
        self._write(file_version="brain.Event:2")
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(step=purge_step, session_log=start)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """A point of a curve."""
        self._write(step=step, summary=self.summary(value=[self.summary.Value(tag=name, simple_value=value)]))

    def flush(self) -> None:
        """Hand everything to the system. Raises OSError."""
        self.records.flush()

    def close(self) -> None:
        """Flush and close. Raises OSError."""
        self.records.close()

    def _write(self, **content: Any) -> None:
        self.records.write(self.event(wall_time=time.time(), **content).SerializeToString())
