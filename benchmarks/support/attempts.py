"""Runs of many processes that can be killed at a moment of their work, and what is to be looked at afterwards.

A moment is a number of finished shards, so that a seed gives the same stage whatever else the machine does. A run is
worked by processes of this machine, by shares, or by actors of a Ray cluster of two nodes, of which only the second
works. All of its processes are known by a word in their environment, or are Ray's actors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
MARK = "DATAGEN_ATTEMPT"
STAGES = ("images", "embeddings", "scores", "verdicts", "pairs")
LIMIT_S = 240.0


@dataclasses.dataclass(frozen=True)
class Attempts:
    """Calls of datagen on one run."""

    recipe: Path
    out: Path
    mark: str  # of its processes
    environment: dict[str, str]
    finishing: list[bool] = dataclasses.field(default_factory=list)  # calls that had only the dataset to write
    address: str = ""  # of a run on an object store, which holds it in the folder `out`

    def start(self, *more: str, verb: str = "run") -> subprocess.Popen[bytes]:
        """A process of it, in a group of its own."""
        given = [str(self.recipe), "--profile", "null", "--out", self.address or str(self.out), *more]
        with (self.out.parent / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "datagen", verb, *given],
                cwd=ROOT, env=self.everything(), start_new_session=True, stdout=log, stderr=log,
            )  # fmt: skip

    def everything(self) -> dict[str, str]:
        """The environment of its processes."""
        return {**os.environ, "OMP_NUM_THREADS": "1", **self.environment, MARK: self.mark}

    def processes(self) -> list[psutil.Process]:
        """All that are there of it, itself and Ray's actors included."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = process.environ().get(MARK) == self.mark
                if (mine or is_actor(process)) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def shards(self) -> dict[str, tuple[int, int]]:
        """Finished shards, with what changes when a file is written again."""
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for path in self.out.glob("tables/*/*.parquet"):
                if not path.name.startswith("."):
                    found[path.name] = (path.stat().st_ino, path.stat().st_mtime_ns)
        return found

    def half_written(self) -> int:
        """Files that a kill left under a temporary name."""
        return len(list(self.out.glob("tables/*/.*.tmp")))

    def log(self) -> str:
        """What all of them said."""
        return (self.out.parent / "log").read_text(errors="replace")


def is_actor(process: psutil.Process) -> bool:
    """Whether a process is an actor of Ray that works shards."""
    return bool(process.cmdline()) and process.cmdline()[0].startswith("ray::_Worker")


def until(holds: Callable[[], bool], seconds: float = LIMIT_S) -> bool:
    """Wait until something holds; False if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.003)
    return True


def moment(attempts: Attempts, child: subprocess.Popen[bytes], target: int, rng: random.Random) -> bool:
    """Wait until so many shards are finished, and a little longer; False if the process ended before."""
    reached = until(lambda: child.poll() is not None or len(attempts.shards()) >= target)
    time.sleep(rng.uniform(0, 0.1))
    return reached and child.poll() is None


def workers(child: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes that work shards for one that gives them out, without Python's own helpers."""
    with contextlib.suppress(psutil.Error):
        below = psutil.Process(child.pid).children(recursive=True)
        busy = {process.pid for process in below for _ in process.children()}
        return [one for one in below if one.pid not in busy and "resource_tracker" not in " ".join(one.cmdline())]
    return []


@dataclasses.dataclass
class Cluster:
    """A Ray cluster of this machine: a head that works nothing, and a node of two processors that can be killed."""

    address: str
    head: subprocess.Popen[bytes]
    node: subprocess.Popen[bytes]
    environment: dict[str, str]

    def raylet(self) -> psutil.Process:
        """The process that is the node."""
        below = psutil.Process(self.node.pid).children(recursive=True)
        return next(one for one in below if one.name() == "raylet")

    def actors(self) -> list[psutil.Process]:
        """Those of our pool."""
        return [process for process in psutil.process_iter() if _quietly_is_actor(process)]

    def begin_node(self) -> None:
        """Start another node in the place of one that was killed."""
        _end(self.node)
        self.node = _ray(self.environment, "--address", self.address, "--num-cpus=2")
        if not until(lambda: any(one.name() == "raylet" for one in psutil.Process(self.node.pid).children()), 60):
            raise RuntimeError("no node of Ray starts")


def _quietly_is_actor(process: psutil.Process) -> bool:
    try:
        return is_actor(process) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _ray(environment: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    program = Path(sys.executable).with_name("ray")
    memory = "--object-store-memory=80000000"
    return subprocess.Popen(
        [program, "start", "--block", "--disable-usage-stats", memory, *arguments],
        env={**os.environ, **environment},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what `ray start --block` is, and all below it."""
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        below = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGTERM)
        psutil.wait_procs(below, 10)
        for one in below:
            with contextlib.suppress(psutil.Error):
                one.kill()
    process.kill()
    process.wait()


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Such a cluster, whose token and files lie in a folder with a short path."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"HOME": str(folder), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    address = f"127.0.0.1:{port}"
    head = _ray(environment, "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false",
                "--temp-dir", str(folder / "ray"))  # fmt: skip
    made: Cluster | None = None
    try:
        if not until(lambda: (folder / "ray/session_latest").exists(), 60):
            raise RuntimeError("no Ray cluster starts")
        time.sleep(5)
        made = Cluster(address, head, _ray(environment, "--address", address, "--num-cpus=2"), environment)
        made.environment["RAY_ADDRESS"] = address
        yield made
    finally:
        for process in [made.node, head] if made else [head]:
            _end(process)
