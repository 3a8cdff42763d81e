"""One folder of NAME.png, NAME-rejectedlabel.png and NAME.txt, as OneTrainer's preference training names them."""

from __future__ import annotations

from pathlib import Path

from datagen.export import Finished
from datagen.export.parts import beside, readme

ABOUT = readme.About(
    __name__,
    "OneTrainer with preference training (its pull request 1403)",
    "`SPLIT/NAME` (preferred), `SPLIT/NAME-rejectedlabel` and `SPLIT/NAME.txt`",
    """pairs = [
    (path, path.with_stem(f"{path.stem}-rejectedlabel"))
    for path in Path("FOLDER/train").glob("*.[pjw]*")
    if not path.stem.endswith("-rejectedlabel")
]""",
)
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write one folder a split."""
    beside.write(finished, folder, ABOUT, ("{}", "{}-rejectedlabel"), ("{}.txt",))
