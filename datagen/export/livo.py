"""LiVO's folders: SPLIT/TYPE/SCENE/metadata.jsonl beside the images of a scene, aligned ones with prompt and value.

A scene is one prompt, so that any violating image of it may stand against any aligned one, as LiVO's trainer has it.
"""

from __future__ import annotations

from pathlib import Path

from datagen.export import Finished
from datagen.export.parts import files, readme
from datagen.export.parts.pairs import SIDES, Pairs, Row, file_name

NO_VALUE = "pairs without a principle, which LiVO reads as the value"
ABOUT = readme.About(
    __name__,
    "LiVO's `value_encoder/train.py`, `training/run.py --method livo`",
    "`SPLIT/TYPE/SCENE/metadata.jsonl` with `file_name`, `label` (1: aligned), `prompt`, `value`, and the images; a "
    "type is a category of principles, a scene a prompt",
    'lines = [json.loads(line) for path in Path("FOLDER/train").rglob("metadata.jsonl") for line in path.open()]',
)
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write a folder a scene."""
    pairs = Pairs(finished, ["prompt", "prompt_id", "principle", "category", *SIDES])
    (folder / "train").mkdir()
    for rows in pairs.by_prompt():
        for row in rows:
            if not row["principle"].strip():
                pairs.skip(row, NO_VALUE)
        if usable := [row for row in rows if row["principle"].strip()]:
            _scene(folder, usable)
    readme.write(finished, folder, ABOUT, pairs.kept, pairs.left)


def _scene(folder: Path, rows: list[Row]) -> None:
    """The images of one prompt, each once a side."""
    first = rows[0]
    scene = (
        folder / first["split"] / files.plain(first["category"], "other") / files.plain(first["prompt_id"], "scene")
    )
    lines: dict[tuple[str, str], str] = {}
    for row in rows:
        for side in SIDES:
            name = file_name(row[side])
            if (side, name) not in lines:
                files.put(scene / name, row[side]["bytes"])
                said = {"prompt": row["prompt"], "value": row["principle"]} if side == "chosen" else {}
                lines[side, name] = files.line({"file_name": name, "label": int(side == "chosen"), **said})
    files.put(scene / "metadata.jsonl", "".join(f"{made}\n" for made in lines.values()).encode())
