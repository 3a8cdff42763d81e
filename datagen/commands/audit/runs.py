"""A finished run as the audit reads it: what judges said, shard by shard, and its pairs with how their images look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen import judges, records, store
from datagen import recipe as recipes
from datagen.errors import ModelError
from datagen.export import Finished
from datagen.export.parts import pictured
from datagen.images.ahead import prefetch
from datagen.images.decode import Unreadable
from datagen.images.looks import Look, look
from datagen.judges import panel
from datagen.labels.audit import evidence
from datagen.labels.audit.evidence import Evidence
from datagen.labels.audit.published import Published, Row
from datagen.pipeline import build
from datagen.progress import Progress
from datagen.recipe import JudgeChoice
from datagen.records import Score

DEPTH = 64  # pictures that are decoded ahead
PAIRS = [
    "pair_id", "prompt_id", "prompt", "split", "chosen_prompt", "rejected_prompt", "generator", "rejected_generator",
]  # fmt: skip


def read(root: Path, progress: Progress) -> tuple[Evidence, Published, list[str]]:
    """The meetings and the pairs of a run, and what is to be said of them; RunError if it is not a finished one."""
    run = store.Run(root)
    settings = run.started()
    recipe, profile = recipes.of_run(settings)
    finished = build.finished(run, settings["digest"], recipe, profile)
    names = _names(finished.profile.judges)
    parts, controls = [], evidence.controls(run)
    for shard in range(finished.shards):
        parts.append(evidence.of_shard(run, shard, _more(run, shard), names, controls))
        progress("judges", shard + 1, finished.shards)
    return evidence.joined(parts), _published(finished, progress), []


def _names(choices: Sequence[JudgeChoice]) -> list[str]:
    """What the judges call themselves in the scores; one that cannot be made on this machine, as it was chosen."""
    return [_class_name(choice) or _own_name(choice) for choice in choices]


def _class_name(choice: JudgeChoice) -> str | None:
    """The name of a judge whose class tells it, which reads no weights and imports no torch."""
    try:
        found = getattr(judges.JUDGES.module(choice.name).Judge, "name", None)
    except Exception:  # somebody else's file may raise anything; making it says what is wrong
        return None
    return found if isinstance(found, str) else None


def _own_name(choice: JudgeChoice) -> str:
    try:
        return panel.load([choice])[0].name
    except ModelError:
        return choice.name


def _more(run: store.Run, shard: int) -> pa.Table:
    """The scores of a shard that say more than the leans do; mostly there are none, so their axis is read first."""
    told = pc.is_in(run.table("scores", shard, ["axis"])["axis"], pa.array(evidence.MORE))
    columns = list(evidence.SCORES)
    if not pc.any(told).as_py():
        return records.schema(Score).empty_table().select(columns)
    return run.table("scores", shard, columns).filter(told)


def _published(finished: Finished, progress: Progress) -> Published:
    """The pairs of a run; each picture is decoded once."""
    clusters: dict[str, str] = {}
    for table in finished.run.tables("prompts", 0, ["prompt_id", "cluster"]):
        clusters.update(zip(table["prompt_id"].to_pylist(), table["cluster"].to_pylist(), strict=True))
    rows: list[Row] = []
    looks: dict[str, Look] = {}
    sizes: dict[str, int] = {}
    known = set[str]()  # of which `sizes` has those that were looked at, some behind
    for shard in range(finished.shards):
        for table in pictured.tables(finished.run, shard, [*PAIRS, *pictured.SIDES]):
            for key, size, seen in prefetch(_look, _new(table, known), DEPTH):
                sizes[key] = size
                if seen is not None:
                    looks[key] = seen
            rows += _rows(table, clusters)
        progress("pictures", shard + 1, finished.shards)
    return Published(rows, looks, sizes, worded=not finished.recipe.ranked)


def _new(table: pa.Table, known: set[str]) -> Iterator[tuple[str, bytes]]:
    """The id and the file of each picture that is not known yet, which then is."""
    for batch in table.select(list(pictured.SIDES)).to_batches(max_chunksize=DEPTH):
        for row in batch.to_pylist():
            for picture in (row["chosen"], row["rejected"]):
                if picture["path"] not in known:
                    known.add(picture["path"])
                    yield picture["path"], picture["bytes"]


def _look(file: tuple[str, bytes]) -> tuple[str, int, Look | None]:
    """A picture's id, the size of its file, and its look; None if it cannot be read."""
    key, data = file
    try:
        return key, len(data), look(data)
    except Unreadable:
        return key, len(data), None


def _rows(table: pa.Table, clusters: dict[str, str]) -> Iterator[Row]:
    flat = table.select(PAIRS).to_pylist()
    paths: list[list[Any]] = [pc.struct_field(table[side], "path").to_pylist() for side in pictured.SIDES]
    for row, chosen, rejected in zip(flat, *paths, strict=True):
        yield Row(
            pair_id=row["pair_id"],
            prompt_id=row["prompt_id"],
            prompt=row["prompt"],
            cluster=clusters.get(row["prompt_id"], ""),
            split=row["split"],
            chosen=chosen,
            rejected=rejected,
            chosen_text=row["chosen_prompt"],
            rejected_text=row["rejected_prompt"],
            chosen_generator=row["generator"],
            rejected_generator=row["rejected_generator"] or row["generator"],
        )
