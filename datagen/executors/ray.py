"""Shards on a Ray cluster: the one of RAY_ADDRESS, or one that is started on this machine and ends with the run.

Ray Core alone: a pool of actors a stage, which pull our shards; nothing of a run lies in Ray's object store. Every
node has this datagen and sees the run directory by the same path. A shard whose actor died goes to another. Ray's
usage statistics are off.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from datagen.errors import DatagenError, InputError, MachineryError, RunError, one_line
from datagen.executors import ATTEMPTS, Failure, attempt, gpus

T = TypeVar("T")
WORKERS = 0  # by default: as many as the cluster has room for
DEATHS = 5  # of its actors that a shard survives: a node that is taken away is not the shard's fault
ADDRESS = "RAY_ADDRESS"
OBJECTS = 80_000_000  # bytes of object store on this machine, near the least that Ray takes: only indices pass it
ANSWER_S = 10.0  # in which a cluster's address takes a connection
PATIENCE_S = 60.0  # before it is said that nothing has begun


def run(task: Callable[[int], T], indices: Sequence[int], workers: int = WORKERS) -> Iterator[tuple[int, T | Failure]]:
    """Work shards in `workers` actors, or in as many as there is room for if that is 0; results as they come.

    A task may have `gpus`, the number that each of its workers needs where the cluster has any, and `one_machine`, if
    its workers may not leave the driver's. Raises InputError without Ray or the cluster that RAY_ADDRESS names,
    DatagenError as the task does, and MachineryError where no actor can begin. Stopping the iteration ends the actors;
    so does our own death.
    """
    if indices:
        yield from _Pool(_connected(workers), task, workers, len(indices)).work(indices)


class _Worker:
    """What an actor is: the task, where and as the driver would do it."""

    def __init__(self, task: Callable[[int], Any], folder: str, environment: Mapping[str, str]) -> None:
        for name, value in environment.items():
            os.environ.setdefault(name, value)
        self._task, self._folder = task, folder

    def begin(self) -> DatagenError | None:
        """Go where the driver is, as its paths count from there; why that cannot be."""
        try:
            os.chdir(self._folder)
        except OSError as error:
            return RunError(
                f"{self._folder} is not on {socket.gethostname()} ({error.strerror}): start datagen in a folder that "
                "every node of the Ray cluster sees by the same path"
            )
        return None

    def work(self, index: int) -> Any:
        """One attempt; a DatagenError is handed back, not raised, as Ray would wrap it."""
        try:
            return attempt(self._task, index)
        except DatagenError as error:
            return error


class _Pool:
    """Actors that are starting, idle or busy with one shard each."""

    def __init__(self, ray: Any, task: Callable[[int], Any], workers: int, shards: int) -> None:
        self._ray, self._task = ray, task
        resources = ray.cluster_resources()
        self._gpus = float(getattr(task, "gpus", 0)) if resources.get("GPU") else 0.0
        room = resources.get("GPU", 0) // self._gpus if self._gpus else resources.get("CPU", 1)
        self._size = max(1, min(workers or int(room), shards))
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": self._gpus, "max_restarts": 0}
        if getattr(task, "one_machine", False):
            here = ray.get_runtime_context().get_node_id()
            options["scheduling_strategy"] = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                here, soft=False
            )
        self._class = ray.remote(**options)(_Worker)
        self._starting = dict[Any, Any]()  # what says that it has begun → actor
        self._idle = list[Any]()
        self._busy = dict[Any, tuple[Any, int]]()  # reply → actor, index
        self._unborn = 0  # actors that died before they began, one after the other

    def work(self, indices: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Keep every actor busy; replace those that die."""
        todo = collections.deque(indices)
        failed, deaths = collections.Counter[int](), collections.Counter[int]()
        try:
            for _ in range(self._size):
                self._start()
            while todo or self._busy:
                while todo and self._idle:
                    actor, index = self._idle.pop(), todo.popleft()
                    self._busy[actor.work.remote(index)] = actor, index
                for reply in self._wait():
                    if reply in self._starting:
                        self._begun(reply)
                        continue
                    index, result, died = self._result(reply)
                    (deaths if died else failed)[index] += isinstance(result, Failure)
                    again = deaths[index] < DEATHS and failed[index] < ATTEMPTS
                    if isinstance(result, Failure) and again:
                        todo.append(index)
                    else:
                        yield index, result
                    if died and todo:
                        self._start()
        finally:
            for actor in [*self._starting.values(), *self._idle, *(actor for actor, _ in self._busy.values())]:
                with contextlib.suppress(Exception):  # it, or all of Ray, has gone already
                    self._ray.kill(actor)

    def _start(self) -> None:
        actor = self._class.remote(self._task, os.getcwd(), _environment())
        self._starting[actor.begin.remote()] = actor

    def _wait(self) -> list[Any]:
        """The replies that are there, at least one; only actors that have begun are given work, however many wait."""
        while True:
            done, _ = self._ray.wait([*self._starting, *self._busy], num_returns=1, timeout=PATIENCE_S)
            if done:
                return list(done)
            if not self._busy:
                need = "a CPU" + (f" and {self._gpus:g} GPU" if self._gpus else "")
                print(f"ray: no worker has begun yet, each needs {need}", file=sys.stderr, flush=True)

    def _begun(self, reply: Any) -> None:
        """Count an actor in; MachineryError if one after the other dies before it has begun."""
        actor = self._starting.pop(reply)
        try:
            refused = self._ray.get(reply)
        except self._ray.exceptions.RayError as error:
            self._unborn += 1
            if self._unborn > DEATHS:
                raise MachineryError(
                    f"no Ray worker can begin ({_reason(error)}): every node needs this datagen and its libraries"
                ) from error
            self._start()
            return
        if refused is not None:
            raise refused
        self._unborn = 0
        self._idle.append(actor)

    def _result(self, reply: Any) -> tuple[int, Any, bool]:
        """(index, result, whether its actor died); the DatagenError raised if it came to one."""
        actor, index = self._busy.pop(reply)
        try:
            result = self._ray.get(reply)
        except self._ray.exceptions.RayError as error:
            with contextlib.suppress(Exception):
                self._ray.kill(actor)
            return index, Failure(f"the worker died ({_reason(error)})"), True
        if isinstance(result, DatagenError):
            raise result
        self._idle.append(actor)
        return index, result, False


