"""Which GPUs this machine offers, and which of them a worker sees: one, so that each has a process of its own.

They are counted without loading a library, as CUDA and torch count them: by CUDA_VISIBLE_DEVICES where it is set.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"
_DEVICE = re.compile(r"nvidia\d+")


def visible() -> list[str]:
    """The names of the GPUs that a process of ours may use, as CUDA_VISIBLE_DEVICES has them."""
    given = os.environ.get(VARIABLE)
    if given is None:
        devices = Path("/dev")
        names = [name for name in os.listdir(devices) if _DEVICE.fullmatch(name)] if devices.is_dir() else []
        return [str(number) for number in range(len(names))]
    names = []
    for name in map(str.strip, given.split(",")):
        if not name or name.startswith("-"):  # CUDA sees none of those behind
            break
        names.append(name)
    return names


def of_worker(number: int) -> str | None:
    """The GPU of the worker of that number, of 0; None where there is no choice. Several may share one."""
    names = visible()
    return names[number % len(names)] if len(names) > 1 else None
