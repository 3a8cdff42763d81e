"""Which of two images is better, as questions with a right and a wrong answer: TRL's preference format for judges.

TRL's DPO trains a model that reads images, so this is what teaches a judge, and not a generator.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from datagen.export import Finished
from datagen.export.parts import readme, tables
from datagen.export.parts.pairs import Pairs, in_order

ABOUT = readme.About(
    __name__,
    "TRL's `DPOTrainer` with a vision-language model (it trains a judge, not a generator)",
    "`images` (two), `prompt`, `chosen` and `rejected` as chat messages; which image comes first follows from the id "
    "of the pair",
    'datasets.load_dataset("FOLDER", split="train")  # DPOTrainer(..., train_dataset=…)',
)
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = tables.schema(
    {
        "images": pa.list_(tables.PICTURE),
        "prompt": MESSAGES,
        "chosen": MESSAGES,
        "rejected": MESSAGES,
        "pair_id": pa.string(),
    }
)
QUESTION = "Two images were made for this prompt: {prompt}\n{rule}Which one is better? Answer 1 or 2."
RULE = "They should keep to this: {}\n"
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write the tables of both splits."""
    pairs = Pairs(finished, ["prompt", "principle", "chosen", "rejected"])
    with tables.Tables(folder / "data", SCHEMA) as out:
        for row in pairs:
            sides, wins = in_order(row)
            rule = RULE.format(row["principle"]) if row["principle"] else ""
            right, wrong = ("1", "2") if wins else ("2", "1")
            made = {
                "images": [row[side] for side in sides],
                "prompt": _message("user", QUESTION.format(prompt=row["prompt"], rule=rule)),
                "chosen": _message("assistant", right),
                "rejected": _message("assistant", wrong),
                "pair_id": row["pair_id"],
            }
            out.add(row["split"], made, tables.size_of(row))
    readme.write(finished, folder, ABOUT, pairs.kept, pairs.left)


def _message(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]
