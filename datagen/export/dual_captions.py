"""A caption for each image of a pair, as DCPO trains with: columns prompt, chosen, rejected and the text of each."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from datagen.export import Finished
from datagen.export.parts import readme, tables
from datagen.export.parts.pairs import Pairs

ALIKE = "pairs whose two captions are the same"
ABOUT = readme.About(
    __name__,
    "`training/run.py --method dcpo`, DCPO",
    "`prompt`, `chosen`, `rejected` and the text that each was drawn from, `chosen_prompt` and `rejected_prompt`",
    'datasets.load_dataset("FOLDER", split="train")  # --data FOLDER --method dcpo',
)
SCHEMA = tables.schema(
    {
        "prompt": pa.string(),
        "chosen": tables.PICTURE,
        "rejected": tables.PICTURE,
        "chosen_prompt": pa.string(),
        "rejected_prompt": pa.string(),
        "probability": pa.float64(),
        "pair_id": pa.string(),
    }
)
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write the tables of both splits."""
    pairs = Pairs(finished, SCHEMA.names)
    with tables.Tables(folder / "data", SCHEMA) as out:
        for row in pairs:
            if row["chosen_prompt"] == row["rejected_prompt"]:
                pairs.skip(row, ALIKE)
                continue
            out.add(row["split"], {name: row[name] for name in SCHEMA.names}, tables.size_of(row))
    readme.write(finished, folder, ABOUT, pairs.kept, pairs.left)
