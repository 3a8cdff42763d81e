"""The folders of LiVO's release: <type>/<scene>/metadata.jsonl, one line an image, beside the image files.

Each line has `file_name` and `label` (1: aligned); an aligned image's also `prompt` and `value`, its principle. The
released code samples a violating image of the same scene at every access; here they are assigned beforehand, the
same way every time, and a scene is a pool, of which training may sample another one.
Format: value_encoder/train.py of github.com/achernarwang/LiVO at ce43332.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.tables import json_lines
from training.data.columns import Part
from training.data.image_sources import FolderSource
from training.errors import TrainingError

INDEX = "metadata.jsonl"
SIDES = ("chosen", "rejected")
MOST = 8  # pairs of one aligned image


def holds(root: Path) -> bool:
    """Whether a folder is laid out like LiVO's; metadata that name both images of a pair are an ImageFolder's."""
    if not root.is_dir() or any(root.rglob("*.parquet")) or not (indices := sorted(root.rglob(INDEX))):
        return False
    _, first = next(json_lines.values(indices[0]), ("", {}))
    return not (isinstance(first, dict) and any(name.startswith(SIDES) for name in first))


def read(root: Path) -> Iterator[Part]:
    """The pairs of every scene; images whose scene has none of the other side are counted as dropped.

    Every aligned image is in equally many pairs, as it is drawn equally often by the released code: as many as give
    every violating image of every scene its turn, at most 8.
    """
    scenes = [(path, *_lines(path)) for path in sorted(root.rglob(INDEX))]
    paired = [(len(aligned), len(violating)) for _, aligned, violating in scenes if aligned and violating]
    times = min(MOST, max((math.ceil(other / own) for own, other in paired), default=1))
    for path, aligned, violating in scenes:
        yield _scene(path, aligned, violating, times)


def _scene(path: Path, aligned: list[dict[str, Any]], violating: list[dict[str, Any]], times: int) -> Part:
    folder = path.parent
    if not aligned or not violating:
        return Part(FolderSource([]), [], [], [], [], [], dropped=len(aligned) + len(violating))
    order = list(range(len(violating)))
    scene = f"{folder.parent.name}/{folder.name}"
    random.Random(scene).shuffle(order)
    pairs = len(aligned) * times
    return Part(
        source=FolderSource([folder / line["file_name"] for line in (*aligned, *violating)]),
        prompts=[line["prompt"] for line in aligned] * times,
        principles=[line["value"] for line in aligned] * times,
        pools=[scene] * pairs,
        chosen=list(range(len(aligned))) * times,
        rejected=[len(aligned) + order[i % len(order)] for i in range(pairs)],
    )


def _lines(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines of the aligned and of the violating images. Raises TrainingError naming file and line."""
    sides: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    where = "/".join(path.parts[-3:])
    for place, line in json_lines.values(path):
        own = isinstance(line, dict) and line.get("label") == 1
        wanted = ("file_name", "prompt", "value") if own else ("file_name",)
        if not isinstance(line, dict) or "label" not in line or not all(type(line.get(k)) is str for k in wanted):
            raise TrainingError(
                f"{where} {place}: needed are file_name and label, and prompt and value where label is 1 "
                "(LiVO's layout)"
            )
        if Path(line["file_name"]).name != line["file_name"]:
            raise TrainingError(f"{where} {place}: file_name must name a file of the same folder")
        sides[not own].append(line)
    return sides
