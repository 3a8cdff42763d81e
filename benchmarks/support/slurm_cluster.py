"""A Slurm of one node on this machine, where its programs are and may be started."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={first}
SlurmdPort={second}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/d.log
SchedulerParameters=sched_interval=1,sched_min_interval=100000,batch_sched_delay=0
MaxArraySize=4
JobRequeue=1
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """What is missing here to start one."""
    if not all(map(shutil.which, ("slurmctld", "slurmd", "sbatch"))) or os.geteuid() != 0:
        return "a real Slurm needs slurmctld, slurmd and slurm-client, and root to start them"
    return None


@contextlib.contextmanager
def started(folder: Path) -> Iterator[dict[str, str]]:
    """One whose arrays hold four tasks, until the end of the block; gives the environment in which it is found."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    file = folder / "slurm.conf"
    file.write_text(CONFIG.format(host=socket.gethostname(), first=ports[0], second=ports[1], folder=folder))
    environment = {"SLURM_CONF": str(file)}
    everything = {**os.environ, **environment}
    programs = [str(shutil.which(name)) for name in ("slurmctld", "slurmd")]
    daemons = [subprocess.Popen([one, "-D"], stderr=subprocess.DEVNULL, env=everything) for one in programs]
    try:
        until(lambda: "idle" in told(environment, "sinfo", "--noheader"))
        yield environment
    finally:
        for daemon in daemons:
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(30)


def told(environment: dict[str, str], *command: str) -> str:
    """What one of its programs says."""
    everything = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=everything).stdout


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds; TimeoutError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(0.5)
