"""Pairs with a calibrated reward for each image, as CaPO, RankDPO and Diffusion-LPO train with.

A reward is the chance to win against another image of the same prompt. Where a run has ranked lists, each image stands
in a pair with the next one of its list, so that a list of K images is K-1 rows; elsewhere the pairs are the run's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datagen.export import Finished
from datagen.export.parts import mark, readme, tables
from datagen.export.parts.pairs import EVEN, NO_MARK, Pairs
from datagen.images.kinds import suffix_of
from datagen.labels import ranking
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
    lists = ranking.of_table(finished.run.table("labels", 0, list(ranking.COLUMNS)))
    prompts = finished.run.table("prompts", 0, ["prompt_id", "prompt", "split"]).to_pylist()
    of = {row["prompt_id"]: row for row in prompts}
    total, done = len(lists), 0
    for prompt_id, pictures in _pictures(finished, lists):
        ranked, done = lists[prompt_id], done + 1
        finished.progress("export", done, total)
        pairs.left[GONE] += sum(one.image_id not in pictures for one in ranked)
        here = [one for one in ranked if one.image_id in pictures]
        rewards = won(here)
        marked = {name: _marked(finished, pairs, name, data) for name, data in pictures.items()}
        for place in range(len(here) - 1):
            better, worse = here[place : place + 2]
            if abs(better.score - worse.score) < EVEN:
                pairs.left["neighbours of equal score, which the others of their list still rank"] += 1
                continue
            row = of[prompt_id]
            pairs.kept[row["split"]] += 1
            yield (
                row["split"],
                {
                    "prompt": row["prompt"],
                    "chosen": marked[better.image_id],
                    "rejected": marked[worse.image_id],
                    "chosen_reward": rewards[place],
                    "rejected_reward": rewards[place + 1],
                    "probability": chance(better.score - worse.score),
                    "prompt_id": prompt_id,
                },
            )


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


def _pictures(finished: Finished, lists: dict[str, list[Ranked]]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The pictures of each ranked prompt by their ids; the images of a prompt follow one another in a run."""
    current, held = "", dict[str, bytes]()
    for shard in range(finished.shards):
        for table in finished.run.tables("images", shard, ["prompt_id", "image_id", "image"]):
            for row in table.to_pylist():
                if row["prompt_id"] != current:
                    if held:
                        yield current, held
                    current, held = row["prompt_id"], {}
                if row["image"] is not None and current in lists:
                    held[row["image_id"]] = row["image"]
    if held:
        yield current, held
