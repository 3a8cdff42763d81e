"""Flow-Factory's offline preference set: train.jsonl of its schema 2, test.jsonl of prompts, and the pictures.

It evaluates by drawing, so that it reads prompts there, in its older layout: schema 2 is refused without a preference.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datagen.export import Finished
from datagen.export.parts import files, readme
from datagen.export.parts.pairs import SIDES, Pairs

ABOUT = readme.About(
    __name__,
    "Flow-Factory (`offline-dpo`)",
    "`train.jsonl` with `schema_version` 2, `input` and a `supervision` of the kind preference; `test.jsonl`, a "
    "`prompt` each; `images/`",
    'rows = [json.loads(line) for line in open("FOLDER/train.jsonl")]',
)
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write both files and the pictures of train."""
    pairs, asked = Pairs(finished, ["prompt", "prompt_id", *SIDES]), ""
    with (
        (folder / "train.jsonl").open("w", encoding="utf-8") as train,
        (folder / "test.jsonl").open("w", encoding="utf-8") as test,
    ):
        for row in pairs:
            if row["split"] == "train":
                train.write(files.line(_record(folder, row)) + "\n")
            elif row["prompt_id"] != asked:  # the rows of a prompt follow one another
                asked = row["prompt_id"]
                test.write(files.line({"prompt": row["prompt"]}) + "\n")
    readme.write(finished, folder, ABOUT, pairs.kept, pairs.left)


def _record(folder: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    sides = {side: {"media": [{"type": "image", "path": files.put_picture(folder, row[side])}]} for side in SIDES}
    return {
        "schema_version": 2,
        "input": {"prompt": row["prompt"], "media": []},
        "supervision": {"type": "preference", **sides},
        "metadata": {"pair_id": row["pair_id"], "probability": row["probability"]},
    }
