"""Writing into a run's folder: files that are there wholly or not at all, and one line where the disk is full.

What a process cannot write ends all processes of a run alike, so that none waits for another for ever.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from training.errors import TrainingError, one_line
from training.loop.distributed import Team

CHECKPOINTS = "checkpoints"


def held(out: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted((out / CHECKPOINTS).glob("step-*"))


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Have a full disk, or what else keeps `out` from being written, raise TrainingError that says what is kept."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = re.search(r"\(os error (\d+)\)", str(error))  # what safetensors makes of the system's
        why = getattr(error, "strerror", None) or (os.strerror(int(number[1])) if number else one_line(error))
        last = f"step {int(held(out)[-1].name[5:])}" if held(out) else "the start"
        raise TrainingError(
            f"{out} cannot be written ({why}): once it can, the same command goes on from {last}"
        ) from error


def by_main_process(team: Team, out: Path, write: Callable[[], None]) -> None:
    """Have the main process write into `out` while the others wait. All raise TrainingError if it cannot."""
    problem = None
    if team.is_main_process:
        try:
            with writing(out):
                write()
        except TrainingError as error:
            problem = error
    if team.any(problem is not None):
        raise problem or TrainingError(f"{out} cannot be written by the main process")


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file and have the disk hold it."""
    save_file(tensors, path)
    flush(path)


def write_text(path: Path, text: str) -> None:
    """Write a text and have the disk hold it."""
    path.write_text(text, encoding="utf-8")
    flush(path)


def flush(path: Path) -> None:
    """Have the disk hold a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(folder: Path) -> None:
    """Remove a folder so that a kill on the way leaves nothing under its name."""
    gone = folder.with_name(f".{folder.name.removeprefix('.')}")
    os.replace(folder, gone)
    shutil.rmtree(gone)
