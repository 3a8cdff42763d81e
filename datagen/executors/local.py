"""Shards worked on this machine: in this process, or in spawned ones that pull them.

A shard that fails is tried once more and then yielded as a `Failure`.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from datagen.errors import DatagenError
from datagen.executors import ATTEMPTS, Failure, attempt, work

T = TypeVar("T")
GPUS = ("/dev/nvidiactl", "/dev/kfd")  # what the drivers of NVIDIA and AMD make


def run(task: Callable[[int], T], indices: Sequence[int], workers: int = 1) -> Iterator[tuple[int, T | Failure]]:
    """Work shards on this machine: in this process if `workers` is 1, else in so many spawned ones that pull them.

    Raises DatagenError as the task does. Stopping the iteration (Ctrl-C) ends the workers; so does our own death.
    """
    if workers > 1 and len(indices) > 1:
        yield from _in_processes(task, indices, min(workers, len(indices)))
        return
    for index in indices:
        yield index, work(task, index)


@dataclasses.dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    pipe: Connection


def _in_processes(task: Callable[[int], T], indices: Sequence[int], workers: int) -> Iterator[tuple[int, T | Failure]]:
    """Keep every worker busy with one shard at a time; replace those that die."""
    todo = collections.deque((index, 1) for index in indices)
    idle = [_start(task, workers) for _ in range(workers)]
    busy: dict[Connection, tuple[_Worker, int, int]] = {}
    try:
        while todo or busy:
            while todo and idle:
                worker, (index, number) = idle.pop(), todo.popleft()
                busy[worker.pipe] = (worker, index, number)
                with contextlib.suppress(OSError):  # it died while idle: noticed below, when its pipe ends
                    worker.pipe.send(index)
            ready = wait(list(busy))
            for pipe in [pipe for pipe in busy if pipe in ready]:
                worker, index, number = busy.pop(pipe)
                result = _receive(worker)
                alive = worker.process.is_alive()
                if todo or (isinstance(result, Failure) and number < ATTEMPTS):
                    idle.append(worker if alive else _start(task, workers))
                else:
                    _stop(worker)
                if isinstance(result, Failure) and number < ATTEMPTS:
                    todo.append((index, number + 1))
                else:
                    yield index, result
    finally:
        for worker in [*idle, *(entry[0] for entry in busy.values())]:
            _stop(worker)


def _receive(worker: _Worker) -> Any:
    """A worker's reply; a Failure if it died, the DatagenError raised if it sent one."""
    try:
        reply = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        return Failure(f"the worker died ({_cause(worker.process.exitcode)})")
    if isinstance(reply, DatagenError):
        raise reply
    return reply


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"{signal.Signals(-exitcode).name}; out of memory is the usual cause"
    return f"exit code {exitcode}"


def _start(task: Callable[[int], Any], workers: int) -> _Worker:
    context = _context(getattr(task, "libraries", ()))
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(task, theirs, workers), daemon=True)
    process.start()
    theirs.close()  # so that the worker's death ends the pipe
    return _Worker(process, ours)


def _context(libraries: Sequence[str]) -> Any:
    """How workers are started.

    Spawned, not forked from us: CUDA and threads of torch do not survive a fork. Where no GPU can be in use they are
    forked from a process that has imported their libraries once for all, and does nothing else.
    """
    if not libraries or sys.platform != "linux" or any(map(os.path.exists, GPUS)):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(libraries))
    return context


def _stop(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.kill()  # shards are committed by a rename, so nothing can be cut in half
    worker.process.join()


def _work(task: Callable[[int], Any], pipe: Connection, workers: int) -> None:
    """The life of a worker: a shard index in, a result out, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # Set before torch is imported: N workers that each take every core are slower than one.
    threads = int(os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers))))
    if torch := sys.modules.get("torch"):  # which was imported before we were
        torch.set_num_threads(threads)
    from tqdm import tqdm  # here, as the command line needs none

    # The libraries' bars would share a lock between processes, a semaphore that nobody clears away once we are killed.
    tqdm.set_lock(threading.RLock())
    while True:
        try:
            index = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(attempt(task, index))
        except DatagenError as error:
            pipe.send(error)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
