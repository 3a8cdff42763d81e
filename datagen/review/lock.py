"""One page a run at a time: the lock is the system's, so it ends with its process; its file says who that is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from datagen import store
from datagen.errors import RunError

FILE = ".review.lock"


@contextlib.contextmanager
def hold(root: Path) -> Iterator[None]:
    """Hold a run's review; RunError, which names the process, if another holds it."""
    with store.writing(root):
        descriptor = os.open(root / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{root} is being reviewed on another page, by {_named(descriptor)}: "
                "go on there, or end that process first"
            ) from error
        except OSError as error:
            raise RunError(f"cannot lock {root} ({error.strerror}): review it on another disk") from error
        me = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
        with store.writing(root):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(me).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _named(descriptor: int) -> str:
    """Who holds the lock, as it has written itself down."""
    try:
        who = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {int(who['pid'])} on {who['host']} since {who['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
