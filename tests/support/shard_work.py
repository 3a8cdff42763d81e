"""What executors are given to do; worker processes import it by this name, which no installed package has."""

from __future__ import annotations

import json
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
    """Says whether its libraries were there when it began, in which process, and what it finds in its environment.

    It is killed on the first try of 2, and never done with 9.
    """

    libraries = ("colorsys",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, index: int) -> tuple[bool, int, str | None]:
        first = self.folder / str(index)
        if index == 2 and not first.exists():
            first.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 9:
            first.touch()
            time.sleep(600)
        return "colorsys" in sys.modules, os.getpid(), os.environ.get("SAID_SINCE")


def with_a_bar(index: int) -> int:
    """What a library does that shows its progress."""
    from tqdm import tqdm

    return sum(tqdm(range(index), disable=False))


def gpu_seen(folder: Path, index: int) -> str:
    """The GPU that this worker sees, told when the other is at work too; one is killed on its first try of index 1."""
    seen, first = os.environ.get("CUDA_VISIBLE_DEVICES", ""), folder / f"first {index}"
    (folder / f"at work {index}").touch()
    for _ in range(600):
        if index > 1 or len(list(folder.glob("at work *"))) > 1:
            break
        time.sleep(0.05)
    if index == 1 and not first.exists():
        first.write_text(seen)
        os.kill(os.getpid(), signal.SIGKILL)
    return seen


def die_of_seven(index: int) -> int:
    """Kills whoever works index 7."""
    if index == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return index


def environment_of(index: int) -> str:
    """Where a worker is, and what its environment says, as JSON."""
    return json.dumps({**os.environ, "cwd": os.getcwd()})
