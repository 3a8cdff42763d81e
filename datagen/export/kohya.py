"""Folders of sd-scripts' preference training: w/NAME.png, l/NAME.png, each with its caption beside it."""

from __future__ import annotations

from pathlib import Path

from datagen.export import Finished
from datagen.export.parts import beside, files, readme

ABOUT = readme.About(
    __name__,
    "kohya's sd-scripts with Diffusion-DPO and MaPO (its pull request 1427): `--dataset_config FOLDER/dataset.toml`",
    "`SPLIT/w/NAME` and `SPLIT/l/NAME`, the preferred and the other image, with `NAME.txt` beside each, and "
    "`dataset.toml`, whose paths are relative to the folder",
    'pairs = [(path, path.parent.parent / "l" / path.name) for path in Path("FOLDER/train/w").glob("*.[pjw]*")]',
)
# Without its extension captions are not looked for, and no more than a warning says so.
CONFIG = """\
[general]
caption_extension = ".txt"

[[datasets]]
resolution = [{width}, {height}]

[[datasets.subsets]]
image_dir = "train"
preference = true
"""
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write both folders of each split, and the set that train is."""
    profile = finished.profile
    files.put(folder / "dataset.toml", CONFIG.format(width=profile.width, height=profile.height).encode())
    beside.write(finished, folder, ABOUT, ("w/{}", "l/{}"), ("w/{}.txt", "l/{}.txt"))
