"""How long it takes to look at a run of a million prompts: to plan it, and by `datagen status`; beside a tenth of it.

`python -m benchmarks many_shards [--prompts N]`. The run has the footers of every stage and no rows, in shards of 100
prompts: 10,000 files a stage. It is planned first by opening each file, as after a copy to another disk, and then from
the footers that are kept beside them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import pyarrow as pa

from benchmarks.support.results import Row, record
from datagen import recipe as recipes
from datagen import store
from datagen.pipeline import plan

ROOT = Path(__file__).parents[2]
PROMPTS, SHARD, TIMES = 1_000_000, 100, 5
EMPTY = pa.table({"x": pa.array([], pa.int64())})


def write(folder: Path, prompts: int) -> store.Run:
    """A run of so many prompts whose shards hold no rows."""
    run = store.Run(folder)
    recipe = recipes.load("pick-style", [f"prompts.count={prompts}", f"images.shard_size={SHARD}"])
    settings = {"digest": "d", "version": "1", "recipe": recipes.resolved(recipe, "embedded")}
    footer = {"errors": 0, "seconds": 1.0, "digest": "d", "version": "1", "drops": {}}
    plans: list[plan.Plan] = []
    with store.hold(run, settings), mock.patch.object(os, "fsync"):  # what is measured is reading
        for stage in plan.STAGES:
            if stage.name == "labels":
                break
            sources = plan.of_stage(run, stage, plans, recipe, "d").sources
            shared = stage == plan.shared_out(plan.STAGES)
            facts = {"parts": ["0" * 16] * (prompts // SHARD)} if shared else {}
            made = [
                run.commit(stage.name, index, EMPTY, made_from=source, stage_version=stage.version, **footer, **facts)
                for index, source in enumerate(sources)
            ]
            if shared:  # as many rows as it speaks of
                made = [store.Footer(**(vars(made[0]) | {"rows": prompts}))]
                _state(run, stage.name, prompts)
            plans.append(plan.Plan(stage, store.Footers(made), sources))
    return run


def _state(run: store.Run, stage: str, rows: int) -> None:
    """Have the only shard of a stage state so many rows."""
    footer = run.footer(stage, 0)
    assert footer is not None
    from datagen.store import files, seal

    facts = {**vars(footer), "rows": rows, "shard": f"{stage}-00000"}
    files.write_file(run.shard(stage, 0), lambda file: seal.write(file, [EMPTY], lambda: facts))


def planned_s(run: store.Run) -> float:
    """The seconds that planning takes; RuntimeError if it finds anything undone before the labels."""
    settings = run.started()
    recipe, _ = recipes.of_run(settings)
    begun = time.perf_counter()
    found = plan.of_run(run, recipe, "d")
    took = time.perf_counter() - begun
    if undone := [one.stage.name for one in found if one.missing and one.stage.name not in ("labels", "pairs")]:
        raise RuntimeError(f"{undone} undone")
    return took


def status_s(run: store.Run, compiled: Path) -> float:
    """The seconds that the whole command takes; its modules are compiled, as they are after a first call."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(compiled)}
    command = [sys.executable, "-m", "datagen", "status", str(run.root)]
    begun = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--prompts", type=int, default=PROMPTS, help="of the larger run (1,000,000)")
    given = parser.parse_args()
    rows, medians = [], dict[tuple[str, int], float]()
    with tempfile.TemporaryDirectory() as folder:
        sizes = (given.prompts // 10, given.prompts)
        runs = {size: write(Path(folder) / str(size), size) for size in sizes}
        for size in sizes:
            medians["each file", size] = planned_s(runs[size])
        compiled = Path(folder) / "compiled"
        status_s(runs[sizes[0]], compiled)
        took = {(what, size): list[float]() for what in ("kept", "status") for size in sizes}
        for _ in range(TIMES):
            for size in sizes:
                took["kept", size].append(planned_s(runs[size]))
                took["status", size].append(status_s(runs[size], compiled))
    medians |= {key: statistics.median(times) for key, times in took.items()}
    large, small = sizes[1], sizes[0]
    spread = {key: f"{min(times):.2f} to {max(times):.2f} s" for key, times in took.items()}
    for key, median in medians.items():
        print(f"{key[0]}, {key[1]:,} prompts: {median:.2f} s  {spread.get(key, '')}")
    rate, first = large / medians["kept", large], large / medians["each file", large]
    ratio = medians["kept", large] / medians["kept", small]
    rows.append(Row("prompts planned a second", rate, "", "≥ 500000", spread["kept", large]))
    rows.append(Row("the same, by opening each file", first, "", "", "once", "as after a copy of the run"))
    rows.append(Row("datagen status, whole command", medians["status", large], "s", "≤ 1", spread["status", large]))
    rows.append(Row("the same of a tenth of the run", medians["status", small], "s", "", spread["status", small]))
    rows.append(Row("planning ten times as many prompts", ratio, "×", "", "", "10 would be linear"))
    record("many_shards", rows)


if __name__ == "__main__":
    main()
