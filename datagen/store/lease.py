"""A file that one process holds at a time, on this machine or another, and that says who that is.

The system's lock on the file ends with its process, however that ends. Where locks do not reach, as between machines
on some shared disks, the file's time is the holder's sign of life: it is renewed every few seconds, and a holder of
another machine that gives none for a minute is dead. Clocks of machines are not compared.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from datagen.errors import RunError

BEAT_S = 5.0  # between two signs of life
DEAD_S = 60.0  # without one: dead
LONG_AGO_S = 3600.0  # older than this by any clock: nobody waits for another sign
Say = Callable[[str], None]
TRIES = 5  # at a lock, a twentieth of a second apart: who only looks whether it is free holds it for a moment


@dataclasses.dataclass(frozen=True)
class Holder:
    """A process as it writes itself down."""

    pid: int
    host: str
    started: str
    machine: str  # what `pid` counts on: a boot of a machine, and there a namespace of processes
    ticks: int | None  # when the process began, as a pid is given again
    job: str = ""  # what it does, and the number that a scheduler gave it

    def __str__(self) -> str:
        job = f" ({self.job})" if self.job else ""
        return f"process {self.pid} on {self.host} since {self.started}{job}"

    @property
    def is_of_this_machine(self) -> bool:
        """Whether its pid can be looked for here."""
        return self.machine == _machine()

    @property
    def is_me(self) -> bool:
        """Whether it is this process."""
        return self.is_of_this_machine and self.pid == os.getpid()

    @property
    def runs(self) -> bool:
        """Whether the process is there, on this machine."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # somebody else's
            pass
        return self.ticks is None or _ticks(self.pid) in (None, self.ticks)


class Lease:
    """What `held` gives: the file is this process's until the end of the block, unless it seemed dead to others."""

    def __init__(self, path: Path, descriptor: int, text: bytes) -> None:
        self._path, self._descriptor, self._text = path, descriptor, text
        self._ended = threading.Event()
        self._taken = False
        self._signs = threading.Thread(target=self._beat, daemon=True)
        self._signs.start()

    def check(self) -> None:
        """RunError if another process has taken the file over, as it may if this one was stopped for minutes."""
        if self._taken:
            raise RunError(
                f"{self._path.parent} was taken over by {read(self._path) or 'another process'}, as this process gave "
                f"no sign of life for {DEAD_S:.0f} s: what is finished is kept, and that process goes on"
            )

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with contextlib.suppress(OSError):  # a disk that is away for a moment
                if _content(self._path) != self._text:
                    self._taken = True
                    return
                os.utime(self._descriptor)

    def _end(self) -> None:
        self._ended.set()
        self._signs.join(BEAT_S)  # a disk that hangs is not waited for
        with contextlib.suppress(OSError):
            if _content(self._path) == self._text:
                os.ftruncate(self._descriptor, 0)


def quiet(line: str) -> None:
    """Say nothing."""


@contextlib.contextmanager
def held(path: Path, job: str = "", say: Say = quiet) -> Iterator[Lease]:
    """Hold a file, made if it is not there; whoever dies while holding it leaves it free.

    Raises `Taken` if another process holds it. What can only be told by signs of life takes a minute at most, and is
    told `say`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not lock(descriptor, fcntl.LOCK_EX):
            raise Taken(read(path))
        if other := unseen(path, say):
            raise Taken(other)
        text = json.dumps(dataclasses.asdict(me(job))).encode()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)
        os.fsync(descriptor)
        lease = Lease(path, descriptor, text)
        try:
            yield lease
        finally:
            lease._end()
    finally:
        os.close(descriptor)


class Taken(Exception):
    """Another process holds a file; `holder` is None where it does not say who it is."""

    def __init__(self, holder: Holder | None) -> None:
        super().__init__(holder)
        self.holder = holder


def lock(descriptor: int, kind: int) -> bool:
    """Take the system's lock on an open file; False if another process has it. True, too, where there are no locks."""
    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if left:
                time.sleep(0.05)
        except OSError:
            return True
    return False


def unseen(path: Path, say: Say = quiet) -> Holder | None:
    """Who holds a file whose lock we have got: a process of this machine where there are no locks, or of another.

    Whether one of another lives may take a minute to see; `say` is told for whom and until when is waited.
    """
    who = read(path)
    if who is None:
        return None
    if who.is_of_this_machine:
        return who if not _locks(path) and who.pid != os.getpid() and who.runs else None
    return who if _gives_signs(path, who, say) else None


def forget(path: Path, descriptor: int) -> None:
    """Note in a file that its holder is dead, so that nobody else waits for it; one that lives after all sees it."""
    if read(path) is not None:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)


def read(path: Path) -> Holder | None:
    """Who has written himself into a file; None if it is free, or written by nobody of ours."""
    try:
        return parsed(path.read_bytes())
    except OSError:
        return None


def parsed(text: bytes) -> Holder | None:
    """Who has written this; None if nobody of ours has."""
    try:
        values = json.loads(text.decode("utf-8-sig"))
        who = Holder(**{field.name: values[field.name] for field in dataclasses.fields(Holder)})
        return who if isinstance(who.pid, int) and isinstance(who.machine, str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def signed_lately(path: Path) -> bool:
    """Whether a file's holder on another machine has given a sign of life, by this machine's clock."""
    try:
        return time.time() - path.stat().st_mtime < 2 * DEAD_S
    except OSError:
        return False


def _gives_signs(path: Path, who: Holder, say: Say) -> bool:
    """Whether a holder gives a sign of life; it is waited for. One that lets go while we look does not hold it."""
    try:
        first = _changed(path)
        age = time.time() - first / 1e9
        if age > LONG_AGO_S:
            return False
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + DEAD_S))
        say(
            f"waiting for {who}, whose last sign of life is {max(0.0, age):.0f} s old by this machine's clock: "
            f"if it gives none until {until}, which is {DEAD_S:.0f} s, it is taken over from"
        )
        deadline = time.monotonic() + DEAD_S
        while time.monotonic() < deadline:
            time.sleep(min(1.0, BEAT_S / 5))
            if _changed(path) != first:
                return read(path) is not None
    except OSError:
        return False
    say(f"taken over from {who}, which gave no sign of life for {DEAD_S:.0f} s")
    return False


def _changed(path: Path) -> int:
    """A file's time; opened for it, as that makes a client of a shared disk ask the server."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime_ns


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _locks(path: Path) -> bool:
    """Whether the system can lock this file; tried by a lock of its own, which changes none that is held."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def me(job: str) -> Holder:
    """This process, which does `job`."""
    return Holder(
        pid=os.getpid(),
        host=socket.gethostname(),
        started=time.strftime("%Y-%m-%d %H:%M:%S"),
        machine=_machine(),
        ticks=_ticks(os.getpid()),
        job=", ".join(filter(None, (job, _scheduled()))),
    )


def _scheduled() -> str:
    """The number of the Slurm job that this process is, as squeue shows it."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    number = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
    return f"Slurm job {number}" if number else ""


@functools.cache
def _machine() -> str:
    """The host, its boot, and the namespace that process numbers count in: a container has one of its own."""
    words = [socket.gethostname()]
    with contextlib.suppress(OSError):
        words.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8-sig").strip())
        words.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(words)


def _ticks(pid: int) -> int | None:
    """When a process began, in ticks since the boot; None if it is not there, or where the system does not say."""
    try:
        # The name of the program, in brackets, may hold anything: what counts stands behind it.
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8-sig").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
