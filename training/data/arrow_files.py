"""Arrow files, as `save_to_disk` of Hugging Face's datasets writes them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from training.errors import TrainingError, one_line


def arrow(path: Path) -> pa.Table:
    """An Arrow file, memory-mapped. Raises TrainingError."""
    try:
        with pa.memory_map(str(path)) as file:
            try:
                return pa.ipc.open_stream(file).read_all()
            except pa.ArrowInvalid:
                return pa.ipc.open_file(file).read_all()
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> TrainingError:
    """What is said of a file that is broken."""
    return TrainingError(f"{path} cannot be read ({one_line(error)}); build or download it again")
