"""verl-omni's offline DPO set: Parquet of chat prompts, relative paths of both images and their scores.

Latents and embeddings, which its dataset wants beside them, need the encoders of the model that is trained: its own
script has functions for them, which are used below, and by itself encodes only what it draws.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from datagen.export import Finished
from datagen.export.parts import files, readme, tables
from datagen.export.parts.pairs import SIDES, Pairs

ABOUT = readme.About(
    __name__,
    "verl-omni's `OfflineDPODataset`, once latents and embeddings of the model that is trained are added",
    "`prompt` (chat messages), `negative_prompt`, `img_win`, `img_lose` (paths in the folder), `win_score`, "
    "`lose_score` (the probability of the label, and the rest to 1), `extra_info`, `uid`; `images/`",
    """import prepare_offline_dpo as peer  # verl-omni's examples/dpo_trainer/data_process

pipe = StableDiffusion3Pipeline.from_pretrained(MODEL).to("cuda")
how = SimpleNamespace(device="cuda", width=WIDTH, height=HEIGHT, guidance_scale=4.0, max_sequence_length=256)


def encoded(row):
    for side in ("img_win", "img_lose"):
        row[side] = str(Path("FOLDER", row[side]).resolve())
        latent = peer._encode_image_latent(pipe, Image.open(row[side]).convert("RGB"), how)
        row[f"{side}_latents"] = peer._tensor_to_bytes(latent)
    return row | peer._encode_prompt_tensors(pipe, row["extra_info"]["raw_prompt"], row["negative_prompt"], how)


for path in Path("FOLDER").glob("*.parquet"):
    rows = pandas.read_parquet(path).to_dict("records")
    pandas.DataFrame(map(encoded, rows)).to_parquet(Path("ENCODED", path.name))""",
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
    with tables.Tables(folder, SCHEMA) as out:  # paths are relative to the file that names them
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
