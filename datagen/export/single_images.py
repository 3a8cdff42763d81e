"""Single images, each labelled desirable or not, as KTO trains with: columns prompt, image, label.

An image of several pairs is there once; one that is chosen in one pair and rejected in another is left out.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from datagen.export import Finished
from datagen.export.parts import readme, tables
from datagen.export.parts.pairs import SIDES, Pairs, Row

BOTH = "images that are chosen in one pair of their prompt and rejected in another"
ABOUT = readme.About(
    __name__,
    "trainers of KTO's kind (`training/run.py --method kto` reads the pairs themselves)",
    "`prompt`, `image`, `label` (true: desirable), `probability` of its pair that this is so, `image_id`",
    'datasets.load_dataset("FOLDER", split="train")',
)
SCHEMA = tables.schema(
    {
        "prompt": pa.string(),
        "image": tables.PICTURE,
        "label": pa.bool_(),
        "probability": pa.float64(),
        "image_id": pa.string(),
        "prompt_id": pa.string(),
    }
)
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write the tables of both splits."""
    pairs = Pairs(finished, ["prompt", "prompt_id", *SIDES])
    with tables.Tables(folder / "data", SCHEMA) as out:
        for rows in pairs.by_prompt():
            found = _images(rows)
            for name, seen in found.items():
                if len(seen) > 1:
                    pairs.left[BOTH] += 1
                    continue
                (row, side, probability) = next(iter(seen.values()))
                made = {
                    "prompt": row["prompt"],
                    "image": row[side],
                    "label": side == "chosen",
                    "probability": probability,
                    "image_id": Path(name).stem,
                    "prompt_id": row["prompt_id"],
                }
                out.add(row["split"], made, len(row[side]["bytes"]))
    readme.write(finished, folder, ABOUT, pairs.kept, pairs.left)


def _images(rows: list[Row]) -> dict[str, dict[str, tuple[Row, str, float]]]:
    """File name → side → a row that has it there, and the highest probability of such rows."""
    found: dict[str, dict[str, tuple[Row, str, float]]] = {}
    for row in rows:
        for side in SIDES:
            own = found.setdefault(row[side]["path"], {})
            before = own[side][2] if side in own else 0.0
            own[side] = row, side, max(before, row["probability"])
    return found
