"""Whether a recipe gives the same bytes whoever works its shards: the table that says so.

`python -m benchmarks executors_equal [--only WAY …]`. The same recipe, with models that cost nothing, is made by one
process, by two, by two actors of Ray, by shares that three processes do, by such shares on an object store of which
each keeps its own copies, and by arrays of a real Slurm where there is one; each dataset, and the rows of every shard
of every table, are held against those of the first.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.data.kills import files
from benchmarks.support import attempts, null_models, object_store, slurm_cluster
from benchmarks.support.attempts import STAGES, Attempts
from benchmarks.support.results import Row, record
from datagen import store
from datagen.pipeline import plan

PROMPTS, SIZE, SHARES = 60, 4, 3


def one_process(run: Attempts) -> None:
    """The dataset that others are held against."""
    _done(run.start("--workers", "1"))


def two_workers(run: Attempts) -> None:
    """Processes of this machine."""
    _done(run.start("--workers", "2"))


def ray(run: Attempts) -> None:
    """Actors of a cluster that is started for it."""
    _done(run.start("--executor", "ray", "--workers", "2"))


def shares(run: Attempts) -> None:
    """Each stage by processes that do a share of it at once, and the rest by one."""
    _in_shares([run] * (SHARES + 1))


def on_store(run: Attempts) -> None:
    """The same on an object store, as if each of the processes were on a machine of its own."""
    runs, bucket = run.out.parent, run.out.parent.parent
    with object_store.serving(bucket) as there:
        own = [object_store.environment(there, bucket / f"copies {place}") for place in range(SHARES + 1)]
        address = f"s3://{runs.name}/{run.out.name}"
        _in_shares([dataclasses.replace(run, environment=run.environment | one, address=address) for one in own])


def _in_shares(of: Sequence[Attempts]) -> None:
    """One process for each share of a stage, and the last for what is no share."""
    *sharers, last = of
    _done(last.start(verb="write"))
    for stage in STAGES[:-1]:
        _done(*(run.start("--stage", stage, "--shard", f"{at}/{len(sharers)}") for at, run in enumerate(sharers)))
    _done(last.start("--workers", "1"))


def slurm(run: Attempts) -> None:
    """The scripts of `datagen slurm`, submitted to a Slurm of one node."""
    with slurm_cluster.started(run.out.parent / "node") as environment:
        known = dataclasses.replace(run, environment=run.environment | environment)
        _done(known.start("--tasks", str(SHARES), verb="slurm"))
        submitted = {**run.everything(), **environment, "PYTHONPATH": str(attempts.ROOT)}
        scripts = run.out.with_name(f"{run.out.name}.slurm")
        for job in scripts.glob("*.sbatch"):  # models that are not the embedded ones ask for a GPU, which is not here
            job.write_text(job.read_text().replace("#SBATCH --gres=gpu:1\n", ""))
        subprocess.run(
            ["bash", str(scripts / "submit.sh")],
            check=True,
            env=submitted,
            cwd=attempts.ROOT,
            stdout=subprocess.DEVNULL,
        )
        slurm_cluster.until(lambda: slurm_cluster.told(environment, "squeue", "--noheader") == "", 600)


WAYS: dict[str, tuple[str, Callable[[Attempts], None]]] = {
    "two": ("local, 2 workers", two_workers),
    "shares": (f"--shard, {SHARES} processes a stage", shares),
    "ray": ("ray, 2 actors", ray),
    "store": (f"an object store, {SHARES} processes a stage with copies of their own", on_store),
    "slurm": (f"Slurm, arrays of {SHARES} tasks", slurm),
}


def _done(*processes: subprocess.Popen[bytes]) -> None:
    """Wait for processes that should do their work."""
    for process in processes:
        if ended := process.wait(600):
            raise RuntimeError(f"a process ended with {ended}")


def contents(root: Path) -> list[tuple[str, int, object]]:
    """Stage, number and hash of the rows of every shard of every table."""
    run, found = store.Run(root), list[tuple[str, int, object]]()
    for stage in plan.STAGES:
        count = len(list((root / "tables" / stage.name).glob(f"{stage.name}-*.parquet")))
        hashes = store.footers(run, stage.name, count).column("content")
        found += [(stage.name, index, content) for index, content in enumerate(hashes)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    given, rows = parser.parse_args(), list[Row]()
    with tempfile.TemporaryDirectory(prefix="e") as name:
        folder = Path(name) / "runs"
        folder.mkdir()
        recipe = null_models.recipe(folder, PROMPTS, SIZE)
        first = Attempts(recipe, folder / "whole", "whole", {})
        one_process(first)
        expected, tables = files(first.out / "dataset"), contents(first.out)
        for way in given.only:
            what, work = WAYS[way]
            if way == "slurm" and (why := slurm_cluster.why_not()):
                print(f"{what}: {why}")
                continue
            run = Attempts(recipe, folder / way, way, {"HOME": str(folder)} if way == "ray" else {})
            begun = time.perf_counter()
            try:
                work(run)
            except RuntimeError as error:
                sys.exit(f"{what}: {error}\n{run.log()[-2000:]}")
            made = files(run.out / "dataset")
            differ = sum(made.get(name) != expected.get(name) for name in made.keys() | expected.keys())
            others = len(set(tables) ^ set(contents(run.out)))
            print(
                f"{what}: {differ} files and {others} shards differ, {time.perf_counter() - begun:.0f} s", flush=True
            )
            rows += [
                Row(f"{what}: files of the dataset that differ", differ, "files", "= 0", f"of {len(expected)}"),
                Row(f"{what}: shards whose rows differ", others, "shards", "= 0", f"of {len(tables)}"),
            ]
            record("executors_equal", rows)  # what was found, whatever becomes of the other ways
    if any(row.figure for row in rows):
        sys.exit("datasets differ")


if __name__ == "__main__":
    main()
