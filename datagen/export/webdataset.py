"""WebDataset archives: KEY.chosen.png, KEY.rejected.png, KEY.prompt.txt and the other columns in KEY.json."""

from __future__ import annotations

import json
from pathlib import Path

from datagen.export import Finished
from datagen.export.parts import archives, pictured, readme
from datagen.export.parts.pairs import SIDES, Pairs, file_name

ABOUT = readme.About(
    __name__,
    "`webdataset`, `datasets` (`webdataset`), `training/run.py`, `datagen judge --pairs`",
    "`KEY.chosen.webp`, `KEY.rejected.webp` (or .png, .jpg), `KEY.prompt.txt`, and all other columns in `KEY.json`",
    'webdataset.WebDataset("FOLDER/train-00000.tar", shardshuffle=False).decode("pil")',
)
COLUMNS = pictured.schema().names
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write the archives of both splits."""
    pairs = Pairs(finished, COLUMNS)
    with archives.Archives(folder) as out:
        for row in pairs:
            facts = {name: row[name] for name in COLUMNS if name not in SIDES}
            files = {f"{side}{file_name(row[side], '')}": row[side]["bytes"] for side in SIDES}
            files["prompt.txt"] = row["prompt"].encode()
            files["json"] = json.dumps(facts, ensure_ascii=False).encode()
            out.add(row["split"], row["pair_id"], files)
    readme.write(finished, folder, ABOUT, pairs.kept, pairs.left)
