"""The images of each prompt, ranked: a row an image with its score and place, without the pictures.

Scores are log-odds of Bradley and Terry's model with ties (`datagen.labels.ranking`); within a prompt their mean is 0,
and those of two prompts cannot be compared. A picture lies in the run's tables/images under its `image_id`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen import store
from datagen.export import Finished
from datagen.export.parts import readme
from datagen.export.parts.on_disk import OnDisk
from datagen.labels import ranking
from datagen.labels.ranking import Ranked

ABOUT = readme.About(
    __name__,
    "whoever wants the order alone; `rewards` is what trainers read",
    "`lists.parquet`: `prompt_id`, `prompt`, `split`, `image_id`, `rank`, `score`, `compared`; no pictures; "
    "written by a run of ranked lists itself",
    'pandas.read_parquet("FOLDER/lists.parquet")',
)
FILE = "lists.parquet"
SCHEMA = pa.schema(
    [
        pa.field("prompt_id", pa.string()),
        pa.field("prompt", pa.string()),
        pa.field("split", pa.string()),
        pa.field("image_id", pa.string()),
        pa.field("rank", pa.int64()),  # 1 is the best; equal scores have equal ranks
        pa.field("score", pa.float64()),
        pa.field("compared", pa.int64()),  # with how many images of its prompt
    ]
)


def export(finished: Finished, folder: Path) -> None:
    """Write the lists, prompt by prompt in the run's order."""
    schema = SCHEMA.with_metadata({b"datagen": json.dumps({"pairs": finished.content}).encode()})

    def fill(file: object) -> None:
        with ranked(finished) as lists, store.parquet_writer(file, schema) as writer:
            for table in finished.run.tables("prompts", 0, ["prompt_id", "prompt", "split"]):
                rows = [row for prompt in table.to_pylist() for row in _ranked(prompt, of(lists, prompt["prompt_id"]))]
                writer.write_table(pa.Table.from_pylist(rows, schema))

    store.write_file(folder / FILE, fill)


def ranked(finished: Finished) -> OnDisk:
    """The lists of a run by prompt, for `of`."""
    found = ranking.of_tables(_labels(finished))
    return OnDisk((prompt, [dataclasses.astuple(one) for one in some]) for prompt, some in found)


def _labels(finished: Finished) -> Iterator[pa.Table]:
    footer = finished.run.footer("labels", 0)
    done, total = 0, footer.rows if footer else 0
    for table in finished.run.tables("labels", 0, list(ranking.COLUMNS)):
        finished.progress("ranking", done, total)
        done += len(table)
        yield table
    finished.progress("ranking", done, total)


def of(lists: OnDisk, prompt_id: str) -> list[Ranked]:
    """The images of a prompt, the best first; none of one that is not ranked."""
    return [Ranked(*one) for one in lists.get(prompt_id) or ()]


def _ranked(prompt: dict[str, Any], images: Sequence[Ranked]) -> Iterator[dict[str, Any]]:
    """The images of one prompt, with their places."""
    rank, last = 0, None
    for place, one in enumerate(images, 1):
        rank, last = (rank, last) if one.score == last else (place, one.score)
        yield {**prompt, "image_id": one.image_id, "rank": rank, "score": one.score, "compared": one.met}


def stamp(folder: Path) -> str | None:
    """The hash of the pairs that lists were written from; None if there are none."""
    try:
        made_from: str = json.loads(pq.read_metadata(folder / FILE).metadata[b"datagen"])["pairs"]
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    return made_from
