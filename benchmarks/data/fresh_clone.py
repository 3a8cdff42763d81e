"""A newcomer's first minutes: a fresh clone, `make dataset`, the same command again, and `make test`, all timed.

`python -m benchmarks fresh_clone` clones this repository's last commit into an empty folder and starts with an empty
package cache, so the packages come over the network. `--no-test` leaves the tests out.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.support.results import Row, record

LIMITS = {"set-up": None, "make dataset": 600.0, "make dataset again": 15.0, "make test": 900.0}


def timed(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[float, str]:
    """Seconds and output of a command that must succeed."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.monotonic() - started, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks fresh_clone", description=__doc__, allow_abbrev=False)
    parser.add_argument("--no-test", action="store_true", help="leave `make test` out")
    given = parser.parse_args()
    source = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(source), str(clone)], check=True)
        environment = {**os.environ, "UV_CACHE_DIR": str(Path(scratch) / "cache"), "PIP_NO_CACHE_DIR": "1"}
        seconds: dict[str, float] = {}
        seconds["set-up"], _ = timed(["make", "setup"], clone, environment)
        building, output = timed(["make", "dataset"], clone, environment)
        seconds["make dataset"] = seconds["set-up"] + building
        pairs = int((re.search(r"(\d+) pairs", output) or sys.exit(f"no pairs were told: {output}"))[1])
        seconds["make dataset again"], again = timed(["make", "dataset"], clone, environment)
        if "nothing to do" not in again:
            sys.exit(f"the second run did something: {again}")
        if not given.no_test:
            seconds["make test"], _ = timed(["make", "test"], clone, environment)
    print(f"fresh clone, empty package cache, {os.cpu_count()} cores: {pairs} pairs (goal: 200)")
    for what, taken in seconds.items():
        limit = LIMITS[what]
        goal = "part of the next line" if limit is None else f"goal {limit:.0f} s, {'yes' if taken <= limit else 'NO'}"
        print(f"  {what:<20}{taken:7.1f} s  ({goal})")
    rows = [Row(what, taken, "s", f"≤ {LIMITS[what]:g}" if LIMITS[what] else "") for what, taken in seconds.items()]
    record("fresh_clone", [*rows, Row("pairs of the dataset", pairs, "pairs", "≥ 200")])


if __name__ == "__main__":
    main()