def _reason(error: Exception) -> str:
    """What Ray says, without the many lines that it adds."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in reversed(lines) if "Error:" in line), lines[0] if lines else "")
    return one_line(Exception(told or type(error).__name__))


def _environment() -> dict[str, str]:
    """What an actor may miss of ours, as keys of servers; its own values win, and Ray says which GPUs it sees."""
    return {name: value for name, value in os.environ.items() if name != gpus.VARIABLE}


def _connected(workers: int) -> Any:
    """Ray, once it is connected to a cluster."""
    # Before the import, which reads them.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")  # its warnings would stand between our lines
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what needs no GPU of Ray may see what there is
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise InputError(
            f"--executor ray needs Ray ({one_line(error)}): pip install 'datagen[ray]', or leave --executor out"
        ) from error
    if ray.is_initialized():
        return ray
    address = _address()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is not None:
            ray.init(address, **quiet)
        else:
            cores = max(workers, os.cpu_count() or 1)
            ray.init("local", num_cpus=cores, include_dashboard=False, object_store_memory=OBJECTS, **quiet)
    except Exception as error:  # Ray raises what it likes
        if address is not None:
            raise _no_cluster(address, _reason(error)) from error
        raise MachineryError(f"Ray cannot be started on this machine ({_reason(error)})") from error
    return ray


def _address() -> str | None:
    """The cluster to join, None for one of our own. InputError where nothing answers: Ray tries for minutes."""
    address = os.environ.get(ADDRESS, "").strip()
    if address in ("", "local"):
        return None
    if address == "auto":  # the one that was started on this machine
        return address
    scheme, _, place = address.rpartition("://")
    host, _, port = place.rpartition(":")
    if scheme not in ("", "ray") or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise _no_cluster(address, "what is accepted is HOST:PORT, ray://HOST:PORT or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
    except (OSError, UnicodeError) as error:
        raise _no_cluster(address, f"nothing answers there: {one_line(error)}") from error
    return address


def _no_cluster(address: str, why: str) -> InputError:
    return InputError(
        f"no Ray cluster can be joined at {address} ({why}): mend {ADDRESS} (and RAY_AUTH_TOKEN, where the cluster "
        "asks for one), or unset it to have one started here"
    )
