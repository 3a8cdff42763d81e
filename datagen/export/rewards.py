"""Pairs with a calibrated reward for each image, as CaPO, RankDPO and Diffusion-LPO train with.

A reward is the chance to win against another image of the same prompt. Where a run has ranked lists, each image stands
in a pair with the next one of its list, so that a list of K images is K-1 rows; elsewhere the pairs are the run's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datagen.export import Finished, lists
from datagen.export.parts import mark, readme, tables
from datagen.export.parts.on_disk import OnDisk
from datagen.export.parts.pairs import EVEN, NO_MARK, Pairs
from datagen.images.kinds import suffix_of
from datagen.labels.ranking import Ranked

ABOUT = readme.About(
    __name__,
    "`training/run.py --method rankdpo`, `lpo` and `capo`",
    "`prompt`, `chosen`, `rejected`, `chosen_reward`, `rejected_reward` (the chance to win against another image of "
    "the same prompt, from 0 to 1), `probability`; neighbours in a ranked list where there are lists",
    'datasets.load_dataset("FOLDER", split="train")  # --data FOLDER --method rankdpo',
)
SCHEMA = tables.schema(
    {
        "prompt": pa.string(),
        "chosen": tables.PICTURE,
        "rejected": tables.PICTURE,
        "chosen_reward": pa.float64(),
        "rejected_reward": pa.float64(),
        "probability": pa.float64(),
        "prompt_id": pa.string(),
    }
)
GONE = "ranked images that the run no longer holds"
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write the tables of both splits."""
    pairs = Pairs(finished, ["prompt", "prompt_id", "chosen", "rejected"])
    rows = (
        _of_lists(finished, pairs) if finished.recipe.pairing == "list" and not finished.control else _of_pairs(pairs)
    )
    with tables.Tables(folder / "data", SCHEMA) as out:
        for split, row in rows:
            out.add(split, row, tables.size_of(row))
    readme.write(finished, folder, ABOUT, pairs.kept, pairs.left)


def _of_pairs(pairs: Pairs) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in pairs:
        rewards = {"chosen_reward": row["probability"], "rejected_reward": 1 - row["probability"]}
        yield row["split"], {**{name: row[name] for name in SCHEMA.names if name in row}, **rewards}


def _of_lists(finished: Finished, pairs: Pairs) -> Iterator[tuple[str, dict[str, Any]]]:
    """The neighbours of each list; of one prompt the pictures are in memory."""
    tables = finished.run.tables("prompts", 0, ["prompt_id", "prompt", "split"])
    prompts = ((row["prompt_id"], row) for table in tables for row in table.to_pylist())
    with lists.ranked(finished) as ranked, OnDisk(prompts) as texts:
        total, done = len(ranked), 0
        for prompt_id, pictures in _pictures(finished):
            if some := lists.of(ranked, prompt_id):
                done += 1
                finished.progress("export", done, total)
                for row in _neighbours(finished, pairs, some, pictures):
                    of = texts.get(prompt_id)
                    pairs.kept[of["split"]] += 1
                    yield of["split"], {"prompt": of["prompt"], "prompt_id": prompt_id, **row}


def _neighbours(
    finished: Finished, pairs: Pairs, ranked: Sequence[Ranked], pictures: Mapping[str, bytes]
) -> Iterator[dict[str, Any]]:
    """What a row says of each two images that follow one another in a list."""
    pairs.left[GONE] += sum(one.image_id not in pictures for one in ranked)
    here = [one for one in ranked if one.image_id in pictures]
    rewards = won(here)
    marked = {one.image_id: _marked(finished, pairs, one.image_id, pictures[one.image_id]) for one in here}
    for place in range(len(here) - 1):
        better, worse = here[place : place + 2]
        if abs(better.score - worse.score) < EVEN:
            pairs.left["neighbours of equal score, which the others of their list still rank"] += 1
            continue
        yield {
            "chosen": marked[better.image_id],
            "rejected": marked[worse.image_id],
            "chosen_reward": rewards[place],
            "rejected_reward": rewards[place + 1],
            "probability": chance(better.score - worse.score),
        }


def won(ranked: Sequence[Ranked]) -> list[float]:
    """For each image of a list the mean of its chances against the others."""
    scores = np.array([one.score for one in ranked])
    against = 1 / (1 + np.exp(np.clip(scores[None, :] - scores[:, None], -700, 700)))
    found: list[float] = ((against.sum(axis=1) - 0.5) / max(len(scores) - 1, 1)).tolist()
    return found


def chance(apart: float) -> float:
    """That the better of two images wins, by how far their scores are apart."""
    return float(1 / (1 + np.exp(-apart)))


def _marked(finished: Finished, pairs: Pairs, name: str, data: bytes) -> dict[str, Any]:
    made = finished.mark.apply(data) if finished.mark.name != mark.NONE else data
    pairs.left[NO_MARK] += made is None
    return {"bytes": made or data, "path": f"{name}{suffix_of(data)}"}


def _pictures(finished: Finished) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The pictures of each prompt by their ids; the images of a prompt follow one another in a run."""
    for prompt_id, rows in itertools.groupby(_images(finished), key=lambda row: row["prompt_id"]):
        yield str(prompt_id), {row["image_id"]: row["image"] for row in rows if row["image"] is not None}


def _images(finished: Finished) -> Iterator[dict[str, Any]]:
    for shard in range(finished.shards):
        for table in finished.run.tables("images", shard, ["prompt_id", "image_id", "image"]):
            yield from table.to_pylist()
