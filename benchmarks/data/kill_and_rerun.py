"""Kill -9 a run's whole process tree at random moments, rerun it, and compare the dataset with an undisturbed one.

Shown: whether the dataset's files are byte-identical; how many finished shards were ever written again (must be none);
how many shards were lost in flight. A shard that is committed keeps its inode, so its place in that count is a fact of
the file system, not of our logs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.support.results import Row, record


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shards(out: Path) -> dict[str, tuple[int, int]]:
    """Committed shards, with what changes when a file is written again."""
    found = {}
    for path in out.glob("tables/*/*.parquet"):
        stat = path.stat()
        found[path.name] = (stat.st_ino, stat.st_mtime_ns)
    return found


def start(arguments: list[str], out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "datagen", "run", *arguments, "--out", str(out)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(arguments: list[str], out: Path) -> float:
    """Run to the end; its seconds."""
    started = time.monotonic()
    if start(arguments, out).wait():
        sys.exit(f"the run in {out} did not finish")
    return time.monotonic() - started


def kill_after(seconds: float, child: subprocess.Popen[bytes], out: Path) -> tuple[bool, int]:
    """Wait, then kill the process group: (whether it was still running, shards that were half-written)."""
    try:
        child.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return True, len(list(out.glob("tables/*/.*.tmp")))
    return False, 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("recipe", nargs="?", default="pick-style")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--limit", type=int, default=64, help="prompts of the run")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="as of datagen run")
    given = parser.parse_args()
    arguments = [given.recipe, "--profile", "embedded", "--limit", str(given.limit), "--workers", str(given.workers)]
    # Small shards, so that there are many moments at which a kill can hit.
    arguments += [part for value in ["images.shard_size=4", *given.set] for part in ("--set", value)]

    rng, kills, redone, torn, rounds = random.Random(given.seed), 0, 0, 0, 1
    with tempfile.TemporaryDirectory() as folder:
        whole, out = Path(folder, "whole"), Path(folder, "killed")
        seconds = finish(arguments, whole)
        expected = files(whole / "dataset")
        print(f"undisturbed: {seconds:.1f} s, {len(shards(whole))} shards, {len(expected)} dataset files", flush=True)
        while kills < given.kills:
            before, after_s = shards(out), rng.uniform(0, seconds)
            killed, half = kill_after(after_s, start(arguments, out), out)
            now = shards(out)
            redone += sum(now.get(name) != mark for name, mark in before.items())
            torn += half
            if killed:
                kills += 1
                print(f"kill {kills} after {after_s:.1f} s: {len(now)} shards are done", flush=True)
                continue
            # It got to the end between two kills: compare, and start over with an empty directory.
            _compare(files(out / "dataset"), expected)
            shutil.rmtree(out)
            rounds += 1
        before = shards(out)
        finish(arguments, out)
        redone += sum(shards(out).get(name) != mark for name, mark in before.items())
        _compare(files(out / "dataset"), expected)
    print(f"{kills} kills in {rounds} runs: dataset byte-identical each time")
    print(f"finished shards written again: {redone}; half-written files left by kills and cleared: {torn}")
    print(f"work done twice: at most {kills * given.workers} shards, those in flight ({given.workers} a kill)")
    how = "".join(f", {value}" for value in given.set) + (f", {given.workers} workers" if given.workers > 1 else "")
    rows = [
        Row(f"kills at random moments{how}", kills, "kills"),
        Row(f"dataset files that differ from an undisturbed run's{how}", 0, "files", "= 0",
            note=f"{len(expected)} files"),
        Row(f"finished shards written again{how}", redone, "shards", "= 0"),
        Row(f"half-written files left by kills, and cleared{how}", torn, "files"),
    ]  # fmt: skip
    record("kill_and_rerun", rows)
    if redone:
        sys.exit("finished work was done again")


def _compare(made: dict[str, bytes], expected: dict[str, bytes]) -> None:
    if made != expected:
        differ = sorted(name for name in made.keys() | expected.keys() if made.get(name) != expected.get(name))
        sys.exit(f"the dataset differs: {', '.join(differ)}")


if __name__ == "__main__":
    main()
