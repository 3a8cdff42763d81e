"""One process at a time writes a folder: a lock that the system releases when its holder ends, however it ends.

The file `.lock` says who holds it; it goes when the holder is done. Where files cannot be locked nobody is kept out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from training.errors import TrainingError
from training.loop.disk import by_main_process
from training.loop.distributed import Team

LOCK = ".lock"


@contextlib.contextmanager
def hold(out: Path, team: Team) -> Iterator[None]:
    """Hold `out` for all processes of a run; it is made if it is not there, and goes again if it stays empty.

    Raises TrainingError naming who holds it, and one if it cannot be written.
    """
    descriptors: list[int] = []
    by_main_process(team, out, lambda: descriptors.append(_take(out)))
    try:
        yield
    finally:
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                (out / LOCK).unlink()  # before it is released, so that the next holder makes its own
                out.rmdir()
            os.close(descriptor)


def _take(out: Path) -> int:
    """The descriptor of the lock file, locked and signed."""
    out.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(out)
    me = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(me).encode(), 0)
    return descriptor


def _locked(out: Path) -> int:
    while True:
        descriptor = os.open(out / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                os.close(descriptor)
                raise TrainingError(
                    f"{out} is in use by {_holder(out)}: wait for it, or choose another --out"
                ) from error
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(out / LOCK)):
                return descriptor
        os.close(descriptor)  # its holder was done between the two calls, and took the file along


def _holder(out: Path) -> str:
    try:
        holder = json.loads((out / LOCK).read_text(encoding="utf-8-sig"))
        return f"process {holder['pid']} on {holder['host']} since {holder['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
