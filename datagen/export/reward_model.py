"""JSON lists for training reward models, as HPSv3 reads them: prompt, path1 (preferred), path2.

EditReward's lists look alike, but it leaves out, without a word, what has no source image that was edited.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from datagen.export import Finished
from datagen.export.parts import files, readme
from datagen.export.parts.pairs import SIDES, Pairs
from datagen.export.parts.tables import SPLITS

ABOUT = readme.About(
    __name__,
    "HPSv3's reward training, begun in the folder, `training/run.py`, `datagen judge --pairs`",
    "`train.json`, `test.json`: `prompt`, `path1` (preferred), `path2`, `confidence` (the probability of the label), "
    "`choice_dist` (that and the rest to 1), `model1`, `model2`; `images/`",
    'rows = json.load(open("FOLDER/train.json"))',
)
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write both lists and the pictures."""
    pairs = Pairs(finished, ["prompt", "generator", "rejected_generator", *SIDES])
    with ExitStack() as stack:
        out = {split: stack.enter_context(files.Array(folder / f"{split}.json")) for split in SPLITS}
        for row in pairs:
            first, second = (files.put_picture(folder, row[side]) for side in SIDES)
            probability = row["probability"]
            made = {
                "prompt": row["prompt"],
                "path1": first,
                "path2": second,
                "confidence": probability,
                "choice_dist": [probability, 1 - probability],
                "model1": row["generator"],
                "model2": row["rejected_generator"],
                "pair_id": row["pair_id"],
            }
            out[row["split"]].add(made)
    readme.write(finished, folder, ABOUT, pairs.kept, pairs.left)
