"""Pick-a-Pic's columns, as Diffusion-DPO's, ORPO's and MaPO's scripts read them: caption, jpg_0, jpg_1, label_0.

Those scripts open the bytes themselves and take any label but 0 as won by the first image, so that pictures are plain
bytes, labels 1 and 0, and ties are left out.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from datagen.export import Finished
from datagen.export.parts import readme, tables
from datagen.export.parts.pairs import Pairs, in_order

ABOUT = readme.About(
    __name__,
    "diffusers' `train_diffusion_dpo*.py` and `train_diffusion_orpo*.py`, MaPO's scripts, `training/run.py`",
    "`jpg_0`, `jpg_1` (encoded bytes), `caption`, `label_0`, `label_1` (1 or 0), ids, models and `probability`; which "
    "image comes first follows from the id of the pair",
    'datasets.load_dataset("FOLDER", split="train")  # --dataset_name FOLDER',
)
SCHEMA = tables.schema(
    {
        "caption": pa.string(),
        "jpg_0": pa.binary(),
        "jpg_1": pa.binary(),
        "label_0": pa.float64(),
        "label_1": pa.float64(),
        "has_label": pa.bool_(),
        "image_0_uid": pa.string(),
        "image_1_uid": pa.string(),
        "model_0": pa.string(),
        "model_1": pa.string(),
        "probability": pa.float64(),
        "pair_id": pa.string(),
    }
)
MODELS = {"chosen": "generator", "rejected": "rejected_generator"}
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write the tables of both splits."""
    pairs = Pairs(finished, ["prompt", "chosen", "rejected", *MODELS.values()])
    with tables.Tables(folder / "data", SCHEMA) as out:
        for row in pairs:
            (first, second), wins = in_order(row)
            made = {
                "caption": row["prompt"],
                "jpg_0": row[first]["bytes"],
                "jpg_1": row[second]["bytes"],
                "label_0": float(wins),
                "label_1": float(not wins),
                "has_label": True,
                "image_0_uid": Path(row[first]["path"]).stem,
                "image_1_uid": Path(row[second]["path"]).stem,
                "model_0": row[MODELS[first]],
                "model_1": row[MODELS[second]],
                "probability": row["probability"],
                "pair_id": row["pair_id"],
            }
            out.add(row["split"], made, tables.size_of(row))
    readme.write(finished, folder, ABOUT, pairs.kept, pairs.left)
