"""Preferred and rejected pictures as two folders of equal names, as OneTrainer's patterns of a concept pair them.

The two lie in folders of their own since a pattern for one folder, such as `{}`, takes the rejected pictures for
preferred ones, too, and then finds no partner of theirs.
"""

from __future__ import annotations

from pathlib import Path

from datagen.export import Finished
from datagen.export.parts import beside, readme

ABOUT = readme.About(
    __name__,
    "OneTrainer with preference training (its pull request 1403): a concept of the path FOLDER/train with the chosen "
    "pattern `chosen/{}`, the rejected pattern `rejected/{}`, and subdirectories included",
    "`SPLIT/chosen/NAME`, `SPLIT/rejected/NAME` and the caption `SPLIT/chosen/NAME.txt`",
    """pairs = [
    (path, next(Path("FOLDER/train/rejected").glob(f"{path.stem}.*")))
    for path in Path("FOLDER/train/chosen").glob("*.[pjw]*")
]""",
)
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write both folders of each split."""
    beside.write(finished, folder, ABOUT, ("chosen/{}", "rejected/{}"), ("chosen/{}.txt",))
