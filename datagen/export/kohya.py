"""Folders of sd-scripts' preference training: w/NAME.png, l/NAME.png, each with its caption beside it."""

from __future__ import annotations

from pathlib import Path

from datagen.export import Finished
from datagen.export.parts import beside, readme

ABOUT = readme.About(
    __name__,
    "kohya's sd-scripts with Diffusion-DPO and MaPO (its pull request 1427)",
    "`SPLIT/w/NAME` and `SPLIT/l/NAME`, the preferred and the other image, with `NAME.txt` beside each",
    'pairs = [(path, path.parent.parent / "l" / path.name) for path in Path("FOLDER/train/w").glob("*.[pjw]*")]',
)
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write both folders of each split."""
    beside.write(finished, folder, ABOUT, ("w/{}", "l/{}"), ("w/{}.txt", "l/{}.txt"))
