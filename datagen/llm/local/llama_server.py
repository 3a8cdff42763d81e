"""The program that runs llama.cpp as a process of its own, for `local.py`; it imports nothing of this package.

It reads one line of JSON settings from its input, prints one line with its address once it answers, and ends when its
parent does, however that ends: the input, which the parent never closes, is then at its end.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import threading
import time
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Serve until the parent is gone. llama.cpp's own words go to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which may still be waiting for a reply
    # Whatever a library prints must not be taken for the address.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.readline() or "null")
    if settings is None:
        return
    # Loading holds the interpreter's lock for its whole length, so no thread of ours could watch the input meanwhile.
    # The signal would also come when the parent's *thread* ends, so it is given up once the watch below has begun.
    _signal_at_parents_end(signal.SIGKILL)
    if os.getppid() != settings["parent"]:
        return
    server = _server(settings)
    threading.Thread(target=_end_with_input, daemon=True).start()
    _signal_at_parents_end(0)
    print(json.dumps({"url": server.listening_address}), file=answer, flush=True)
    # A forked child of the parent may hold the other end of our input open; a new parent tells the same.
    while os.getppid() == settings["parent"]:
        time.sleep(0.5)
    os._exit(0)


def _server(settings: dict[str, Any]) -> Any:
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = settings["gguf"]
    params.model_alias = {settings["model"]}  # what replies name as their model; else it is the file's path
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # any free one
    params.api_keys = [settings["key"]]  # or any page in a browser of this machine could use the model
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["context"] * settings["slots"]  # it is divided among the slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    params.verbosity = 1  # errors alone
    # Finding out how many layers a GPU takes loads the model twice; without one there is nothing to find out.
    params.fit_params = any(device["type"].name.endswith("GPU") for device in xllamacpp.get_device_info())
    return xllamacpp.Server(params)


def _signal_at_parents_end(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
