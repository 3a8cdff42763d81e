"""What executors are given to do; worker processes import it by this name, which no installed package has."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from datagen.errors import ModelError


def square(index: int) -> int:
    return index * index


def fail_first(folder: Path, index: int) -> int:
    """Fails on the first try of an index, is killed on the first try of index 2, and is refused at index 5."""
    first = folder / str(index)
    if index == 5:
        raise ModelError("no such model")
    if first.exists():
        return os.getpid()
    first.touch()
    if index == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError(index)


def always_fail(index: int) -> int:
    raise ValueError(f"never {index}")


class Prepared:
    """Says whether its libraries were there when it began, and in which process; is killed on the first try of 2."""

    libraries = ("colorsys",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, index: int) -> tuple[bool, int, int]:
        first = self.folder / str(index)
        if index == 2 and not first.exists():
            first.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 9:
            first.touch()
            time.sleep(600)
        return "colorsys" in sys.modules, os.getpid(), int(os.environ["OMP_NUM_THREADS"])


def with_a_bar(index: int) -> int:
    """What a library does that shows its progress."""
    from tqdm import tqdm

    return sum(tqdm(range(index), disable=False))
