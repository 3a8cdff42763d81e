"""verl-omni's offline DPO set: Parquet of chat prompts, relative paths of both images and their scores.

Latents and embeddings, which need its model's encoders, are left to its own script.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from datagen.export import Finished
from datagen.export.parts import files, readme, tables
from datagen.export.parts.pairs import SIDES, Pairs

ABOUT = readme.About(
    __name__,
    "verl-omni (`OfflineDPODataset`; its `prepare_offline_dpo.py` adds latents and embeddings)",
    "`prompt` (chat messages), `negative_prompt`, `img_win`, `img_lose` (paths in the folder), `win_score`, "
    "`lose_score` (the probability of the label, and the rest to 1), `extra_info`, `uid`; `images/`",
    'pandas.read_parquet("FOLDER/data")',
)
SCHEMA = pa.schema(
    [
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("negative_prompt", pa.string()),
        ("img_win", pa.string()),
        ("img_lose", pa.string()),
        ("win_score", pa.float64()),
        ("lose_score", pa.float64()),
        ("extra_info", pa.struct([("raw_prompt", pa.string()), ("pair_id", pa.string()), ("split", pa.string())])),
        ("uid", pa.string()),
    ]
)
AGAINST = "pairs whose label is less likely right than wrong: the winner's score must not be the lower one"
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write the tables and the pictures of both splits."""
    pairs = Pairs(finished, ["prompt", "chosen_negative_prompt", *SIDES])
    with tables.Tables(folder / "data", SCHEMA) as out:
        for row in pairs:
            if row["probability"] < 0.5:
                pairs.skip(row, AGAINST)
                continue
            chosen, rejected = (files.put_picture(folder, row[side]) for side in SIDES)
            made = {
                "prompt": [{"role": "user", "content": row["prompt"]}],
                "negative_prompt": row["chosen_negative_prompt"],
                "img_win": chosen,
                "img_lose": rejected,
                "win_score": row["probability"],
                "lose_score": 1 - row["probability"],
                "extra_info": {"raw_prompt": row["prompt"], "pair_id": row["pair_id"], "split": row["split"]},
                "uid": row["pair_id"],
            }
            out.add(row["split"], made, 0)
    readme.write(finished, folder, ABOUT, pairs.kept, pairs.left)
