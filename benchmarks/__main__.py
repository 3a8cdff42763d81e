"""`python -m benchmarks [NAME…] [ARGUMENT…]` runs the named benchmarks, or all of them; each prints its own figures.

Every file of a room (world, data, labels, llm, training) is one benchmark and a program of its own; names are unique
over the rooms. Arguments go to the one benchmark that is named: `python -m benchmarks llm_budget --help`. What a
benchmark prints it also writes to benchmarks/results/NAME.json; `python -m benchmarks.support.page` makes
docs/benchmarks.md of these files.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time

from benchmarks.support.rooms import ROOMS, benchmarks


def main() -> None:
    known = {name: f"benchmarks.{room}.{name}" for room in ROOMS for name in benchmarks(room)}
    given = sys.argv[1:]
    wanted = list(itertools.takewhile(known.__contains__, given))
    arguments = given[len(wanted) :]
    if len(wanted) != 1 and arguments:
        sys.exit(f"error: no benchmark is called {arguments[0]!r}; known: {', '.join(known)}")
    failed = []
    for name in wanted or known:
        print(f"== {name}", flush=True)
        started = time.monotonic()
        if subprocess.run([sys.executable, "-m", known[name], *arguments], check=False).returncode:
            failed.append(name)
        print(f"== {name}: {time.monotonic() - started:.0f} s\n", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
