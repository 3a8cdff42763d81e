"""The tables of a run: is each shard there, as it was written, and made from what is there now?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from datagen import recipe as recipes
from datagen import records, store
from datagen.errors import RunError
from datagen.llm import LEDGER
from datagen.llm.accounts import money
from datagen.pipeline import plan

AGAIN = "the same datagen run makes it again"


def problems(run: store.Run) -> Iterator[str]:
    """One line for each shard that is not as it should be, and for a ledger that cannot be read."""
    settings = run.started()
    recipe, _ = recipes.of_run(settings)
    for stage in plan.of_run(run, recipe, settings["digest"]):
        named = {damaged.path for damaged in stage.damaged}
        yield from (str(damaged) for damaged in stage.damaged)
        if not stage.shards:
            yield f"{run.root / 'tables' / stage.stage.name} has no shards, as there are no prompts yet: {AGAIN}"
        for index, footer in enumerate(stage.shards):
            path = run.shard(stage.stage.name, index)
            if isinstance(footer, store.Footer):
                yield from _of_shard(run, stage.stage.name, index, footer, stage.stage.record)
            elif path not in named:
                yield f"{path} {'was made from rows that have changed' if path.exists() else 'is missing'}: {AGAIN}"
    yield from _of_ledger(run.root / LEDGER)


def _of_shard(run: store.Run, stage: str, index: int, footer: store.Footer, record: type) -> Iterator[str]:
    """What is wrong with a shard that counts as done."""
    path = run.shard(stage, index)
    try:
        table = run.table(stage, index)
    except store.Damaged as damaged:
        yield str(damaged)
        return
    if not table.schema.equals(records.schema(record)):
        yield f"{path} has other columns than {stage} have in this version"
    if table.num_rows != footer.rows:
        yield f"{path} holds {table.num_rows} rows, its footer says {footer.rows}"


def _of_ledger(path: Path) -> Iterator[str]:
    try:
        money.totals(path)
    except RunError as error:
        yield str(error)
